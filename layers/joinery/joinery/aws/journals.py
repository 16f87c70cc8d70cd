"""What nodes noted before they went on, and texts too long for it.

A long text is kept in parts, each an object of the bucket: a range of it is read
without the rest, and storing it needs no second copy of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from joinery.aws.conditions import mine
from joinery.aws.documents import Documents
from joinery.aws.errors import TransactionCancelled
from joinery.aws.event_log import EventLog
from joinery.aws.items import (
    Item,
    get_int,
    get_string,
    journal_sk,
    key,
    live,
    node_sk,
    number,
    run_pk,
)
from joinery.aws.table import Table
from joinery.errors import NotFound
from joinery.runs.model import NodeKey
from joinery.runs.ports import ClaimLost, JournalEntry

PART_CHARS: Final = 1024 * 1024
"""Code points of one part: up to 4 MB as UTF-8."""

READS_AT_ONCE: Final = 8


class JournalTable:
    """What a run store does with journals.

    Args:
        table: The state table.
        documents: Where large values and long texts go.
        events: The runs' logs, which know how long things are kept.
        clock: Epoch seconds.
    """

    def __init__(
        self, table: Table, documents: Documents, events: EventLog, clock: Callable[[], float]
    ) -> None:
        self._table, self._documents = table, documents
        self._events, self._clock = events, clock

    def put(
        self, run_id: str, node: NodeKey, entry_id: str, value: Mapping[str, Any], attempt: int
    ) -> None:
        """See `RunStore.put_journal`: one transaction with a look at the node's record."""
        pk = run_pk(run_id)
        item = {
            **key(pk, journal_sk(node, entry_id)),
            **self._documents.attributes("value", value, f"runs/{run_id}"),
            "attempt": number(attempt),
            **self._events.expiry(),
        }
        check = {"Key": key(pk, node_sk(node)), **mine(attempt)}
        try:
            self._table.transact([{"ConditionCheck": check}, {"Put": {"Item": item}}])
        except TransactionCancelled:
            raise ClaimLost from None

    def of(self, run_id: str, node: NodeKey) -> dict[str, JournalEntry]:
        """See `RunStore.journal`: one query, and the large values side by side."""
        now, prefix = self._clock(), journal_sk(node)
        rows = [r for r in self._table.prefix(run_pk(run_id), prefix) if live(r, now)]
        elsewhere = [row for row in rows if "value" not in row]
        if len(elsewhere) < 2:
            values = [self._value(row) for row in rows]
        else:
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(min(READS_AT_ONCE, len(elsewhere))) as pool:
                values = list(pool.map(self._value, rows))
        return {
            get_string(row, "sk").removeprefix(prefix): JournalEntry(value, get_int(row, "attempt"))
            for row, value in zip(rows, values, strict=True)
        }

    def _value(self, row: Item) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._documents.value(row, "value")
        return found

    # -- long texts --------------------------------------------------------------------

    def put_whole(self, run_id: str, name: str, text: str) -> None:
        """See `RunStore.put_whole`."""
        for index, start in enumerate(range(0, max(1, len(text)), PART_CHARS)):
            part = text[start : start + PART_CHARS]
            # Half of a surrogate pair has no UTF-8, but it may come in a tool's result.
            body = part.encode("utf-8", "surrogatepass")
            self._documents.put_bytes(_part(run_id, name, index), body)

    def read_whole(self, run_id: str, name: str, start: int, stop: int) -> str:
        """See `RunStore.read_whole`."""
        found: list[str] = []
        for index in range(start // PART_CHARS, max(start, stop - 1) // PART_CHARS + 1):
            try:
                body = self._documents.get_bytes(_part(run_id, name, index))
            except NotFound:
                if index == 0 or not self._has(run_id, name):
                    raise
                break
            part, first = body.decode("utf-8", "surrogatepass"), index * PART_CHARS
            found.append(part[max(0, start - first) : stop - first])
            if len(part) < PART_CHARS:
                break
        return "".join(found)

    def _has(self, run_id: str, name: str) -> bool:
        self._documents.get_bytes(_part(run_id, name, 0))
        return True


def _part(run_id: str, name: str, index: int) -> str:
    return f"runs/{run_id}/whole/{name}/{index:05d}.txt"
