"""Runs as items: made, started, closed and listed."""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from joinery.aws.conditions import NAMES, absent, present, run_open, updating
from joinery.aws.documents import Documents, SizedCache
from joinery.aws.due import OPEN, due_item, first_due, old_item
from joinery.aws.errors import ConditionFailed, TransactionCancelled
from joinery.aws.event_log import EventLog, stamped, went_through
from joinery.aws.items import (
    CTRL,
    META,
    Item,
    document,
    get_string,
    item_bytes,
    key,
    number,
    run_pk,
    string,
)
from joinery.aws.ledger_table import session_update
from joinery.aws.records import (
    RUN_FIELDS,
    control_item,
    owner_pk,
    owner_sk,
    run_item,
    run_record,
)
from joinery.aws.table import Table, values
from joinery.errors import InvalidRequest, NotFound, TransientStore
from joinery.events.make import Event
from joinery.runs.closing_ports import SETTLED_S
from joinery.runs.model import RunRecord
from joinery.runs.usage import beyond

CLOSE_TRIES: Final = 5

_PINNED: Final = frozenset({"inputs", "inputs_ref", "extra", "extra_ref"})


@dataclass(frozen=True, slots=True)
class RunPage:
    """Some runs of an owner, newest first; `cursor` leads to the next ones, None at the end."""

    runs: list[RunRecord]
    cursor: str | None


