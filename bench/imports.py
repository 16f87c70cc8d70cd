"""Cold start: what importing each handler costs, as a ratio to importing boto3 alone."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
REPEATS = 7

CODE = """
import sys, time
sys.path[:0] = {paths!r}
begin = time.perf_counter()
{statement}
print(time.perf_counter() - begin)
"""


def import_seconds(statement: str, paths: list[str]) -> float:
    """Returns the median time of an import in a fresh interpreter."""
    environment = {**os.environ, "AWS_DEFAULT_REGION": "us-east-1"}
    times = []
    for _ in range(REPEATS):
        done = subprocess.run(
            [sys.executable, "-c", CODE.format(paths=paths, statement=statement)],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        times.append(float(done.stdout.splitlines()[-1]))
    return statistics.median(times)


def main() -> None:
    """Prints a row for each function."""
    baseline = import_seconds("import boto3", [])
    print(f"{'import boto3':24}{baseline * 1000:8.0f} ms   1.00")
    for app in sorted((ROOT / "functions").glob("*/app.py")):
        paths = [str(app.parent), str(ROOT / "layers" / "joinery")]
        seconds = import_seconds("import app", paths)
        print(f"{app.parent.name:24}{seconds * 1000:8.0f} ms   {seconds / baseline:.2f}")
