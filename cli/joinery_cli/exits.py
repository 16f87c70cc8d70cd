"""Exit codes of the `joinery` command; docs/cli.md says the same."""

from __future__ import annotations

from typing import Final

OK: Final = 0
FAILED: Final = 1
INVALID: Final = 2
WAITING: Final = 3
DETACHED: Final = 4
"""The run goes on. Not 0: a script must not take it for completed."""

UNFORMATTED: Final = 5
"""`joinery fmt --check` has found a file that is not in its form."""

CANCELLED: Final = 130

_BY_STATUS: Final = {
    "completed": OK,
    "failed": FAILED,
    "timed_out": FAILED,
    "cancelled": CANCELLED,
    "waiting": WAITING,
    "paused": WAITING,
    "suspended": WAITING,
}


def of_status(status: str) -> int:
    """Returns the exit code for a run's status; one that still works has been detached from."""
    return _BY_STATUS.get(status, DETACHED)
