"""Journals and long texts in this process."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from joinery.errors import NotFound
from joinery.runs.model import NodeKey
from joinery.runs.ports import JournalEntry


class MemoryJournals(ABC):
    """What `MemoryStore` does with journals."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.RLock()
        self._journals: dict[str, dict[NodeKey, dict[str, JournalEntry]]] = {}
        self._wholes: dict[str, dict[str, str]] = {}

    @abstractmethod
    def _fence(self, run_id: str, key: NodeKey, attempt: int) -> None:
        """Raises `ClaimLost` where an attempt is not the node's any more."""

    def put_journal(
        self, run_id: str, key: NodeKey, entry_id: str, value: Mapping[str, Any], attempt: int
    ) -> None:
        """See `RunStore.put_journal`."""
        with self._lock:
            self._fence(run_id, key, attempt)
            entries = self._journals.setdefault(run_id, {}).setdefault(key, {})
            entries[entry_id] = JournalEntry(value, attempt)

    def journal(self, run_id: str, key: NodeKey) -> dict[str, JournalEntry]:
        """See `RunStore.journal`."""
        with self._lock:
            return dict(sorted(self._journals.get(run_id, {}).get(key, {}).items()))

    def put_whole(self, run_id: str, name: str, text: str) -> None:
        """See `RunStore.put_whole`."""
        with self._lock:
            self._wholes.setdefault(run_id, {})[name] = text

    def read_whole(self, run_id: str, name: str, start: int, stop: int) -> str:
        """See `RunStore.read_whole`."""
        with self._lock:
            found = self._wholes.get(run_id, {}).get(name)
        if found is None:
            raise NotFound("there is no such text")
        return found[start:stop]

    def _forget(self, run_id: str) -> None:
        self._journals.pop(run_id, None)
        self._wholes.pop(run_id, None)
