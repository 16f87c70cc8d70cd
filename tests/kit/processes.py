"""The processes behind a local stack."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack


def workers(stack: LocalStack) -> list[int]:
    """Returns the processes that run nodes on this stack."""
    emulator = stack.service("emulator")
    assert emulator is not None
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            environment = (folder / "environ").read_bytes()
            group = os.getpgid(int(folder.name))
        except (OSError, ProcessLookupError):
            continue
        if group == os.getpgid(emulator.pid) and b"-run-node" in environment:
            found.append(int(folder.name))
    return found
