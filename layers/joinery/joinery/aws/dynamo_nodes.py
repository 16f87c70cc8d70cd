"""Node records: reading them, and the claims of those who run the nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from joinery.aws.conditions import claimable, mine, mine_as, updating
from joinery.aws.documents import Documents
from joinery.aws.errors import ConditionFailed, TransactionCancelled
from joinery.aws.event_log import EventLog, stamped, went_through
from joinery.aws.items import (
    CTRL,
    NODES,
    get_string,
    join_sk,
    key,
    node_sk,
    number,
    run_pk,
    string,
)
from joinery.aws.joins import join_state
from joinery.aws.records import node_item, node_record
from joinery.aws.table import Table
from joinery.errors import NotFound, PermanentInternal, TransientStore
from joinery.events.make import Event
from joinery.runs.model import Address, NodeKey, NodeRecord
from joinery.runs.ports import AlreadyTerminal, ClaimHeld, ClaimLost, Loaded

QUERIES_AT_ONCE: Final = 4
RELEASE_TRIES: Final = 5

_CLAIM: Final = (
    "SET #status = :claimed, node_id = :node_id, claim_until = :until, holder = :holder, "
    "started_at = if_not_exists(started_at, :now) ADD attempt :one"
)


class NodeTable:
    """What a run store does with node records, but for their end (`finish.py`).

    Args:
        table: The state table.
        documents: Where large results go.
        events: The runs' logs.
    """

    def __init__(self, table: Table, documents: Documents, events: EventLog) -> None:
        self._table, self._documents, self._events = table, documents, events

    # -- reading -----------------------------------------------------------------------

    def load(
        self, run_id: str, addresses: Iterable[Address], joins: Iterable[NodeKey] = ()
    ) -> Loaded:
        """See `RunStore.load`: one batch for exact keys, one query for each other."""
        wanted = list(dict.fromkeys(addresses))
        pk = run_pk(run_id)
        voted = {join_sk(join): join for join in joins}
        exact = {node_sk(a.key): a for a in wanted if not (a.last or a.every)}
        items = {
            get_string(item, "sk"): item
            for item in self._table.batch_get([key(pk, sk) for sk in (CTRL, *exact, *voted)])
        }
        if CTRL not in items:
            raise NotFound(f"no run {run_id}")
        records = {address: node_record(items[sk]) for sk, address in exact.items() if sk in items}
        others = [address for address in wanted if address.last or address.every]
        for found in self._queried(pk, others):
            records.update(found)
        states = {join: join_state(items[sk]) for sk, join in voted.items() if sk in items}
        return Loaded(self._events.note(run_id, items[CTRL]), records, states)

    def _queried(self, pk: str, addresses: Sequence[Address]) -> list[dict[Address, NodeRecord]]:
        def find(address: Address) -> dict[Address, NodeRecord]:
            prefix = node_sk(address.key)
            if address.every:
                records = [node_record(item) for item in self._table.prefix(pk, prefix)]
                return {Address(record.key): record for record in records}
            rows = self._table.prefix(pk, prefix, ScanIndexForward=False, Limit=1)
            item = next(rows, None)
            return {address: node_record(item)} if item else {}

        if len(addresses) < 2:
            return [find(address) for address in addresses]
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(QUERIES_AT_ONCE, len(addresses))) as pool:
            return list(pool.map(find, addresses))

    def every(self, run_id: str) -> list[NodeRecord]:
        """See `RunStore.nodes`."""
        return [node_record(item) for item in self._table.prefix(run_pk(run_id), NODES)]

    # -- claims ------------------------------------------------------------------------

    def claim(
        self, run_id: str, node: NodeKey, node_id: str, *, holder: str, now: float, until: float
    ) -> NodeRecord:
        """See `RunStore.claim`.

        A claim that the SDK sent twice meets itself: the record then names the same
        holder, and the attempt that was begun is the one to go on with.
        """
        try:
            item = self._table.update(
                key(run_pk(run_id), node_sk(node)),
                **updating(
                    claimable(now),
                    _CLAIM,
                    claimed=string("running"),
                    node_id=string(node_id),
                    until=number(until),
                    holder=string(holder),
                    one=number(1),
                ),
                ReturnValues="ALL_NEW",
            )
        except ConditionFailed as failed:
            return _refused(failed, holder)
        return node_record(item)

    def renew(self, run_id: str, node: NodeKey, attempt: int, until: float) -> None:
        """See `RunStore.renew`."""
        try:
            self._table.update(
                key(run_pk(run_id), node_sk(node)),
                **updating(mine(attempt), "SET claim_until = :until", until=number(until)),
            )
        except ConditionFailed:
            raise ClaimLost from None

    def release(
        self, run_id: str, record: NodeRecord, events: Sequence[Event], *, was: str | None = None
    ) -> list[Event]:
        """See `RunStore.release`: the record and its events are one transaction."""
        given_back = record.with_(claim_until=0.0, holder="")
        item = node_item(run_id, given_back, self._documents)
        fence = mine(record.attempt) if was is None else mine_as(record.attempt, was)
        put = {"Put": {"Item": item, **fence}}
        for _ in range(RELEASE_TRIES):
            seqs = self._events.draw(run_id, len(events))
            stored = stamped(events, seqs)
            puts = self._events.puts(run_id, stored)
            try:
                self._table.transact([put, *puts])
                return stored
            except TransactionCancelled as cancelled:
                if went_through(cancelled.reasons[1:], puts):
                    return stored
                self._events.void(run_id, seqs)
                if cancelled.reasons[0].condition_failed:
                    raise ClaimLost from None
        raise TransientStore("numbers of the event log kept being taken")


def _refused(failed: ConditionFailed, holder: str) -> NodeRecord:
    if failed.item is None:
        raise PermanentInternal("a claim was refused, but there is no record")
    record = node_record(failed.item)
    if record.terminal:
        raise AlreadyTerminal(record)
    if record.holder != holder:
        raise ClaimHeld(record.claim_until)
    return record
