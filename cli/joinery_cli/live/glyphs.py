"""Signs for states, in Unicode or, where the terminal has none, in ASCII."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

STYLES: Final = {
    "queued": "dim",
    "pending": "dim",
    "paused": "yellow",
    "suspended": "magenta",
    "running": "cyan",
    "retrying": "yellow",
    "waiting": "magenta",
    "completed": "green",
    "skipped": "dim",
    "failed": "red",
    "cancelled": "yellow",
    "timed_out": "red",
}
"""Colours by status; the sign says the same where there are none."""


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The signs; `spinner` has one for each moment of something that runs."""

    by_status: dict[str, str]
    spinner: str
    bar: str
    arrow: str
    dot: str
    more: str

    def of(self, status: str, now: float) -> str:
        """Returns the sign of a status at a moment, in epoch seconds."""
        if status == "running":
            return self.spinner[int(now * 10) % len(self.spinner)]
        return self.by_status.get(status, "?")


UNICODE: Final = Glyphs(
    {
        "queued": "○",
        "pending": "○",
        "paused": "‖",
        "suspended": "◇",
        "running": "●",
        "retrying": "↻",
        "waiting": "◇",
        "completed": "✓",
        "skipped": "–",
        "failed": "✗",
        "cancelled": "■",
        "timed_out": "✗",
    },
    spinner="⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏",
    bar="│",
    arrow="←",
    dot="·",
    more="…",
)

ASCII: Final = Glyphs(
    {
        "queued": ".",
        "pending": ".",
        "paused": "=",
        "suspended": "?",
        "running": "*",
        "retrying": "~",
        "waiting": "?",
        "completed": "+",
        "skipped": "-",
        "failed": "x",
        "cancelled": "#",
        "timed_out": "x",
    },
    spinner="|/-\\",
    bar="|",
    arrow="<-",
    dot="|",
    more="...",
)


def glyphs_for(encoding: str | None) -> Glyphs:
    """Returns the signs that an encoding can hold."""
    try:
        "✓⠋│←‖…".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE
