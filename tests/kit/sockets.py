"""Connections that nobody is behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from joinery.events.make import Event


@dataclass
class Connections:
    rows: dict[str, tuple[str, float]] = field(default_factory=dict)

    def put(self, connection_id: str, owner: str, expires_at: float) -> None:
        self.rows[connection_id] = (owner, expires_at)

    def delete(self, connection_id: str) -> None:
        self.rows.pop(connection_id, None)


@dataclass
class Watches:
    rows: set[tuple[str, str]] = field(default_factory=set)

    def add(self, connection_id: str, run_id: str) -> None:
        self.rows.add((connection_id, run_id))

    def remove(self, connection_id: str, run_id: str) -> None:
        self.rows.discard((connection_id, run_id))

    def of(self, connection_id: str) -> list[str]:
        return [run_id for held, run_id in self.rows if held == connection_id]


@dataclass
class Outlet:
    frames: list[Event] = field(default_factory=list)
    gone_after: int | None = None
    on_send: Callable[[Event], None] = lambda _: None

    def send(self, connection_id: str, message: Event) -> bool:
        if self.gone_after is not None and len(self.frames) >= self.gone_after:
            return False
        self.frames.append(message)
        self.on_send(message)
        return True
