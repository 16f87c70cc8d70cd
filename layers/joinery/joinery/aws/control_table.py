"""What steers runs, as items: paused, begun again, forked and deleted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from joinery import limits
from joinery.aws.conditions import NAMES, OWN_INCARNATION, absent, mine_ended
from joinery.aws.documents import Documents
from joinery.aws.due import OPEN, due_item
from joinery.aws.errors import ConditionFailed, TransactionCancelled
from joinery.aws.event_log import EventLog, stamped, went_through
from joinery.aws.items import (
    CTRL,
    META,
    Attribute,
    boolean,
    document,
    key,
    number,
    run_pk,
    string,
)
from joinery.aws.ledger_table import stop_update
from joinery.aws.records import node_item
from joinery.aws.table import Table, values
from joinery.errors import TransientStore
from joinery.events.make import Event
from joinery.runs.model import RUN_OPEN, NodeRecord, RunRecord, reset
from joinery.runs.sweep import FIRST_LOOK_S

TRIES: Final = 5

DELETE_S: Final = 20.0
"""A deletion gives up after this long and is to be asked for again: an API call has 30 s."""


class ControlTable:
    """What a run store does to steer runs.

    Args:
        table: The state table.
        documents: Where large values are.
        events: The runs' logs.
        clock: Epoch seconds.
    """

    def __init__(
        self, table: Table, documents: Documents, events: EventLog, clock: Callable[[], float]
    ) -> None:
        self._table, self._documents, self._log = table, documents, events
        self._clock = clock

    def suspend(
        self, run: RunRecord, event: Event, error: Mapping[str, Any], *, ledger: bool
    ) -> list[Event]:
        """See `RunStore.suspend_run`."""
        return self._move(
            run,
            [event],
            from_=RUN_OPEN - {"paused", "suspended"},
            update="SET #status = :suspended, #e = :error REMOVE due_pk, due_sk",
            more={":suspended": string("suspended"), ":error": document(error)},
            flags="SET pause = :yes",
            flag_values={":yes": boolean(True)},
            names={"#e": "error"},
            besides=[stop_update(run.run_id, run.incarnation)] if ledger else [],
        )

    def pause(self, run: RunRecord, event: Event) -> list[Event]:
        """See `RunStore.pause_run`."""
        return self._move(
            run,
            [event],
            from_=RUN_OPEN - {"paused"},
            update="SET #status = :paused REMOVE due_pk, due_sk",
            more={":paused": string("paused")},
            flags="SET pause = :yes",
            flag_values={":yes": boolean(True)},
        )

    def reopen(self, run: RunRecord, events: Sequence[Event], at: float) -> list[Event]:
        """See `RunStore.reopen_run`."""
        return self._move(
            run,
            events,
            from_=frozenset({run.status}),
            update="SET #status = :running, incarnation = :next, resumed_at = :resumed_at,"
            " due_pk = :due_pk, due_sk = :due_sk"
            " REMOVE execution_arn, ended_at, #e",
            more={
                ":running": string("running"),
                ":next": number(run.incarnation + 1),
                ":resumed_at": number(at),
                **values(**due_item(OPEN, run.run_id, self._clock() + FIRST_LOOK_S)),
            },
            flags="SET pause = :no, cancel = :no REMOVE ended",
            flag_values={":no": boolean(False)},
            names={"#e": "error"},
        )

    def _move(
        self,
        run: RunRecord,
        events: Sequence[Event],
        *,
        from_: frozenset[str],
        update: str,
        more: Mapping[str, Attribute],
        flags: str,
        flag_values: Mapping[str, Attribute],
        names: Mapping[str, str] | None = None,
        besides: Sequence[Mapping[str, Any]] = (),
    ) -> list[Event]:
        """Changes a run's status with its flags and events, all or nothing."""
        allowed = {f":from{index}": string(status) for index, status in enumerate(sorted(from_))}
        pk = run_pk(run.run_id)
        meta = {
            "Key": key(pk, META),
            "UpdateExpression": update,
            "ConditionExpression": f"#status IN ({', '.join(allowed)}) AND {OWN_INCARNATION}",
            "ExpressionAttributeNames": {**NAMES, **(names or {})},
            "ExpressionAttributeValues": {
                **allowed, **more, **values(incarnation=number(run.incarnation)),
            },
        }  # fmt: skip
        control = {
            "Key": key(pk, CTRL),
            "UpdateExpression": flags,
            "ExpressionAttributeValues": dict(flag_values),
        }
        for _ in range(TRIES):
            seqs = self._log.draw(run.run_id, len(events), of_run=True)
            stored = stamped(events, seqs)
            puts = self._log.puts(run.run_id, stored)
            updates = [{"Update": fields} for fields in (meta, control, *besides)]
            try:
                self._table.transact([*updates, *puts])
                return stored
            except TransactionCancelled as cancelled:
                if went_through(cancelled.reasons[len(updates) :], puts):
                    return stored
                self._log.void(run.run_id, seqs)
                if cancelled.reasons[0].condition_failed:
                    return []
        raise TransientStore("numbers of the event log kept being taken")

    def reset_node(self, run_id: str, record: NodeRecord) -> None:
        """See `RunStore.reset_node`."""
        item = node_item(run_id, reset(record), self._documents)
        try:
            self._table.put(item, **mine_ended(record.attempt, record.status))
        except ConditionFailed:
            return

    def adopt(self, run_id: str, records: Sequence[NodeRecord]) -> None:
        """See `RunStore.adopt`."""
        for record in records:
            try:
                self._table.put(node_item(run_id, record, self._documents), **absent())
            except ConditionFailed:
                continue

    def delete(self, run_id: str) -> bool:
        """See `RunStore.delete_run`: the run itself goes last, so a part can be asked for again."""
        deadline = time.monotonic() + DELETE_S
        self._documents.delete_all(f"runs/{run_id}/")
        pk = run_pk(run_id)
        batch: list[dict[str, Any]] = []
        for item in self._table.query(
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues=values(pk=string(pk)),
            ProjectionExpression="pk, sk",
        ):
            if item["sk"]["S"] != META:
                batch.append(item)
            if len(batch) == limits.DYNAMODB_BATCH_WRITE_ITEMS:
                self._table.batch_delete(batch)
                batch = []
                if time.monotonic() > deadline:
                    return False
        self._table.batch_delete(batch)
        self._table.delete(key(pk, META))
        return True