class RunTable:
    """What a run store does with the items of runs themselves.

    Args:
        table: The state table.
        documents: Where large inputs and outputs go.
        events: The runs' logs.
        retention_s: How long a run is kept after it has ended; None is for ever.
    """

    def __init__(
        self,
        table: Table,
        documents: Documents,
        events: EventLog,
        *,
        retention_s: float | None = None,
    ) -> None:
        self._table, self._documents, self._log = table, documents, events
        self._retention_s = retention_s
        self._pinned = SizedCache()

    def create(
        self,
        run: RunRecord,
        inputs: Mapping[str, Any],
        events: Sequence[Event],
        extra: Mapping[str, Any],
    ) -> tuple[RunRecord, list[Event]]:
        """See `RunStore.create_run`: the run, its control item and events at once."""
        prefix = f"runs/{run.run_id}"
        token = uuid.uuid4().hex
        meta = run_item(
            run,
            {
                **self._documents.attributes("inputs", inputs, prefix),
                **self._documents.attributes("extra", extra, prefix),
                **first_due(run),
                "made_by": string(token),
            },
        )
        control = control_item(run.run_id, len(events))
        stored = stamped(events, range(1, len(events) + 1))
        try:
            self._table.transact(
                [
                    {"Put": {"Item": meta, **absent()}},
                    {"Put": {"Item": control, **absent()}},
                    *self._log.puts(run.run_id, stored),
                ]
            )
        except TransactionCancelled as cancelled:
            held = cancelled.reasons[0].item
            if held is None:
                return self.get(run.run_id), []
            # A call that the SDK sent twice meets what it made itself.
            if get_string(held, "made_by") != token:
                return run_record(held), []
        self._log.note(run.run_id, control)
        return run, stored

    def get(self, run_id: str) -> RunRecord:
        """See `RunStore.get_run`."""
        return run_record(self._meta(run_id))

    def _meta(self, run_id: str) -> Item:
        item = self._table.get(key(run_pk(run_id), META))
        if item is None:
            raise NotFound(f"no run {run_id}")
        # Almost every invocation reads the run and then its inputs, which never change.
        pinned = {name: value for name, value in item.items() if name in _PINNED}
        self._pinned.put(run_id, pinned, item_bytes(pinned))
        return item

    def pinned(self, run_id: str, name: str) -> Mapping[str, Any]:
        """Returns `inputs` or `extra` of a run."""
        item = self._pinned.get(run_id) or self._meta(run_id)
        value: Mapping[str, Any] = self._documents.value(item, name) or {}
        return value

    def outputs(self, run_id: str) -> Mapping[str, Any] | None:
        """See `RunStore.outputs`."""
        value: Mapping[str, Any] | None = self._documents.value(self._meta(run_id), "outputs")
        return value

    def mark_started(self, run_id: str, execution_arn: str, at: float) -> None:
        """See `RunStore.mark_started`."""
        place = key(run_pk(run_id), META)
        started = {"arn": string(execution_arn), "at": number(at)}
        update = "SET execution_arn = :arn, started_at = :at"
        queued = {
            "ConditionExpression": "#status = :queued",
            "ExpressionAttributeNames": NAMES,
            "ExpressionAttributeValues": values(queued=string("queued")),
        }
        try:
            moved = updating(
                queued, f"{update}, #status = :running", running=string("running"), **started
            )
            self._table.update(place, **moved)
        except ConditionFailed as failed:
            if failed.item is None:
                raise NotFound(f"no run {run_id}") from None
            self._table.update(place, **updating(present(), update, **started))

    def close(
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
        if run.closed:
            return []
        changes = {"status": string(status), "ended_at": number(at), "usage": document(usage or {})}
        if error is not None:
            changes["error"] = document(error)
        changes |= self._due_after(run, status, at)
        if outputs is not None:
            prefix = f"runs/{run.run_id}"
            changes |= self._documents.attributes("outputs", outputs, prefix)
        actions: list[dict[str, Any]] = [
            {"Update": {"Key": key(run_pk(run.run_id), META), **_closing(run, changes)}}
        ]
        if run.session_id and run.parent is None:
            more = session_update(run.owner, run.session_id, beyond(usage or {}, run.usage))
            actions += [{"Update": more}] if more else []
        if not self._sealed(run, status):
            return []
        for _ in range(CLOSE_TRIES):
            seqs = self._log.draw(run.run_id, 1, of_run=True)
            stored = stamped([event], seqs)
            puts = self._log.puts(run.run_id, stored)
            try:
                self._table.transact([*actions, *puts])
                return stored
            except TransactionCancelled as cancelled:
                if went_through(cancelled.reasons[len(actions) :], puts):
                    return stored
                self._log.void(run.run_id, seqs)
                if cancelled.reasons[0].condition_failed:
                    return []
        raise TransientStore("numbers of the event log kept being taken")

    def _due_after(self, run: RunRecord, status: str, at: float) -> Item:
        if status != "completed":
            return due_item(OPEN, run.run_id, at + SETTLED_S)
        if self._retention_s is not None:
            return old_item(run.run_id, at + self._retention_s)
        return {}

    def _sealed(self, run: RunRecord, status: str) -> bool:
        """Closes the log to nodes that still run; returns whether the run was open.

        This comes before the number of the last event is drawn, or a node could draw
        one behind it.
        """
        own = {"Key": key(run_pk(run.run_id), META), **run_open(run.incarnation)}
        ended = updating(present(), "SET ended = :status", status=string(status))
        seal = {"Key": key(run_pk(run.run_id), CTRL), **ended}
        for _ in range(CLOSE_TRIES):
            try:
                self._table.transact([{"ConditionCheck": own}, {"Update": seal}])
                return True
            except TransactionCancelled as cancelled:
                if cancelled.reasons[0].condition_failed:
                    return False
        raise TransientStore("the control item of a run kept being written")

    def page(self, owner: str, limit: int, cursor: str | None) -> RunPage:
        """Returns an owner's runs, newest first; one just made may be missing for a moment.

        Raises:
            InvalidRequest: The cursor is not one of ours.
        """
        names = {f"#{name}": name for name in RUN_FIELDS}
        bounds = values(owner=string(owner_pk(owner)))
        condition = "owner_pk = :owner"
        if cursor is not None:
            condition += " AND owner_sk < :before"
            bounds |= values(before=string(_cursor_sk(cursor)))
        rows = self._table.query(
            IndexName="by_owner",
            KeyConditionExpression=condition,
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=bounds,
            ProjectionExpression=", ".join(names),
            ScanIndexForward=False,
            Limit=limit + 1,
        )
        runs: list[RunRecord] = []
        for row in rows:
            if len(runs) == limit:
                return RunPage(runs, _cursor(owner_sk(runs[-1])))
            runs.append(run_record(row))
        return RunPage(runs, None)


def _closing(run: RunRecord, changes: Mapping[str, Any]) -> dict[str, Any]:
    condition = run_open(run.incarnation)
    names = {f"#new_{name}": name for name in changes}
    assignments = ", ".join(f"#new_{name} = :new_{name}" for name in changes)
    settled = "" if "due_pk" in changes else " REMOVE due_pk, due_sk"
    update = updating(
        condition,
        f"SET {assignments}{settled}",
        **{f"new_{name}": value for name, value in changes.items()},
    )
    return {
        **update,
        "ExpressionAttributeNames": {**condition["ExpressionAttributeNames"], **names},
    }


def _cursor(place: str) -> str:
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def _cursor_sk(cursor: str) -> str:
    try:
        place = base64.b64decode(
            cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True
        ).decode()
    except (binascii.Error, ValueError):
        raise InvalidRequest("the cursor is not one that a list gave") from None
    return place
