"""What the end of a run needs of its store: what is below it, and who looks whether all is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from joinery.runs.model import RunRecord


SETTLED_S: Final = 120.0
"""Whoever ends a run, or cancels one that stands still, has done so in this time or has died."""


class ClosingStore(Protocol):
    """What a run store does for the ends of runs. Every method is one atomic write or a read."""

    def note_below(self, run_id: str, below: str) -> None:
        """Notes a run that a tool is about to begin: whoever ends the run around it ends it."""
        ...

    def below(self, run_id: str) -> list[str]:
        """Returns the runs of tools that were noted, whether they were made or not."""
        ...

    def drop_below(self, run_id: str, below: str) -> None:
        """Forgets a run of a tool: it has ended."""
        ...

    def look_at(self, run: RunRecord, at: float) -> None:
        """Lets a run that stands still be looked at, from a time in epoch seconds on.

        One that is not any more as `run` says is left.
        """
        ...

    def settled(self, run: RunRecord) -> None:
        """Notes that nothing is left to be done for a run that has ended or stands still.

        A run that did not complete is looked at some time after its end, until this is noted.
        One that is not any more as `run` says is left.
        """
        ...
