"""The end of a node: its record, the records it skips and their events, all or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from joinery import limits
from joinery.aws.conditions import absent, mine, not_ended
from joinery.aws.documents import Documents
from joinery.aws.errors import Reason, TransactionCancelled
from joinery.aws.event_log import EventLog, stamped, went_through
from joinery.aws.items import Item, key, node_sk, number, run_pk
from joinery.aws.joins import join_put
from joinery.aws.records import node_item, node_record
from joinery.aws.table import Table
from joinery.errors import RunCancelled, TransientStore
from joinery.events.make import Event, without_skips
from joinery.runs.joins import JoinState
from joinery.runs.model import NodeKey, NodeRecord
from joinery.runs.ports import AlreadyTerminal, ClaimLost, JoinChanged

TRIES: Final = 8
"""Tries of one end; each one that is refused leaves less to refuse the next."""


@dataclass(slots=True)
class _End:
    """One end under way; what a refusal teaches changes `events`, `seqs` and `skipped`."""

    run_id: str
    record: NodeRecord
    fenced: bool
    item: Item
    events: list[Event]
    skipped: list[NodeRecord]
    joins: list[JoinState]
    seqs: list[int] = field(default_factory=list)

    @property
    def condition(self) -> dict[str, Any]:
        return mine(self.record.attempt) if self.fenced else not_ended()

    @property
    def first_seq(self) -> int:
        return self.seqs[0] if self.seqs else 0

    def is_mine(self, stored: NodeRecord) -> bool:
        """Whether a stored end is this one: its number was drawn for nobody else."""
        same = (stored.attempt, stored.seq) == (self.record.attempt, self.first_seq)
        return same and stored.terminal and bool(self.seqs)


class Finisher:
    """Ends nodes.

    Args:
        table: The state table.
        documents: Where large results go.
        events: The runs' logs.
    """

    def __init__(self, table: Table, documents: Documents, events: EventLog) -> None:
        self._table, self._documents, self._events = table, documents, events

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
        """See `RunStore.finish`.

        A skipped record that exists already is left as it is, and the event tells
        only of the others. Skipped records that do not fit into the transaction are
        stored before it, each batch under the same fence.
        """
        ended = record.with_(claim_until=0.0)
        others = {other.key: other for other in skipped if other.key != record.key}
        end = _End(
            run_id, ended, fenced, node_item(run_id, ended, self._documents),
            list(events), list(others.values()), list(joins),
        )  # fmt: skip
        self._store_excess(end)
        try:
            end.seqs = self._events.draw(run_id, len(events))
        except RunCancelled:
            held = self._held(end)
            if held is not None and held.terminal:
                raise AlreadyTerminal(held) from None
            raise
        for _ in range(TRIES):
            stored = self._try(end)
            if stored is not None:
                return stored
        raise TransientStore("the end of a node was refused again and again")

    def _try(self, end: _End) -> list[Event] | None:
        stored = stamped(end.events, end.seqs)
        puts = self._events.puts(end.run_id, stored)
        joins = [join_put(end.run_id, join) for join in end.joins]
        actions = [self._record(end), *puts, *joins, *self._skips(end, end.skipped)]
        try:
            self._table.transact(actions)
            return stored
        except TransactionCancelled as cancelled:
            return self._refused(end, stored, puts, cancelled.reasons)
        except TransientStore:
            if self._was_stored(end):
                return stored
            raise

    def _record(self, end: _End) -> dict[str, Any]:
        seq = {"seq": number(end.first_seq)} if end.seqs else {}
        return {"Put": {"Item": {**end.item, **seq}, **end.condition}}

    def _skips(self, end: _End, skipped: Sequence[NodeRecord]) -> list[dict[str, Any]]:
        items = [node_item(end.run_id, record, self._documents) for record in skipped]
        return [{"Put": {"Item": item, **absent()}} for item in items]

    # -- refusals ----------------------------------------------------------------------

    def _refused(
        self,
        end: _End,
        stored: list[Event],
        puts: Sequence[dict[str, Any]],
        reasons: Sequence[Reason],
    ) -> list[Event] | None:
        """Returns the events if the end is stored after all, None to try again.

        Raises:
            AlreadyTerminal, ClaimLost, JoinChanged: Somebody else was first.
        """
        own, of_events = reasons[0], reasons[1 : 1 + len(puts)]
        if went_through(of_events, puts):
            return stored
        if own.condition_failed:
            held = node_record(own.item) if own.item else None
            if held is not None and end.is_mine(held):
                return stored
            self._events.void(end.run_id, end.seqs)
            raise _overtaken(held)
        of_joins, of_skips = _split(reasons[1 + len(puts) :], len(end.joins))
        if any(reason.condition_failed for reason in of_joins):
            self._events.void(end.run_id, end.seqs)
            raise JoinChanged
        self._drop_existing(end, of_skips)
        if any(reason.condition_failed for reason in of_events):
            self._events.void(end.run_id, end.seqs)
            end.seqs = self._events.draw(end.run_id, len(end.events))
        return None

    @staticmethod
    def _drop_existing(end: _End, reasons: Sequence[Reason]) -> None:
        refused = [reason.condition_failed for reason in reasons]
        exist = {r.key for r, was in zip(end.skipped, refused, strict=True) if was}
        if not exist:
            return
        gone = {(r.node_id, r.key.path) for r in end.skipped if r.key in exist}
        end.skipped = [record for record in end.skipped if record.key not in exist]
        end.events = [without_skips(event, gone) for event in end.events]

    def _was_stored(self, end: _End) -> bool:
        held = self._held(end)
        return held is not None and end.is_mine(held)

    def _held(self, end: _End) -> NodeRecord | None:
        item = self._table.get(key(run_pk(end.run_id), node_sk(end.record.key)))
        return node_record(item) if item is not None else None

    # -- more than one transaction holds -------------------------------------------------

    def _store_excess(self, end: _End) -> None:
        """Stores the skipped records that the transaction has no room for.

        Should this invocation die before the end, the next attempt finds them
        skipped already, and its event tells of them all the same.
        """
        room = limits.DYNAMODB_TRANSACTION_ITEMS - 1
        fits = max(0, room - len(end.events) - len(end.joins))
        excess, end.skipped = end.skipped[fits:], end.skipped[:fits]
        for first in range(0, len(excess), room):
            self._store_batch(end, excess[first : first + room])

    def _store_batch(self, end: _End, batch: list[NodeRecord]) -> None:
        check = {
            "ConditionCheck": {
                "Key": key(run_pk(end.run_id), node_sk(end.record.key)),
                **end.condition,
            }
        }
        left: dict[NodeKey, NodeRecord] = {record.key: record for record in batch}
        for _ in range(TRIES):
            if not left:
                return
            try:
                self._table.transact([check, *self._skips(end, list(left.values()))])
                return
            except TransactionCancelled as cancelled:
                own, *others = cancelled.reasons
                if own.condition_failed:
                    held = node_record(own.item) if own.item else None
                    raise _overtaken(held) from None
                left = {
                    place: record
                    for (place, record), reason in zip(left.items(), others, strict=True)
                    if not reason.condition_failed
                }
        raise TransientStore("skipped nodes were refused again and again")


def _split(reasons: Sequence[Reason], at: int) -> tuple[Sequence[Reason], Sequence[Reason]]:
    return reasons[:at], reasons[at:]


def _overtaken(held: NodeRecord | None) -> Exception:
    return AlreadyTerminal(held) if held is not None and held.terminal else ClaimLost()
