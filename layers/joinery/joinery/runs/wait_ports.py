"""What nodes that wait need of the world: their tokens, who wakes their Tasks, and an inbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from joinery import limits
from joinery.events.make import Event
from joinery.input_errors import InboxFull
from joinery.runs.model import LiveInput, NodeKey, RunRecord

if TYPE_CHECKING:
    from joinery.compiler.plan import Plan
    from joinery.runs.deps import Deps


@dataclass(frozen=True, slots=True)
class TaskToken:
    """What wakes the Task of a node that waits.

    Attributes:
        key: The node.
        token: The Task's token; a retried Task has another.
        awaited: The run that the node waits for; empty when it waits for a person.
        issued_at: Epoch seconds at which the invocation with this token began.
        caught: The joins whose decision the machine catches around the Task.
    """

    key: NodeKey
    token: str
    awaited: str
    issued_at: float
    caught: tuple[str, ...] = ()


class WaitStore(Protocol):
    """What a run store does for nodes that wait."""

    def put_token(self, run_id: str, token: TaskToken) -> None:
        """Stores what a node waits with, unless one that was issued later is there."""
        ...

    def token(self, run_id: str, key: NodeKey) -> TaskToken | None:
        """Returns what a node waits with."""
        ...

    def tokens(self, run_id: str) -> list[TaskToken]:
        """Returns what nodes wait with that were not woken, or not for sure."""
        ...

    def drop_token(self, run_id: str, token: TaskToken) -> None:
        """Forgets a token that was used; another one of the node stays."""
        ...

    def mark_asked(self, run_id: str) -> None:
        """Notes that the run has asked somebody something: `RunRecord.asked`."""
        ...

    def look_soon(self, run_id: str, at: float) -> None:
        """Lets an open run be looked at from a time in epoch seconds on; see `sweep`."""
        ...


class InboxStore(Protocol):
    """Keeps what people tell the agents of a run while they work."""

    def put_input(
        self, run_id: str, message: LiveInput, event: Event
    ) -> tuple[LiveInput, list[Event]]:
        """Stores a message and its event, or returns the one that has its id, with no events.

        Raises:
            InboxFull: `INBOX_PENDING_MAX` messages wait, or the run has had `INBOX_RUN_MAX`.
        """
        ...

    def input(self, run_id: str, input_id: str) -> LiveInput | None:
        """Returns a message by its id."""
        ...

    def take_inputs(
        self, run_id: str, key: NodeKey, node_id: str, turn: int, event: Event
    ) -> tuple[list[LiveInput], list[Event]]:
        """Gives a node the messages that are for it, each once and to one node.

        Those that it took at this turn before are given again. The event, an `input.taken`
        without ids, tells of those that are new.

        Returns:
            The messages in the order of their arrival, and the event where it was stored.
        """
        ...

    def taken_inputs(self, run_id: str, key: NodeKey, turn: int) -> list[LiveInput]:
        """Returns what a node took at a turn."""
        ...


class Waits(Protocol):
    """Ends the waits of Tasks."""

    @property
    def settles(self) -> bool:
        """Whether this process may end other runs' nodes; else somebody else does."""
        ...

    def plan(self, ref: str) -> Plan:
        """Returns a plan by what runs are pinned to. Raises: NotFound."""
        ...

    def answer(self, token: str, output: Mapping[str, Any]) -> None:
        """Ends the wait of a Task; one that waits no more is left alone."""
        ...

    def refuse(self, token: str, error: str, cause: str) -> None:
        """Fails a Task that waits, by an error name; one that waits no more is left alone."""
        ...


class ChildRuns(Waits, Protocol):
    """Starts child runs, and wakes the nodes that wait for them or for anybody else."""

    def start(self, deps: Deps, run: RunRecord, *, within_s: float) -> None:
        """Starts a run, once however often it is called.

        Raises:
            JoineryError: It was not started.
        """
        ...

    def stop(self, run: RunRecord, cause: str) -> None:
        """Stops what runs a run that was closed; what has ended is left alone."""
        ...


def for_node(message: LiveInput, key: NodeKey, node_id: str) -> bool:
    """Whether a message is for a node, nobody having taken it."""
    if message.taken:
        return False
    return not message.node_id or (message.node_id == node_id and message.path in (None, key.path))


def in_order(messages: Sequence[LiveInput]) -> list[LiveInput]:
    """Returns messages as they arrived."""
    return sorted(messages, key=lambda message: message.seq)


def with_ids(event: Event, messages: Sequence[LiveInput]) -> Event:
    """Returns an `input.taken` that names messages."""
    return {**event, "data": {**event["data"], "input_ids": [m.input_id for m in messages]}}


def refuse_full(pending: int, ever: int) -> None:
    """Refuses another message where there are too many. Raises: InboxFull."""
    if ever >= limits.INBOX_RUN_MAX:
        raise InboxFull(
            f"the run has had {ever:,} messages, which is the limit",
            limit=limits.INBOX_RUN_MAX, for_good=True,
        )  # fmt: skip
    if pending >= limits.INBOX_PENDING_MAX:
        raise InboxFull(
            f"{pending} messages wait to be taken, which is the limit",
            limit=limits.INBOX_PENDING_MAX, for_good=False,
        )  # fmt: skip
