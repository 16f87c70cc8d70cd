"""The journal of one attempt: what earlier attempts did, and what this one does.

A node that keeps one notes each answer of a model and each result of a tool before it
goes on. So another attempt, whatever ended the one before, repeats none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from joinery.compiler.plan import PlanNode
from joinery.errors import TransientClaimed
from joinery.llm.types import Usage
from joinery.nodes.base import Meter
from joinery.runs.model import NodeRecord
from joinery.runs.ports import ClaimLost, JournalEntry, RunStore

if TYPE_CHECKING:
    from collections.abc import Sequence


class Journal:
    """Reads and adds entries.

    Args:
        store: Where they are.
        run_id: The run.
        record: The node's record, as it was claimed.
        entries: What earlier attempts have noted.
    """

    def __init__(
        self,
        store: RunStore,
        run_id: str,
        record: NodeRecord,
        entries: Mapping[str, JournalEntry] | None = None,
    ) -> None:
        self._store, self._run_id, self._record = store, run_id, record
        self._entries = dict(entries or {})

    def get(self, entry_id: str) -> Mapping[str, Any] | None:
        """Returns what was noted under an id, None when nothing was."""
        entry = self._entries.get(entry_id)
        return None if entry is None else entry.value

    def put(self, entry_id: str, value: Mapping[str, Any]) -> None:
        """Notes something; it is stored when this returns.

        Raises:
            TransientClaimed: Another attempt has begun.
        """
        record = self._record
        try:
            self._store.put_journal(self._run_id, record.key, entry_id, value, record.attempt)
        except ClaimLost:
            raise TransientClaimed(
                f"another invocation took over node '{record.node_id}'"
            ) from None
        self._entries[entry_id] = JournalEntry(value, record.attempt)

    def key_of(self, entry_id: str) -> str:
        """Returns what names an entry in the whole installation, over all attempts."""
        key = self._record.key
        return f"{self._run_id}-{key.ord}-{key.path or '_'}-{entry_id}"

    def put_whole(self, entry_id: str, text: str) -> str:
        """Stores a long text beside an entry; returns the name that `read_whole` takes."""
        key = self._record.key
        # Two attempts may have results of their own; the entry says whose it is.
        name = f"{key.ord}.{key.path or '_'}.{entry_id}.{self._record.attempt}".replace("_", "x")
        self._store.put_whole(self._run_id, name, text)
        return name

    def read_whole(self, name: str, start: int, stop: int) -> str:
        """Returns a range of a long text. Raises: NotFound."""
        return self._store.read_whole(self._run_id, name, start, stop)

    def kept(self) -> dict[str, str]:
        """Returns the text of each stream that the entries hold."""
        found: dict[str, list[str]] = {}
        for entry_id in sorted(self._entries):
            streams = self._entries[entry_id].value.get("streams") or {}
            for name, text in streams.items():
                found.setdefault(name, []).append(text)
        return {name: "".join(parts) for name, parts in found.items()}

    def unmetered(self) -> Sequence[Mapping[str, Any]]:
        """Returns what entries cost whose attempts died before they recorded it."""
        return [
            entry.value["usage"]
            for entry in self._entries.values()
            if entry.attempt > self._record.metered and "usage" in entry.value
        ]

    def below(self, *, metered: bool) -> Sequence[Mapping[str, Any]]:
        """Returns what runs that tools began used: what the record has of it, or has not."""
        return [
            entry.value["below"]
            for entry in self._entries.values()
            if (entry.attempt <= self._record.metered) == metered and "below" in entry.value
        ]


def open_journal(
    store: RunStore, run_id: str, node: PlanNode, record: NodeRecord, meter: Meter
) -> Journal | None:
    """Returns the journal of an attempt, None for a node that keeps none.

    What attempts that died have used is added to the meter, once.

    Args:
        store: Where journals are.
        run_id: The run.
        node: The node.
        record: Its record, as it was claimed.
        meter: Counts what the attempt uses.
    """
    if not node.spec.get("tools"):
        return None
    earlier = store.journal(run_id, record.key) if record.attempt > 1 else {}
    journal = Journal(store, run_id, record, earlier)
    for spent in journal.unmetered():
        meter.recover(
            Usage(**spent["tokens"]),
            int(spent["calls"]),
            spent["provider"],
            spent["model"],
            spent.get("price"),
        )
    meter.below.extend(journal.below(metered=False))
    return journal


def started(node: PlanNode, record: NodeRecord, journal: Journal | None) -> dict[str, Any]:
    """Returns the data of the event that an attempt begins, with how much text it keeps."""
    data: dict[str, Any] = {"attempt": record.attempt, "type": node.type}
    kept = journal.kept() if journal else {}
    if kept:
        data["kept"] = {name: len(text) for name, text in kept.items()}
    return data


def calls_before(record: NodeRecord, journal: Journal | None) -> int:
    """Returns the model calls of a node's earlier attempts, without those of its tools' runs."""
    below = journal.below(metered=True) if journal else ()
    calls = int(record.usage.get("model_calls", 0))
    return max(0, calls - sum(int(usage.get("model_calls", 0)) for usage in below))
