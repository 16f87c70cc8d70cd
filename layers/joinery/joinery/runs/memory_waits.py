"""The store in this process: its runs, and what it keeps for nodes that wait."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from joinery.errors import NotFound
from joinery.events.make import Event
from joinery.runs.joins import JoinState
from joinery.runs.model import Control, LiveInput, NodeKey, NodeRecord, RunRecord, taken_by
from joinery.runs.ports import TaskToken, TextPiece
from joinery.runs.wait_ports import for_node, in_order, refuse_full, with_ids


@dataclass(slots=True)
class HeldRun:
    """A run with all that is stored of it."""

    record: RunRecord
    inputs: Mapping[str, Any]
    extra: Mapping[str, Any]
    outputs: Mapping[str, Any] | None = None
    control: Control = field(default_factory=Control)
    nodes: dict[NodeKey, NodeRecord] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    texts: list[TextPiece] = field(default_factory=list)
    tokens: dict[NodeKey, TaskToken] = field(default_factory=dict)
    joins: dict[NodeKey, JoinState] = field(default_factory=dict)
    inbox: dict[str, LiveInput] = field(default_factory=dict)
    below: dict[str, None] = field(default_factory=dict)


class MemoryWaits:
    """Implements `WaitStore` and `InboxStore`, and holds the runs."""

    def __init__(self) -> None:
        super().__init__()
        self._runs: dict[str, HeldRun] = {}
        self._lock = threading.RLock()

    def _run(self, run_id: str) -> HeldRun:
        try:
            return self._runs[run_id]
        except KeyError:
            raise NotFound(f"no run {run_id}") from None

    def _stamp(self, run: HeldRun, events: Sequence[Event], *, of_run: bool = False) -> list[Event]:
        """Puts events into the log; those of nodes have no place there once the run has ended."""
        if events and not of_run and run.control.ended:
            run.control.check(last=True)
        head = run.control.head
        stored = []
        for event in events:
            head += 1
            stored.append({**event, "seq": head, "head": head})
        run.control = replace(run.control, head=head)
        run.events.extend(stored)
        return stored

    # -- waiting -----------------------------------------------------------------------

    def put_token(self, run_id: str, token: TaskToken) -> None:
        """See `WaitStore.put_token`."""
        with self._lock:
            tokens = self._run(run_id).tokens
            held = tokens.get(token.key)
            if held is None or held.issued_at <= token.issued_at:
                tokens[token.key] = token

    def token(self, run_id: str, key: NodeKey) -> TaskToken | None:
        """See `WaitStore.token`."""
        return self._run(run_id).tokens.get(key)

    def tokens(self, run_id: str) -> list[TaskToken]:
        """See `WaitStore.tokens`."""
        with self._lock:
            return list(self._run(run_id).tokens.values())

    def drop_token(self, run_id: str, token: TaskToken) -> None:
        """See `WaitStore.drop_token`."""
        with self._lock:
            tokens = self._run(run_id).tokens
            if token.key in tokens and tokens[token.key].token == token.token:
                del tokens[token.key]

    def mark_asked(self, run_id: str) -> None:
        """See `WaitStore.mark_asked`."""
        with self._lock:
            run = self._run(run_id)
            run.record = replace(run.record, asked=True)

    def look_soon(self, run_id: str, at: float) -> None:
        """See `WaitStore.look_soon`: nobody looks at runs of this process."""

    # -- the inbox ---------------------------------------------------------------------

    def put_input(
        self, run_id: str, message: LiveInput, event: Event
    ) -> tuple[LiveInput, list[Event]]:
        """See `InboxStore.put_input`."""
        with self._lock:
            run = self._run(run_id)
            if message.input_id in run.inbox:
                return run.inbox[message.input_id], []
            pending = sum(not held.taken for held in run.inbox.values())
            refuse_full(pending, run.control.inputs)
            stored = self._stamp(run, [event])
            message = replace(message, seq=stored[0]["seq"])
            run.inbox[message.input_id] = message
            run.control = replace(run.control, inputs=run.control.inputs + 1)
            return message, stored

    def input(self, run_id: str, input_id: str) -> LiveInput | None:
        """See `InboxStore.input`."""
        return self._run(run_id).inbox.get(input_id)

    def take_inputs(
        self, run_id: str, key: NodeKey, node_id: str, turn: int, event: Event
    ) -> tuple[list[LiveInput], list[Event]]:
        """See `InboxStore.take_inputs`."""
        with self._lock:
            run = self._run(run_id)
            before = self.taken_inputs(run_id, key, turn)
            new = in_order([m for m in run.inbox.values() if for_node(m, key, node_id)])
            told = self._stamp(run, [with_ids(event, new)]) if new else []
            for message in new:
                run.inbox[message.input_id] = replace(message, taken=taken_by(key, turn))
            return [*before, *(run.inbox[m.input_id] for m in new)], told

    def taken_inputs(self, run_id: str, key: NodeKey, turn: int) -> list[LiveInput]:
        """See `InboxStore.taken_inputs`."""
        by = taken_by(key, turn)
        with self._lock:
            return in_order([m for m in self._run(run_id).inbox.values() if m.taken == by])
