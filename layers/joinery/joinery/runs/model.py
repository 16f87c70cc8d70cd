"""Runs and node records as the store keeps them, and the addresses of nodes in a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from joinery.compiler.plan import Plan, PlanNode
from joinery.errors import RunCancelled, RunSuspended

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
        items: For an iterate node that ended well, how many items it has, else None.
        handled: Whether a failure was dealt with as `on_error` says, so that the run goes on.
        contained: Whether a failure was left to the node's container: no edge was taken.
        refused: Nodes that the edges at its port do not lead to, since their `when` is false.
        seq: Place in the log of the first event that its end stored; set by the store.
        child: The run that a `workflow` node has begun last.
        children: How many child runs of it have ended and were followed by another.
        wait: What a node asks of somebody outside: `{kind, prompt, …, expires_at}`, and once that
            is there its `answer`: `{at, by}`; see `questions`.
        base: Attempts that do not count any more, since the run was resumed after them.
        metered: The last attempt whose cost is in `usage`.
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
    items: int | None = None
    handled: bool = False
    contained: bool = False
    refused: tuple[str, ...] = ()
    seq: int = 0
    child: str = ""
    children: int = 0
    base: int = 0
    wait: Mapping[str, Any] | None = None
    metered: int = 0

    @property
    def tries(self) -> int:
        """Attempts that were begun since the run was started or last resumed."""
        return self.attempt - self.base

    @property
    def terminal(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in NODE_TERMINAL

    def with_(self, **changes: Any) -> NodeRecord:
        """Returns a copy with some fields changed."""
        # Seven copies a node: `replace` runs `__init__` and takes three times as long.
        copy = object.__new__(NodeRecord)
        for slot in _SLOTS.values():
            slot.__set__(copy, slot.__get__(self))
        for name, value in changes.items():
            _SLOTS[name].__set__(copy, value)
        return copy


_SLOTS: Final[Mapping[str, Any]] = {
    slot.name: getattr(NodeRecord, slot.name) for slot in fields(NodeRecord)
}


def reset(record: NodeRecord) -> NodeRecord:
    """Returns a record that may be claimed again; numbers of attempts go on, what it cost stays."""
    return NodeRecord(
        record.key,
        record.node_id,
        attempt=record.attempt,
        base=record.attempt,
        usage=record.usage,
        metered=record.metered,
        # What its child run came to was the last attempt's.
        children=record.children + bool(record.child),
    )


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
    forked_from: str = ""
    resumed_at: float = 0.0
    asked: bool = False
    """Whether a node of it has ever waited for a person."""

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
        pause: Whether no further node is to start for now.
        inputs: How many messages its agents were sent so far.
        ended: The status with which it has ended; empty while it is open.
    """

    head: int = 0
    cancel: bool = False
    subs: int = 0
    pause: bool = False
    inputs: int = 0
    ended: str = ""

    @property
    def stopped(self) -> bool:
        """Whether what still runs is to stop: nobody needs it any more."""
        return self.cancel or self.ended not in ("", "completed")

    def check(self, *, last: bool = False) -> None:
        """Refuses that a node begins, or after the `last` event of the run says more.

        What is asked for again after the run has completed finds what is stored.

        Raises:
            RunCancelled: The run was cancelled, or has ended.
            RunSuspended: It is paused.
        """
        if self.cancel:
            raise RunCancelled("the run was cancelled")
        if self.stopped or (last and self.ended):
            raise RunCancelled(f"the run has ended: {self.ended}")
        if self.pause:
            raise RunSuspended("the run is paused")


@dataclass(frozen=True, slots=True)
class LiveInput:
    """A message to the agents of a run while they work.

    Attributes:
        input_id: Its id, which follows from the run and the request that brought it.
        value: What it says.
        at: Epoch seconds of its arrival.
        seq: Place in the log of the event that told of it.
        digest: Hash of what was asked for, to tell a repeated request from another one.
        node_id: The agent that it is for; empty for the first that takes it.
        path: Its loop rounds and item indexes; None for any.
        taken: By whom and when it was taken: `ord#path#turn`; empty before.
    """

    input_id: str
    value: str
    at: float
    seq: int = 0
    digest: str = ""
    node_id: str = ""
    path: str | None = None
    taken: str = ""


