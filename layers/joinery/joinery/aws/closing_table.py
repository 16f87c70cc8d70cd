"""What the ends of runs keep: the runs of their tools, and whether all is done."""

from __future__ import annotations

from joinery.aws.conditions import NAMES, OWN_INCARNATION
from joinery.aws.due import OPEN, due_item, old_item
from joinery.aws.errors import ConditionFailed
from joinery.aws.items import (
    BELOW,
    META,
    Attribute,
    below_sk,
    get_string,
    key,
    number,
    run_pk,
    string,
)
from joinery.aws.table import Table, values
from joinery.runs.model import RunRecord


class ClosingTable:
    """Implements `ClosingStore`.

    Args:
        table: The state table.
        retention_s: How long a run is kept after it has ended; None is for ever.
    """

    def __init__(self, table: Table, retention_s: float | None) -> None:
        self._ends, self._kept_s = table, retention_s

    def note_below(self, run_id: str, below: str) -> None:
        """See `ClosingStore.note_below`."""
        self._ends.put(key(run_pk(run_id), below_sk(below)))

    def below(self, run_id: str) -> list[str]:
        """See `ClosingStore.below`."""
        found = self._ends.prefix(run_pk(run_id), BELOW)
        return [get_string(item, "sk").removeprefix(BELOW) for item in found]

    def drop_below(self, run_id: str, below: str) -> None:
        """See `ClosingStore.drop_below`."""
        self._ends.delete(key(run_pk(run_id), below_sk(below)))

    def look_at(self, run: RunRecord, at: float) -> None:
        """See `ClosingStore.look_at`."""
        due = due_item(OPEN, run.run_id, at)
        self._change(run, "SET due_pk = :due_pk, due_sk = :due_sk", **due)

    def settled(self, run: RunRecord) -> None:
        """See `ClosingStore.settled`."""
        if run.closed and self._kept_s is not None:
            old = old_item(run.run_id, run.ended_at + self._kept_s)
            self._change(run, "SET due_pk = :due_pk, due_sk = :due_sk", **old)
        else:
            self._change(run, "REMOVE due_pk, due_sk")

    def _change(self, run: RunRecord, update: str, **new: Attribute) -> None:
        try:
            self._ends.update(
                key(run_pk(run.run_id), META),
                UpdateExpression=update,
                ConditionExpression=f"#status = :as_it_was AND {OWN_INCARNATION}",
                ExpressionAttributeNames=NAMES,
                ExpressionAttributeValues={
                    ":as_it_was": string(run.status),
                    **values(incarnation=number(run.incarnation), **new),
                },
            )
        except ConditionFailed:
            return
