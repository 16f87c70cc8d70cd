"""Records nodes as cancelled that a join has no need of any more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from joinery import limits
from joinery.aws.conditions import not_ended, updating
from joinery.aws.errors import TransactionCancelled
from joinery.aws.event_log import EventLog, stamped, went_through
from joinery.aws.items import document, key, node_sk, number, run_pk, string
from joinery.aws.table import Table
from joinery.errors import RunCancelled, TransientStore
from joinery.events.make import Event, with_nodes
from joinery.runs.model import NodeRecord

TRIES: Final = 8
BATCH: Final = limits.DYNAMODB_TRANSACTION_ITEMS - 1
"""Nodes of one transaction: the rest is their event."""

_CANCEL: Final = (
    "SET #status = :cancelled, node_id = :node_id, ended_at = :now, claim_until = :zero, "
    "seq = :seq, attempt = if_not_exists(attempt, :zero) REMOVE #error"
)


class Losers:
    """Cancels nodes.

    Args:
        table: The state table.
        events: The runs' logs.
    """

    def __init__(self, table: Table, events: EventLog) -> None:
        self._table, self._events = table, events

    def cancel(self, run_id: str, records: Sequence[NodeRecord], event: Event) -> list[Event]:
        """See `RunStore.cancel_nodes`: each batch is a transaction with its own event."""
        told: list[Event] = []
        for first in range(0, len(records), BATCH):
            told += self._batch(run_id, list(records[first : first + BATCH]), event)
        return told

    def _batch(self, run_id: str, records: list[NodeRecord], event: Event) -> list[Event]:
        for _ in range(TRIES):
            if not records:
                return []
            seqs = self._events.draw(run_id, 1)
            stored = stamped([with_nodes(event, records)], seqs)
            puts = self._events.puts(run_id, stored)
            try:
                self._table.transact([*puts, *(self._one(run_id, r, seqs[0]) for r in records)])
                return stored
            except TransactionCancelled as cancelled:
                if went_through(cancelled.reasons[:1], puts):
                    return stored
                self._events.void(run_id, seqs)
                records = [
                    record
                    for record, reason in zip(records, cancelled.reasons[1:], strict=True)
                    if not reason.condition_failed
                ]
        raise TransientStore("cancelled nodes were refused again and again")

    @staticmethod
    def _one(run_id: str, record: NodeRecord, seq: int) -> dict[str, Any]:
        change = updating(
            not_ended(),
            _CANCEL,
            cancelled=string("cancelled"),
            node_id=string(record.node_id),
            now=number(record.ended_at),
            zero=number(0),
            seq=number(seq),
        )
        names = {**change["ExpressionAttributeNames"], "#error": "error"}
        place = key(run_pk(run_id), node_sk(record.key))
        return {"Update": {"Key": place, **change, "ExpressionAttributeNames": names}}

    def settle(self, run_id: str, record: NodeRecord, events: Sequence[Event]) -> list[Event]:
        """See `RunStore.settle`."""
        condition = {
            "ConditionExpression": "#status = :cancelled AND attempt = :attempt",
            "ExpressionAttributeNames": {"#status": "status", "#usage": "usage"},
            "ExpressionAttributeValues": {
                ":cancelled": string("cancelled"),
                ":attempt": number(record.attempt),
            },
        }
        change = updating(
            condition,
            "SET #usage = :usage, streams = :streams, metered = :metered",
            usage=document(record.usage),
            metered=number(record.metered),
            streams=document(record.streams),
        )
        place = key(run_pk(run_id), node_sk(record.key))
        for _ in range(TRIES):
            try:
                seqs = self._events.draw(run_id, len(events))
            except RunCancelled:
                # What it used is kept where the log has no place for an event of it.
                events, seqs = [], []
            stored = stamped(events, seqs)
            puts = self._events.puts(run_id, stored)
            try:
                self._table.transact([{"Update": {"Key": place, **change}}, *puts])
                return stored
            except TransactionCancelled as cancelled:
                if went_through(cancelled.reasons[1:], puts):
                    return stored
                self._events.void(run_id, seqs)
                if cancelled.reasons[0].condition_failed:
                    return []
        raise TransientStore("numbers of the event log kept being taken")
