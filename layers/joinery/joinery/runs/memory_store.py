"""A store in this process: what the inline engine runs on.

Held to the same contract tests as the DynamoDB one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from joinery.events.make import Event, with_nodes, without_skips
from joinery.runs.joins import JoinState
from joinery.runs.memory_control import Steered
from joinery.runs.memory_journals import MemoryJournals
from joinery.runs.memory_waits import HeldRun
from joinery.runs.model import (
    RUN_OPEN,
    Address,
    Control,
    NodeKey,
    NodeRecord,
    RunRecord,
)
from joinery.runs.ports import (
    AlreadyTerminal,
    ClaimHeld,
    ClaimLost,
    JoinChanged,
    Loaded,
    TextPiece,
)
from joinery.runs.usage import beyond


class MemoryStore(Steered, MemoryJournals):
    """Implements `RunStore` with dictionaries under one lock."""

    # -- runs --------------------------------------------------------------------------

    def create_run(
        self,
        run: RunRecord,
        inputs: Mapping[str, Any],
        events: Sequence[Event],
        extra: Mapping[str, Any],
    ) -> tuple[RunRecord, list[Event]]:
        """See `RunStore.create_run`."""
        with self._lock:
            if run.run_id in self._runs:
                return self._runs[run.run_id].record, []
            held = self._runs[run.run_id] = HeldRun(run, inputs, extra)
            return run, self._stamp(held, events)

    def get_run(self, run_id: str) -> RunRecord:
        """See `RunStore.get_run`."""
        return self._run(run_id).record

    def inputs(self, run_id: str) -> Mapping[str, Any]:
        """See `RunStore.inputs`."""
        return self._run(run_id).inputs

    def extra(self, run_id: str) -> Mapping[str, Any]:
        """See `RunStore.extra`."""
        return self._run(run_id).extra

    def outputs(self, run_id: str) -> Mapping[str, Any] | None:
        """See `RunStore.outputs`."""
        return self._run(run_id).outputs

    def mark_started(self, run_id: str, execution_arn: str, at: float) -> None:
        """See `RunStore.mark_started`."""
        with self._lock:
            run = self._run(run_id)
            status = "running" if run.record.status == "queued" else run.record.status
            run.record = replace(
                run.record, execution_arn=execution_arn, started_at=at, status=status
            )

    def control(self, run_id: str) -> Control:
        """See `RunStore.control`."""
        return self._run(run_id).control

    def request_cancel(self, run_id: str) -> None:
        """See `RunStore.request_cancel`."""
        with self._lock:
            run = self._run(run_id)
            run.control = replace(run.control, cancel=True)

    def close_run(
        self,
        run: RunRecord,
        *,
        status: str,
        at: float,
        event: Event,
        outputs: Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
        usage: Mapping[str, Any] | None = None,
    ) -> list[Event]:
        """See `RunStore.close_run`."""
        with self._lock:
            held = self._run(run.run_id)
            if held.record.status not in RUN_OPEN or held.record.incarnation != run.incarnation:
                return []
            if run.session_id and run.parent is None:
                more = beyond(usage or {}, held.record.usage)
                self.ledgers.add_session(run.owner, run.session_id, more)
            held.record = replace(
                held.record, status=status, ended_at=at, error=error, usage=usage or {}
            )
            held.outputs = outputs
            held.control = replace(held.control, ended=status)
            return self._stamp(held, [event], of_run=True)

    def delete_run(self, run_id: str) -> bool:
        """See `RunStore.delete_run`."""
        with self._lock:
            self._runs.pop(run_id, None)
            self.ledgers.delete(run_id)
            self._forget(run_id)
            return True

    # -- nodes -------------------------------------------------------------------------

    def load(
        self, run_id: str, addresses: Iterable[Address], joins: Iterable[NodeKey] = ()
    ) -> Loaded:
        """See `RunStore.load`."""
        with self._lock:
            run = self._run(run_id)
            found: dict[Address, NodeRecord] = {}
            for address in addresses:
                if address.every:
                    found.update(self._under(run, address))
                    continue
                record = self._find(run, address)
                if record is not None:
                    found[address] = record
            held = {key: run.joins[key] for key in joins if key in run.joins}
            return Loaded(run.control, found, held)

    @staticmethod
    def _find(run: HeldRun, address: Address) -> NodeRecord | None:
        if not address.last:
            return run.nodes.get(address.key)
        prefix = address.key.parts()
        best: NodeRecord | None = None
        for key, record in run.nodes.items():
            if key.ord != address.key.ord or key.parts()[: len(prefix)] != prefix:
                continue
            if best is None or key.parts() > best.key.parts():
                best = record
        return best

    @staticmethod
    def _under(run: HeldRun, address: Address) -> dict[Address, NodeRecord]:
        prefix = address.key.parts()
        return {
            Address(key): record
            for key, record in run.nodes.items()
            if key.ord == address.key.ord and key.parts()[: len(prefix)] == prefix
        }

    def result(self, run_id: str, record: NodeRecord) -> Mapping[str, Any]:
        """See `RunStore.result`."""
        return record.result or {}

    def nodes(self, run_id: str) -> list[NodeRecord]:
        """See `RunStore.nodes`."""
        with self._lock:
            records = list(self._run(run_id).nodes.values())
        return sorted(records, key=lambda record: (record.key.ord, record.key.parts()))

    def claim(
        self, run_id: str, key: NodeKey, node_id: str, *, holder: str, now: float, until: float
    ) -> NodeRecord:
        """See `RunStore.claim`."""
        with self._lock:
            nodes = self._run(run_id).nodes
            record = nodes.get(key) or NodeRecord(key, node_id)
            if record.terminal:
                raise AlreadyTerminal(record)
            if record.claim_until > now:
                if record.holder == holder:
                    return record
                raise ClaimHeld(record.claim_until)
            record = record.with_(
                status="running",
                attempt=record.attempt + 1,
                claim_until=until,
                holder=holder,
                started_at=record.started_at or now,
            )
            nodes[key] = record
            return record

    def _fence(self, run_id: str, key: NodeKey, attempt: int) -> None:
        self._mine(self._run(run_id), key, attempt)

    def _mine(self, run: HeldRun, key: NodeKey, attempt: int) -> NodeRecord:
        record = run.nodes.get(key)
        if record is None or record.attempt != attempt or record.terminal:
            raise ClaimLost
        return record

    def renew(self, run_id: str, key: NodeKey, attempt: int, until: float) -> None:
        """See `RunStore.renew`."""
        with self._lock:
            run = self._run(run_id)
            run.nodes[key] = self._mine(run, key, attempt).with_(claim_until=until)

    def release(
        self, run_id: str, record: NodeRecord, events: Sequence[Event], *, was: str | None = None
    ) -> list[Event]:
        """See `RunStore.release`."""
        with self._lock:
            run = self._run(run_id)
            held = self._mine(run, record.key, record.attempt)
            if was is not None and held.status != was:
                raise ClaimLost
            stored = self._stamp(run, events)
            run.nodes[record.key] = record.with_(claim_until=0.0, holder="")
            return stored

    def finish(
        self,
        run_id: str,
        record: NodeRecord,
        events: Sequence[Event],
        skipped: Sequence[NodeRecord] = (),
        *,
        fenced: bool = True,
        joins: Sequence[JoinState] = (),
    ) -> list[Event]:
        """See `RunStore.finish`."""
        with self._lock:
            run = self._run(run_id)
            held = run.nodes.get(record.key)
            if held is not None and held.terminal:
                raise AlreadyTerminal(held)
            if fenced:
                self._mine(run, record.key, record.attempt)
            for join in joins:
                stored_join = run.joins.get(join.key)
                if (stored_join.version if stored_join else 0) != join.version:
                    raise JoinChanged
            gone = {(r.node_id, r.key.path) for r in skipped if r.key in run.nodes}
            stored = self._stamp(run, [without_skips(event, gone) for event in events])
            seq = stored[0]["seq"] if stored else 0
            run.nodes[record.key] = record.with_(claim_until=0.0, seq=seq)
            for other in skipped:
                run.nodes.setdefault(other.key, other)
            for join in joins:
                run.joins[join.key] = replace(join, version=join.version + 1)
            return stored

    def cancel_nodes(self, run_id: str, records: Sequence[NodeRecord], event: Event) -> list[Event]:
        """See `RunStore.cancel_nodes`."""
        with self._lock:
            run = self._run(run_id)
            open_ = [r for r in records if r.key not in run.nodes or not run.nodes[r.key].terminal]
            if not open_:
                return []
            stored = self._stamp(run, [with_nodes(event, open_)])
            for record in open_:
                run.nodes[record.key] = run.nodes.get(record.key, record).with_(
                    status="cancelled",
                    ended_at=record.ended_at,
                    claim_until=0.0,
                    error=None,
                    seq=stored[0]["seq"],
                )
            return stored

    def settle(self, run_id: str, record: NodeRecord, events: Sequence[Event]) -> list[Event]:
        """See `RunStore.settle`."""
        with self._lock:
            run = self._run(run_id)
            held = run.nodes.get(record.key)
            if held is None or (held.status, held.attempt) != ("cancelled", record.attempt):
                return []
            run.nodes[record.key] = held.with_(
                usage=record.usage, streams=record.streams, metered=record.metered
            )
            return [] if run.control.ended else self._stamp(run, events)

    # -- events and text ---------------------------------------------------------------

    def append(
        self, run_id: str, events: Sequence[Event], *, begins: NodeRecord | None = None
    ) -> list[Event]:
        """See `RunStore.append`."""
        with self._lock:
            run = self._run(run_id)
            if begins is not None:
                run.control.check()
                self._mine(run, begins.key, begins.attempt)
            return self._stamp(run, events)

    def events(self, run_id: str, after_seq: int, limit: int) -> list[Event]:
        """See `RunStore.events`."""
        with self._lock:
            return self._run(run_id).events[after_seq : after_seq + limit]

    def put_text(self, run_id: str, piece: TextPiece) -> None:
        """See `RunStore.put_text`."""
        with self._lock:
            self._run(run_id).texts.append(piece)

    def texts(self, run_id: str) -> list[TextPiece]:
        """See `RunStore.texts`."""
        with self._lock:
            pieces = list(self._run(run_id).texts)
        return sorted(
            pieces,
            key=lambda p: (p.key.ord, p.key.parts(), p.attempt, p.stream, p.offset),
        )

    def texts_of(self, run_id: str, key: NodeKey, attempt: int) -> list[TextPiece]:
        """See `RunStore.texts_of`."""
        return [p for p in self.texts(run_id) if (p.key, p.attempt) == (key, attempt)]
