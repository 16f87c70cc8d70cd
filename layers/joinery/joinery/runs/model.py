"""Runs and node records as the store keeps them, and the addresses of nodes in a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from joinery.compiler.plan import Plan, PlanNode

RUN_OPEN = frozenset({"queued", "running", "paused", "waiting", "suspended"})
RUN_CLOSED = frozenset({"completed", "failed", "cancelled", "timed_out"})
NODE_TERMINAL = frozenset({"completed", "skipped", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class NodeKey:
    """A node in a run: its ordinal in the plan and its path."""

    ord: int
    path: str

    def parts(self) -> tuple[int, ...]:
        """Returns the loop rounds and item indexes as numbers."""
        return tuple(int(part) for part in self.path.split(".")) if self.path else ()


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """What is stored of a node in a run.

    Attributes:
        key: Its address.
        node_id: Its id in the workflow.
        status: `pending`, `running`, `waiting`, `completed`, `skipped`, `failed` or `cancelled`.
        attempt: Number of the last attempt that was begun.
        claim_until: Epoch seconds until which the attempt is somebody's; 0 when nobody's.
        holder: Which invocation holds or held the claim.
        started_at: Epoch seconds at which the first attempt began.
        ended_at: Epoch seconds of the end, 0 before.
        port: The port taken; `""` when the node decides nothing.
        next_path: For a loop node that repeats, the path of the next round.
        result: `{text?, output?}`, or None where it is stored elsewhere or there is none.
        result_ref: Where a large result is stored.
        usage: `{input_tokens, output_tokens, model_calls, estimated}` over all attempts.
        streams: Length and hash of each finished stream, by name.
        error: `{code, message, …}` of the last failure.
        reason: Why a loop ended.
        handled: Whether a failure was dealt with as `on_error` says, so that the run goes on.
        refused: Nodes that the edges at its port do not lead to, since their `when` is false.
        seq: Place in the log of the first event that its end stored; set by the store.
        child: The run that a `workflow` node has begun last.
        children: How many child runs of it have ended and were followed by another.
    """

    key: NodeKey
    node_id: str
    status: str = "pending"
    attempt: int = 0
    claim_until: float = 0.0
    holder: str = ""
    started_at: float = 0.0
    ended_at: float = 0.0
    port: str = ""
    next_path: str = ""
    result: Mapping[str, Any] | None = None
    result_ref: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)
    streams: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None
    reason: str = ""
    handled: bool = False
    refused: tuple[str, ...] = ()
    seq: int = 0
    child: str = ""
    children: int = 0

    @property
    def terminal(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in NODE_TERMINAL

    def with_(self, **changes: Any) -> NodeRecord:
        """Returns a copy with some fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Parent:
    """Where a child run was begun.

    Attributes:
        run_id: The run that waits for it.
        node_id: The node there.
        ord: That node's ordinal.
        path: That node's path.
        depth: How many runs are around the child run.
    """

    run_id: str
    node_id: str
    ord: int
    path: str
    depth: int

    @property
    def key(self) -> NodeKey:
        """The node's address."""
        return NodeKey(self.ord, self.path)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What is stored of a run; times are epoch seconds, 0 when not reached."""

    run_id: str
    owner: str
    workflow_id: str
    version: int
    name: str
    status: str = "queued"
    session_id: str | None = None
    incarnation: int = 1
    execution_arn: str = ""
    created_at: float = 0.0
    started_at: float = 0.0
    ended_at: float = 0.0
    error: Mapping[str, Any] | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)
    request_hash: str = ""
    parent: Parent | None = None

    @property
    def depth(self) -> int:
        """How many runs are around it."""
        return self.parent.depth if self.parent else 0

    @property
    def closed(self) -> bool:
        """Whether the run has ended."""
        return self.status in RUN_CLOSED

    @property
    def plan_ref(self) -> str:
        """Which plan the run is pinned to: `<workflow_id>/<version>`."""
        return f"{self.workflow_id}/{self.version}"


@dataclass(frozen=True, slots=True)
class Control:
    """The small item that running nodes read once a second.

    Attributes:
        head: Highest seq drawn.
        cancel: Whether the run is to stop.
        subs: Grows whenever the subscribers change.
    """

    head: int = 0
    cancel: bool = False
    subs: int = 0


# -- addresses -------------------------------------------------------------------------------


def path_of(parts: tuple[int | str, ...]) -> str:
    """Returns the path of loop rounds and item indexes."""
    return ".".join(str(part) for part in parts)


def common_depth(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """Returns how many loops two scopes share, from the outermost inwards."""
    depth = 0
    while depth < min(len(a), len(b)) and a[depth] == b[depth]:
        depth += 1
    return depth


@dataclass(frozen=True, slots=True)
class Address:
    """Where to find another node's record: exactly at a key, or the last under a prefix."""

    key: NodeKey
    last: bool = False


def address_of(reader: PlanNode, path: str, target: PlanNode) -> Address:
    """Returns where a node at `path` finds the record of another.

    Names resolve from the innermost loop outwards: within the loops that both
    share, it is the same round; a loop that only the target is in is seen from
    outside, which is its last round.
    """
    depth = common_depth(reader.scope, target.scope)
    shared = path_of(tuple(path.split(".")[:depth])) if depth else ""
    return Address(NodeKey(target.ord, shared), last=len(target.scope) > depth)


def previous_round(path: str) -> str | None:
    """Returns the path of the round before, or None in the first."""
    *outer, last = path.split(".")
    return path_of((*outer, int(last) - 1)) if int(last) > 1 else None


def next_round(path: str) -> str:
    """Returns the path of the round after."""
    *outer, last = path.split(".")
    return path_of((*outer, int(last) + 1))


def addresses_for(plan: Plan, node: PlanNode, path: str) -> dict[str, Address]:
    """Returns where everything that running a node needs is stored, by a local name.

    Names are `node` for a record of this round and `previous:node` for the round before.
    """
    wanted: dict[str, Address] = {}
    for name in dict.fromkeys([*node.reads, *(link.source for link in node.incoming)]):
        if name in plan.by_id:
            wanted[name] = address_of(node, path, plan.by_id[name])
    before = previous_round(path) if node.scope else None
    if before is not None:
        for name in node.previous:
            wanted[f"previous:{name}"] = address_of(node, before, plan.by_id[name])
    return wanted
