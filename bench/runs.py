"""What a run of each example costs on the local stack: measured transitions, calls and price."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
JOINERY = [str(Path(sys.executable).parent / "joinery")]
INPUTS = {"debate": ["--input", "document=@examples/documents/proposal.md"]}


def main() -> None:
    """Starts the stack if need be, runs each example with the scripted model, prints a row each."""
    started = _start()
    try:
        print(f"{'example':12}{'transitions':>12}{'predicted':>12}{'AWS calls':>11}{'price':>12}")
        for example in sorted((ROOT / "examples").glob("*.yaml")):
            _row(example)
    finally:
        if started:
            subprocess.run([*JOINERY, "local", "down"], cwd=ROOT, check=True, capture_output=True)


def _start() -> bool:
    status = subprocess.run(
        [*JOINERY, "local", "status"], cwd=ROOT, capture_output=True, check=False
    )
    if status.returncode == 0:
        return False
    subprocess.run([*JOINERY, "local", "up"], cwd=ROOT, check=True, capture_output=True)
    return True


def _row(example: Path) -> None:
    plan = json.loads(_output(["plan", str(example), "--json"]))
    cassette = ROOT / "bench" / "empty.json"
    run = json.loads(
        _output(
            [
                *("run", str(example), "--engine", "local", "--json"),
                *("--scripted", str(cassette), *INPUTS.get(example.stem, [])),
            ]
        )
    )
    predicted = plan["transitions"]
    calls = sum(run["aws_calls"].values())
    spread = f"{predicted['min']}–{predicted['max']}"
    print(
        f"{example.stem:12}{run['transitions']:12}{spread:>12}{calls:11}"
        f"{run['price_usd'] * 1e6:9.0f} µ$"
    )


def _output(arguments: list[str]) -> str:
    done = subprocess.run(
        [*JOINERY, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)
    return done.stdout
