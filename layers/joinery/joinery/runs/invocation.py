"""The state of one node invocation: what is loaded, and how it tells the world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from joinery.compiler.plan import Plan, PlanNode
from joinery.errors import RunCancelled, RunSuspended, TransientClaimed
from joinery.events.make import Event, make_event, with_nodes
from joinery.runs.deps import Deps
from joinery.runs.joins import JoinState
from joinery.runs.model import Address, Control, NodeKey, NodeRecord, RunRecord
from joinery.runs.ports import ClaimLost

if TYPE_CHECKING:
    from joinery.runs.walk import Pace


@dataclass(frozen=True, slots=True)
class Waker:
    """What wakes the Task of an invocation.

    Attributes:
        token: The Task's token.
        begun_at: Epoch seconds at which the invocation began.
        caught: The joins whose decision the machine catches around the Task.
    """

    token: str
    begun_at: float
    caught: tuple[str, ...] = ()


@dataclass(slots=True)
class Invocation:
    """One invocation of one node.

    Attributes:
        deps: Ports.
        plan: The plan of the run.
        run: The run.
        node: The node.
        path: Its loop rounds and item indexes.
        deadline: `time.monotonic()` at which the invocation ends.
        loaded: Records read so far, shared by the nodes of one Task.
        joins: What was read of the joins that do not wait for all.
        control: The control item as it was read; `head` grows from its.
        head: Highest seq seen.
        waker: What wakes the Task, where it waits for that.
        prior: Events that the node's end stores before its own.
        pace: What is left of an invocation that runs several nodes; None for one alone.
    """

    deps: Deps
    plan: Plan
    run: RunRecord
    node: PlanNode
    path: str
    deadline: float
    loaded: dict[Address, NodeRecord]
    control: Control = field(default_factory=Control)
    head: int = 0
    joins: dict[NodeKey, JoinState] = field(default_factory=dict)
    pace: Pace | None = None
    waker: Waker | None = None
    prior: tuple[Event, ...] = ()

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.run.run_id

    @property
    def key(self) -> NodeKey:
        """The node's address."""
        return NodeKey(self.node.ord, self.path)

    def knows(self, address: Address) -> bool:
        """Whether a record was read that cannot have changed since."""
        held = self.loaded.get(address)
        return held is not None and held.terminal and not address.last

    def find(self, address: Address) -> NodeRecord | None:
        """Returns a record, read once; None when there is none yet.

        What has ended stays as it is, but which round is a loop's last one does not.
        """
        if not self.knows(address):
            self.loaded.update(self.deps.store.load(self.run_id, [address]).records)
        return self.loaded.get(address)

    def event(self, name: str, data: Mapping[str, Any]) -> Event:
        """Returns an event of this node."""
        return make_event(
            name,
            self.run_id,
            data,
            at=self.deps.clock(),
            session_id=self.run.session_id,
            node_id=self.node.id,
            path=self.path,
            node_name=self.node.name,
        )

    def append(self, name: str, data: Mapping[str, Any]) -> None:
        """Stores and publishes an event of this node."""
        self.publish(self.deps.store.append(self.run_id, [self.event(name, data)]))

    def begin(self, record: NodeRecord, data: Mapping[str, Any]) -> None:
        """Tells that an attempt begins, unless the run was cancelled or paused since it was read.

        Args:
            record: The node's record, as it was claimed.
            data: What the event says.

        Raises:
            RunCancelled, RunSuspended: It was: the claim is given back, and was no attempt.
            TransientClaimed: Another attempt has begun since.
        """
        event = self.event("node.started", data)
        try:
            self.publish(self.deps.store.append(self.run_id, [event], begins=record))
        except ClaimLost:
            raise TransientClaimed(f"another invocation took over node '{self.node.id}'") from None
        except (RunCancelled, RunSuspended):
            began = record.started_at if record.tries > 1 else 0.0
            back = record.with_(status="pending", base=record.base + 1, started_at=began)
            with suppress(ClaimLost):
                self.deps.store.release(self.run_id, back, [])
            raise

    def publish(self, stored: Sequence[Event]) -> None:
        """Publishes what was stored."""
        if stored:
            self.head = max(self.head, stored[-1]["head"])
            self.deps.publisher.publish(self.run_id, stored)

    def said(self, attempt: int) -> str:
        """Returns what an attempt of the node streamed as `text`, as far as it is stored."""
        pieces = self.deps.store.texts_of(self.run_id, self.key, attempt)
        return "".join(piece.text for piece in pieces if piece.stream == "text")

    def skip_event(self, records: Sequence[NodeRecord]) -> Event:
        """Returns the one event that tells of all these skips."""
        return with_nodes(self.event("nodes.skipped", {}), records)

    def skipped(self, dead: Sequence[tuple[PlanNode, str]], now: float) -> list[NodeRecord]:
        """Returns the records of dead nodes."""
        return [
            NodeRecord(NodeKey(node.ord, path), node.id, "skipped", ended_at=now)
            for node, path in dead
        ]
