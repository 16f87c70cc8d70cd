"""Runs in DynamoDB: `RunStore`, with large values in S3."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from joinery.aws.closing_table import ClosingTable
from joinery.aws.control_table import ControlTable
from joinery.aws.documents import Documents
from joinery.aws.due import DueTable
from joinery.aws.dynamo_nodes import NodeTable
from joinery.aws.event_log import EventLog
from joinery.aws.finish import Finisher
from joinery.aws.journals import JournalTable
from joinery.aws.ledger_table import LedgerTable
from joinery.aws.losers import Losers
from joinery.aws.run_table import RunPage, RunTable
from joinery.aws.subscribers import Subscriber, SubscriberTable
from joinery.aws.table import Table
from joinery.aws.texts import TextTable
from joinery.aws.wait_table import WaitTable
from joinery.events.make import Event
from joinery.runs.joins import JoinState
from joinery.runs.model import Address, Control, NodeKey, NodeRecord, RunRecord
from joinery.runs.ports import JournalEntry, Loaded, TextPiece


class DynamoRunStore(WaitTable, ClosingTable):
    """Implements `RunStore`; also knows who watches a run, and lists an owner's runs.

    Args:
        client: DynamoDB client.
        table: Name of the state table.
        documents: Where large values go.
        retention_s: How long a run is kept after it has ended, and events and texts after
            they were stored, in seconds; None is for ever.
        clock: Epoch seconds.
    """

    def __init__(
        self,
        client: Any,
        table: str,
        documents: Documents,
        *,
        retention_s: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        state = Table(client, table)
        self._documents = documents
        self._log = EventLog(state, documents, retention_s=retention_s, clock=clock)
        self._due = DueTable(state)
        self._runs = RunTable(state, documents, self._log, retention_s=retention_s)
        self._nodes = NodeTable(state, documents, self._log)
        self._control = ControlTable(state, documents, self._log, clock)
        self._finisher = Finisher(state, documents, self._log)
        self._losers = Losers(state, self._log)
        WaitTable.__init__(self, state, self._log)
        ClosingTable.__init__(self, state, retention_s)
        self._texts = TextTable(state, self._log, clock)
        self.ledgers = LedgerTable(state)
        self._journals = JournalTable(state, documents, self._log, clock)
        self._subscribers = SubscriberTable(state, self._log, clock)

    # -- runs --------------------------------------------------------------------------

    def create_run(
        self,
        run: RunRecord,
        inputs: Mapping[str, Any],
        events: Sequence[Event],
        extra: Mapping[str, Any],
    ) -> tuple[RunRecord, list[Event]]:
        """See `RunStore.create_run`."""
        return self._runs.create(run, inputs, events, extra)

    def get_run(self, run_id: str) -> RunRecord:
        """See `RunStore.get_run`."""
        return self._runs.get(run_id)

    def inputs(self, run_id: str) -> Mapping[str, Any]:
        """See `RunStore.inputs`."""
        return self._runs.pinned(run_id, "inputs")

    def extra(self, run_id: str) -> Mapping[str, Any]:
        """See `RunStore.extra`."""
        return self._runs.pinned(run_id, "extra")

    def outputs(self, run_id: str) -> Mapping[str, Any] | None:
        """See `RunStore.outputs`."""
        return self._runs.outputs(run_id)

    def mark_started(self, run_id: str, execution_arn: str, at: float) -> None:
        """See `RunStore.mark_started`."""
        self._runs.mark_started(run_id, execution_arn, at)

    def control(self, run_id: str) -> Control:
        """See `RunStore.control`."""
        return self._log.control(run_id)

    def request_cancel(self, run_id: str) -> None:
        """See `RunStore.request_cancel`."""
        self._log.request_cancel(run_id)

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
        return self._runs.close(
            run, status=status, at=at, event=event, outputs=outputs, error=error, usage=usage
        )

    def pause_run(self, run: RunRecord, event: Event) -> list[Event]:
        """See `RunStore.pause_run`."""
        return self._control.pause(run, event)

    def suspend_run(
        self, run: RunRecord, event: Event, error: Mapping[str, Any], *, ledger: bool
    ) -> list[Event]:
        """See `RunStore.suspend_run`."""
        return self._control.suspend(run, event, error, ledger=ledger)

    def reopen_run(
        self, run: RunRecord, event: Event, *before: Event, at: float = 0.0
    ) -> list[Event]:
        """See `RunStore.reopen_run`."""
        return self._control.reopen(run, [*before, event], at)

    def reset_node(self, run_id: str, record: NodeRecord) -> None:
        """See `RunStore.reset_node`."""
        self._control.reset_node(run_id, record)

    def adopt(self, run_id: str, records: Sequence[NodeRecord]) -> None:
        """See `RunStore.adopt`."""
        self._control.adopt(run_id, records)

    def delete_run(self, run_id: str) -> bool:
        """See `RunStore.delete_run`."""
        return self._control.delete(run_id)

    def due(self, now: float) -> Iterable[tuple[str, bool]]:
        """See `Overdue.due`."""
        return self._due.due(now)

    def look_again(self, run: RunRecord, at: float) -> None:
        """See `Overdue.look_again`."""
        self._due.look_again(run, at)

    def list_runs(self, owner: str, limit: int = 50, cursor: str | None = None) -> RunPage:
        """Returns an owner's runs, newest first; one just made may be missing for a moment.

        Raises:
            InvalidRequest: The cursor is not one that a list gave.
        """
        return self._runs.page(owner, limit, cursor)

    # -- nodes -------------------------------------------------------------------------

    def load(
        self, run_id: str, addresses: Iterable[Address], joins: Iterable[NodeKey] = ()
    ) -> Loaded:
        """See `RunStore.load`."""
        return self._nodes.load(run_id, addresses, joins)

    def result(self, run_id: str, record: NodeRecord) -> Mapping[str, Any]:
        """See `RunStore.result`."""
        if record.result is None and record.result_ref:
            found: Mapping[str, Any] = self._documents.get(record.result_ref)
            return found
        return record.result or {}

    def nodes(self, run_id: str) -> list[NodeRecord]:
        """See `RunStore.nodes`."""
        return self._nodes.every(run_id)

    def claim(
        self, run_id: str, key: NodeKey, node_id: str, *, holder: str, now: float, until: float
    ) -> NodeRecord:
        """See `RunStore.claim`."""
        return self._nodes.claim(run_id, key, node_id, holder=holder, now=now, until=until)

    def renew(self, run_id: str, key: NodeKey, attempt: int, until: float) -> None:
        """See `RunStore.renew`."""
        self._nodes.renew(run_id, key, attempt, until)

    def release(
        self, run_id: str, record: NodeRecord, events: Sequence[Event], *, was: str | None = None
    ) -> list[Event]:
        """See `RunStore.release`."""
        return self._nodes.release(run_id, record, events, was=was)

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
        return self._finisher.finish(run_id, record, events, skipped, fenced=fenced, joins=joins)

    def cancel_nodes(self, run_id: str, records: Sequence[NodeRecord], event: Event) -> list[Event]:
        """See `RunStore.cancel_nodes`."""
        return self._losers.cancel(run_id, records, event)

    def settle(self, run_id: str, record: NodeRecord, events: Sequence[Event]) -> list[Event]:
        """See `RunStore.settle`."""
        return self._losers.settle(run_id, record, events)

    def look_soon(self, run_id: str, at: float) -> None:
        """See `WaitStore.look_soon`."""
        self._due.look_soon(run_id, at)

    # -- events and text ---------------------------------------------------------------

    def append(
        self, run_id: str, events: Sequence[Event], *, begins: NodeRecord | None = None
    ) -> list[Event]:
        """See `RunStore.append`."""
        return self._log.append(run_id, events, begins=begins) if events else []

    def events(self, run_id: str, after_seq: int, limit: int) -> list[Event]:
        """See `RunStore.events`: what is stored; holes are the reader's matter."""
        return self._log.read(run_id, after_seq, limit)

    def put_void(self, run_id: str, seq: int) -> bool:
        """Fills a hole of the log; returns whether it was still open."""
        return self._log.put_void(run_id, seq)

    def put_text(self, run_id: str, piece: TextPiece) -> None:
        """See `RunStore.put_text`."""
        self._texts.put(run_id, piece)

    def texts(self, run_id: str) -> list[TextPiece]:
        """See `RunStore.texts`."""
        return self._texts.all(run_id)

    def texts_of(self, run_id: str, key: NodeKey, attempt: int) -> list[TextPiece]:
        """See `RunStore.texts_of`."""
        return self._texts.of(run_id, key, attempt)

    # -- journals ----------------------------------------------------------------------

    def put_journal(
        self, run_id: str, key: NodeKey, entry_id: str, value: Mapping[str, Any], attempt: int
    ) -> None:
        """See `RunStore.put_journal`."""
        self._journals.put(run_id, key, entry_id, value, attempt)

    def journal(self, run_id: str, key: NodeKey) -> dict[str, JournalEntry]:
        """See `RunStore.journal`."""
        return self._journals.of(run_id, key)

    def put_whole(self, run_id: str, name: str, text: str) -> None:
        """See `RunStore.put_whole`."""
        self._journals.put_whole(run_id, name, text)

    def read_whole(self, run_id: str, name: str, start: int, stop: int) -> str:
        """See `RunStore.read_whole`."""
        return self._journals.read_whole(run_id, name, start, stop)

    # -- subscribers -------------------------------------------------------------------

    def subscribe(self, run_id: str, connection_id: str, owner: str, expires_at: float) -> bool:
        """Lets a connection watch a run until a time in epoch seconds.

        Returns whether it gets everything live. Raises: NotFound.
        """
        return self._subscribers.add(run_id, connection_id, owner, expires_at)

    def lag(self, run_id: str, connection_id: str) -> None:
        """Notes that a connection could not follow; one that does not watch is no error."""
        self._subscribers.lag(run_id, connection_id)

    def unsubscribe(self, run_id: str, connection_id: str) -> None:
        """Ends that; a connection that does not watch is no error."""
        self._subscribers.remove(run_id, connection_id)

    def subscribers(self, run_id: str) -> list[Subscriber]:
        """Returns who watches a run now."""
        return self._subscribers.all(run_id)

    def subs_seen(self, run_id: str) -> int | None:
        """Returns the subscribers' version that this process has read last, None if never.

        Every read and every number drawn brings it along, so asking costs no call.
        """
        return self._log.subs_seen(run_id)
