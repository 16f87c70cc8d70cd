"""The part of the store in this process that steers runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from joinery.events.make import Event
from joinery.runs.memory_ledgers import MemoryLedgers
from joinery.runs.memory_waits import MemoryWaits
from joinery.runs.model import RUN_OPEN, NodeRecord, RunRecord, reset


class Steered(MemoryWaits):
    """Runs by id: paused, suspended, begun again and adopted."""

    def __init__(self) -> None:
        super().__init__()
        self.ledgers = MemoryLedgers(self._lock)

    def pause_run(self, run: RunRecord, event: Event) -> list[Event]:
        """See `RunStore.pause_run`."""
        with self._lock:
            held = self._run(run.run_id)
            open_ = held.record.status in RUN_OPEN - {"paused"}
            if not open_ or held.record.incarnation != run.incarnation:
                return []
            held.record = replace(held.record, status="paused")
            held.control = replace(held.control, pause=True)
            return self._stamp(held, [event], of_run=True)

    def suspend_run(
        self, run: RunRecord, event: Event, error: Mapping[str, Any], *, ledger: bool
    ) -> list[Event]:
        """See `RunStore.suspend_run`."""
        with self._lock:
            held = self._run(run.run_id)
            open_ = held.record.status in RUN_OPEN - {"paused", "suspended"}
            if not open_ or held.record.incarnation != run.incarnation:
                return []
            held.record = replace(held.record, status="suspended", error=error)
            held.control = replace(held.control, pause=True)
            if ledger:
                self.ledgers.stop(run.run_id, run.incarnation)
            return self._stamp(held, [event], of_run=True)

    def reopen_run(
        self, run: RunRecord, event: Event, *before: Event, at: float = 0.0
    ) -> list[Event]:
        """See `RunStore.reopen_run`."""
        with self._lock:
            held = self._run(run.run_id)
            if (held.record.status, held.record.incarnation) != (run.status, run.incarnation):
                return []
            held.record = replace(
                held.record, status="running", incarnation=run.incarnation + 1,
                execution_arn="", ended_at=0.0, error=None, resumed_at=at,
            )  # fmt: skip
            held.control = replace(held.control, pause=False, cancel=False, ended="")
            return self._stamp(held, [*before, event], of_run=True)

    def reset_node(self, run_id: str, record: NodeRecord) -> None:
        """See `RunStore.reset_node`."""
        with self._lock:
            nodes = self._run(run_id).nodes
            if nodes.get(record.key) == record:
                nodes[record.key] = reset(record)

    def adopt(self, run_id: str, records: Sequence[NodeRecord]) -> None:
        """See `RunStore.adopt`."""
        with self._lock:
            for record in records:
                self._run(run_id).nodes.setdefault(record.key, record)

    # -- ends --------------------------------------------------------------------------

    def note_below(self, run_id: str, below: str) -> None:
        """See `ClosingStore.note_below`."""
        with self._lock:
            self._run(run_id).below[below] = None

    def below(self, run_id: str) -> list[str]:
        """See `ClosingStore.below`."""
        with self._lock:
            held = self._runs.get(run_id)
            return sorted(held.below) if held else []

    def drop_below(self, run_id: str, below: str) -> None:
        """See `ClosingStore.drop_below`."""
        with self._lock:
            held = self._runs.get(run_id)
            if held:
                held.below.pop(below, None)

    def look_at(self, run: RunRecord, at: float) -> None:
        """See `ClosingStore.look_at`; nobody looks here."""

    def settled(self, run: RunRecord) -> None:
        """See `ClosingStore.settled`; nobody looks here."""
