"""Which runs are due: a sparse index by time, in a few partitions.

An open run is in `OPEN#n` until it is closed or paused, and one that did not complete a
little longer, until all that follows from its end is done. A closed one is in `OLD#n` when
runs are kept for a limited time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

from joinery.aws.conditions import run_open, updating
from joinery.aws.errors import ConditionFailed
from joinery.aws.items import META, Item, get_string, key, run_pk, string
from joinery.aws.table import Table, values
from joinery.events.make import timestamp
from joinery.runs.model import RunRecord
from joinery.runs.sweep import FIRST_LOOK_S

SHARDS: Final = 4
"""An index partition takes 1,000 writes a second; a run writes two."""

OPEN: Final = "OPEN"
OLD: Final = "OLD"

TTL_LAG_S: Final = 3 * 86_400.0
"""Events and texts expire by themselves, which is free, but up to two days late.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/howitworks-ttl.html
"""


def due_item(kind: str, run_id: str, at: float) -> Item:
    """Returns the attributes that make a run due at a time in epoch seconds."""
    shard = hashlib.sha256(run_id.encode()).digest()[0] % SHARDS
    return {"due_pk": string(f"{kind}#{shard}"), "due_sk": string(f"{timestamp(at)}#{run_id}")}


def old_item(run_id: str, until: float) -> Item:
    """Returns the attributes that make a run due to be deleted once it was kept long enough."""
    return due_item(OLD, run_id, until + TTL_LAG_S)


def first_due(run: RunRecord) -> Item:
    """Returns when a new run is first looked at."""
    return due_item(OPEN, run.run_id, run.created_at + FIRST_LOOK_S)


class DueTable:
    """Reads the index and moves runs in it.

    Args:
        table: The state table.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    def due(self, now: float) -> Iterator[tuple[str, bool]]:
        """See `Overdue.due`."""
        for kind in (OPEN, OLD):
            for shard in range(SHARDS):
                for item in self._table.query(
                    IndexName="due",
                    KeyConditionExpression="due_pk = :kind AND due_sk < :now",
                    ExpressionAttributeValues=values(
                        kind=string(f"{kind}#{shard}"), now=string(timestamp(now))
                    ),
                    ProjectionExpression="pk",
                ):
                    yield get_string(item, "pk").removeprefix("RUN#"), kind == OLD

    def look_again(self, run: RunRecord, at: float) -> None:
        """See `Overdue.look_again`."""
        due = due_item(OPEN, run.run_id, at)
        update = updating(run_open(run.incarnation), "SET due_sk = :at", at=due["due_sk"])
        try:
            self._table.update(key(run_pk(run.run_id), META), **update)
        except ConditionFailed:
            return

    def look_soon(self, run_id: str, at: float) -> None:
        """See `WaitStore.look_soon`; a run that is paused or closed is not looked at."""
        due = due_item(OPEN, run_id, at)
        update = {
            "ConditionExpression": "due_pk = :open AND due_sk > :at",
            "UpdateExpression": "SET due_sk = :at",
            "ExpressionAttributeValues": {":open": due["due_pk"], ":at": due["due_sk"]},
        }
        try:
            self._table.update(key(run_pk(run_id), META), **update)
        except ConditionFailed:
            return
