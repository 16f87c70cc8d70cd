"""Ledgers in this process; held to the same contract tests as those in DynamoDB."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from joinery.runs.ledger import Amount, Count, Hold, Ledger, LedgerRefused, Limit, window_names
from joinery.runs.usage import total


@dataclass(slots=True)
class _Held:
    opened: bool = False
    limit: Limit = field(default_factory=Limit)
    left: Amount = field(default_factory=Amount)
    holds: dict[str, Hold] = field(default_factory=dict)
    warned: bool = False
    stopped: int = 0
    used: dict[int, int] = field(default_factory=dict)
    windows: dict[tuple[int, int], int] = field(default_factory=dict)

    def view(self, incarnation: int) -> Ledger:
        windows = {at: n for (mine, at), n in self.windows.items() if mine == incarnation}
        return Ledger(
            self.limit, self.left, dict(self.holds), self.warned, self.stopped,
            self.used.get(incarnation, 0), windows,
        )  # fmt: skip

    def count(self, incarnation: int, count: Count | None) -> None:
        if count is None:
            return
        self.used[incarnation] = self.used.get(incarnation, 0) + count.tokens
        key = (incarnation, count.window)
        self.windows[key] = self.windows.get(key, 0) + count.output
        kept = {(incarnation, at) for at in window_names(count.window)}
        self.windows = {at: n for at, n in self.windows.items() if at in kept}


class MemoryLedgers:
    """Implements `Ledgers` with dictionaries under one lock.

    Args:
        lock: The lock of the store that it belongs to.
    """

    def __init__(self, lock: threading.RLock | None = None) -> None:
        self._lock = lock or threading.RLock()
        self._runs: dict[str, _Held] = {}
        self._sessions: dict[tuple[str, str], dict[str, Any]] = {}

    def open(self, run_id: str, limit: Limit) -> None:
        """See `Ledgers.open`."""
        with self._lock:
            held = self._runs.setdefault(run_id, _Held())
            if not held.opened:
                held.opened, held.limit = True, limit
                held.left = Amount(limit.tokens or 0, limit.pico or 0)

    def get(self, run_id: str, incarnation: int) -> Ledger | None:
        """See `Ledgers.get`."""
        with self._lock:
            held = self._runs.get(run_id)
            return held.view(incarnation) if held and held.opened else None

    def reserve(
        self, run_id: str, incarnation: int, key: str, hold: Hold, *, was: Hold | None = None
    ) -> Ledger:
        """See `Ledgers.reserve`."""
        with self._lock:
            held = self._runs.get(run_id)
            if held is None or not held.opened:
                raise LedgerRefused(None)
            wanted = hold.amount - (was.amount if was else Amount())
            free = held.stopped < incarnation and held.holds.get(key) == was
            if not free or not held.limit.holds(held.left, wanted):
                raise LedgerRefused(held.view(incarnation))
            held.left -= wanted
            held.holds[key] = hold
            return held.view(incarnation)

    def settle(
        self,
        run_id: str,
        incarnation: int,
        key: str,
        hold: Hold,
        *,
        used: Amount,
        count: Count | None,
    ) -> Ledger | None:
        """See `Ledgers.settle`."""
        with self._lock:
            held = self._runs.get(run_id)
            now = held.holds.get(key) if held else None
            if held is None or now is None:
                return None
            if now == hold:
                del held.holds[key]
                held.left += hold.amount
            held.left -= used
            held.count(incarnation, count)
            return held.view(incarnation)

    def forget(self, run_id: str, incarnation: int, key: str, hold: Hold) -> None:
        """See `Ledgers.forget`."""
        with self._lock:
            held = self._runs.get(run_id)
            if held is not None and held.holds.get(key) == hold:
                del held.holds[key]
                held.left += hold.amount

    def mark_warned(self, run_id: str) -> bool:
        """See `Ledgers.mark_warned`."""
        with self._lock:
            held = self._runs[run_id]
            was, held.warned = held.warned, True
            return not was

    def set_limit(self, run_id: str, incarnation: int, limit: Limit) -> Ledger:
        """See `Ledgers.set_limit`."""
        with self._lock:
            held = self._runs.setdefault(run_id, _Held())
            held.opened = True
            more = Amount(
                0 if limit.tokens is None else limit.tokens - (held.limit.tokens or 0),
                0 if limit.pico is None else limit.pico - (held.limit.pico or 0),
            )
            held.limit = Limit(
                held.limit.tokens if limit.tokens is None else limit.tokens,
                held.limit.pico if limit.pico is None else limit.pico,
            )
            held.left += more
            held.warned = False
            return held.view(incarnation)

    def stop(self, run_id: str, incarnation: int) -> None:
        """Notes that a run was suspended; part of `RunStore.suspend_run`."""
        with self._lock:
            self._runs.setdefault(run_id, _Held()).stopped = incarnation

    def delete(self, run_id: str) -> None:
        """Forgets the ledger of a run."""
        with self._lock:
            self._runs.pop(run_id, None)

    def add_session(self, owner: str, session_id: str, usage: Mapping[str, Any]) -> None:
        """Adds what a run used; part of `RunStore.close_run`."""
        with self._lock:
            key = (owner, session_id)
            self._sessions[key] = total([self._sessions.get(key, {}), usage])

    def session(self, owner: str, session_id: str) -> dict[str, Any] | None:
        """See `Ledgers.session`."""
        with self._lock:
            return self._sessions.get((owner, session_id))
