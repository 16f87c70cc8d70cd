"""What the core wants done, and when it wants to be asked again."""

from __future__ import annotations

from typing import Any

Effect = dict[str, Any]
"""One thing to do, JSON-ready; `do` says what. `core.py` lists them."""


class Outbox:
    """Collects effects and the next moment at which something is due.

    Attributes:
        count: How many effects there have been.
        next: Time of the next `tick`, None when nothing is due before the next input.
    """

    def __init__(self) -> None:
        self.next: float | None = None
        self.count = 0
        self._effects: list[Effect] = []
        self._fetches = 0

    def put(self, do: str, **fields: Any) -> None:
        """Adds an effect."""
        self.count += 1
        self._effects.append({"do": do, **fields})

    def fetch(self, what: str, run_id: str, **fields: Any) -> int:
        """Adds a question by HTTP; returns its id, which the answer must carry."""
        self._fetches += 1
        self.put("fetch", id=self._fetches, what=what, run_id=run_id, **fields)
        return self._fetches

    def due(self, at: float, now: float) -> bool:
        """Whether a time has come; one that has not is remembered for the next tick."""
        if now >= at:
            return True
        self.next = at if self.next is None else min(self.next, at)
        return False

    def taken(self) -> list[Effect]:
        """Returns the effects since the last time."""
        effects, self._effects = self._effects, []
        return effects
