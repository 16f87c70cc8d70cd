"""Tickets and passes in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from joinery.identity.passes import Pass
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


@dataclass
class Passes:
    clock: Callable[[], float]
    rows: dict[str, Pass] = field(default_factory=dict)
    puts: int = 0

    def put_pass(self, sha256: str, held: Pass) -> None:
        self.puts += 1
        self.rows[sha256] = held

    def find_pass(self, sha256: str) -> Pass | None:
        held = self.rows.get(sha256)
        return held if held and held.expires_at > self.clock() else None


@dataclass
class Secrets:
    """Implements what the authorizer asks; what is None fails at the first question."""

    tokens_: Any = None
    tickets_: Any = None
    passes_: Any = None

    def tokens(self) -> Any:
        return self._part(self.tokens_)

    def tickets(self) -> Any:
        return self._part(self.tickets_)

    def passes(self) -> Any:
        return self._part(self.passes_)

    @staticmethod
    def _part(held: Any) -> Any:
        assert held is not None, "nothing should be asked here"
        return held
