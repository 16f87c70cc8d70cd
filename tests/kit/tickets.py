"""Tickets in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from joinery.identity.tokens import Caller


@dataclass
class Tickets:
    clock: Callable[[], float]
    rows: dict[str, tuple[Caller, float]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def put_ticket(self, sha256: str, caller: Caller, expires_at: float) -> None:
        self.rows[sha256] = (caller, expires_at)

    def take_ticket(self, sha256: str) -> Caller | None:
        self.asked.append(sha256)
        caller, expires_at = self.rows.pop(sha256, (None, 0.0))
        return caller if expires_at > self.clock() else None