def taken_by(key: NodeKey, turn: int) -> str:
    """Returns how a message says who has taken it, and at which turn."""
    return f"{key.ord}#{key.path}#{turn}"


# -- addresses -------------------------------------------------------------------------------


def path_of(parts: tuple[int | str, ...]) -> str:
    """Returns the path of loop rounds and item indexes."""
    return ".".join(str(part) for part in parts)


def common_depth(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """Returns how many loops and items two scopes share, from the outermost inwards."""
    depth = 0
    while depth < min(len(a), len(b)) and a[depth] == b[depth]:
        depth += 1
    return depth


@dataclass(frozen=True, slots=True)
class Address:
    """Where to find another node's record.

    Exactly at a key; with `last` the last one under it; with `every` all of them under
    it, which are then found each at its own exact address.
    """

    key: NodeKey
    last: bool = False
    every: bool = False


def address_of(reader: PlanNode, path: str, target: PlanNode) -> Address:
    """Returns where a node at `path` finds the record of another.

    Names resolve from the innermost loop or item outwards: within those that both
    share, it is the same round and item; a loop that only the target is in is seen from
    outside, which is its last round; of items that only the target is in, all are seen.
    """
    depth = common_depth(reader.scope, target.scope)
    shared = path_of(tuple(path.split(".")[:depth])) if depth else ""
    key = NodeKey(target.ord, shared)
    if any(name in target.iterates for name in target.scope[depth:]):
        return Address(key, every=True)
    return Address(key, last=len(target.scope) > depth)


def previous_round(path: str) -> str | None:
    """Returns the path of the round before, or None in the first."""
    *outer, last = path.split(".")
    return path_of((*outer, int(last) - 1)) if int(last) > 1 else None


def next_round(path: str) -> str:
    """Returns the path of the round after."""
    *outer, last = path.split(".")
    return path_of((*outer, int(last) + 1))


def begins_round(plan: Plan, node: PlanNode, path: str) -> bool:
    """Whether a node is where a second or later round begins: the edge back was taken to it."""
    parts = path.split(".")
    for depth in reversed(range(len(node.scope))):
        loop = plan.loop_of.get(node.scope[depth])
        if loop is None or parts[depth] != "1":
            return loop is not None and node.id in loop.entries
    return False


def item_paths(record: NodeRecord) -> list[str]:
    """Returns the paths of an iterate node's items; none where it did not end well."""
    prefix = f"{record.key.path}." if record.key.path else ""
    return [f"{prefix}{index}" for index in range(record.items or 0)]


def loop_depth(node: PlanNode) -> int:
    """Returns how many of a node's scopes there are up to its innermost loop; 0 without one."""
    depth = len(node.scope)
    while depth and node.scope[depth - 1] in node.iterates:
        depth -= 1
    return depth


def round_before(node: PlanNode, path: str) -> tuple[PlanNode, str] | None:
    """Returns who reads the round before of a node's innermost loop, and at which path.

    That is a node right inside the loop: another round has other items. None in the first
    round, and for a node in no loop.
    """
    depth = loop_depth(node)
    before = previous_round(path_of(tuple(path.split(".")[:depth]))) if depth else None
    if before is None:
        return None
    return replace(node, scope=node.scope[:depth]), before


def addresses_for(plan: Plan, node: PlanNode, path: str) -> dict[str, Address]:
    """Returns where everything that running a node needs is stored, by a local name.

    Names are `node` for a record of this round and `previous:node` for the round before.
    Where all items of a node are read, `items:iterate` stands for the records that tell how
    many there are.
    """
    wanted: dict[str, Address] = {}
    for name in dict.fromkeys([*node.reads, *(link.source for link in node.incoming)]):
        if name in plan.by_id:
            wanted.update(_needed(plan, node, path, name))
    before = round_before(node, path)
    if before is not None:
        for name in node.previous:
            needed = _needed(plan, *before, name)
            wanted.update({f"previous:{one}": address for one, address in needed.items()})
    return wanted


def _needed(plan: Plan, reader: PlanNode, path: str, name: str) -> dict[str, Address]:
    target = plan.by_id[name]
    address = address_of(reader, path, target)
    needed = {name: address}
    if address.every:
        for each in target.iterates:
            if each not in reader.scope:
                under = NodeKey(plan.by_id[each].ord, address.key.path)
                needed[f"items:{each}"] = Address(under, every=True)
    return needed
