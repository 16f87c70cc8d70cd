"""What a join that does not wait for all does to the nodes before it, and to itself.

An end of a node that decides edges into such a join and what it does to the join are
one transaction, so the winners are known the moment the last of them is stored. From
then on the nodes of the join's region are losers: none begins, what runs is stopped,
and whatever they still write fails.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from joinery.compiler.plan import WAITING_TYPES, Plan, PlanNode, join_of
from joinery.errors import PermanentInternal, PermanentQuorumNotReached, quorum_decided
from joinery.events.make import Event, with_nodes
from joinery.runs.child_end import abandon
from joinery.runs.deps import Deps
from joinery.runs.invocation import Invocation
from joinery.runs.joins import EMPTY, MISSED, JoinState, advance
from joinery.runs.lists import Seen
from joinery.runs.model import Address, NodeKey, NodeRecord, RunRecord, address_of
from joinery.runs.ports import AlreadyTerminal
from joinery.runs.races import Ended, current_paths, races_of
from joinery.runs.waits import wake_cancelled
from joinery.workflow.graph import START, Link

VOTE_TRIES: Final = 60
"""Each conflict means that another parent's end was stored, so more than any join needs."""

_PAUSE_S: Final = 0.4


def tries() -> Iterator[None]:
    """Yields for each try to store an end; waits before all but the first."""
    yield
    for attempt in range(VOTE_TRIES):
        # Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        time.sleep(random.uniform(0, min(_PAUSE_S, 0.005 * 2**attempt)))
        yield


# -- what is read ------------------------------------------------------------------------


def keys_of(inv: Invocation) -> list[NodeKey]:
    """Returns where the joins are that decide over the node, and its own if it is one."""
    races = races_of(inv.plan)
    if not races.joins:
        return []
    joins = [*races.around.get(inv.node.id, ())]
    if inv.node.join:
        joins.append(inv.node)
    return [races.key(join, inv.path) for join in joins]


def over_by(inv: Invocation) -> str:
    """Returns the outermost join that is decided and stops the node, or an empty text."""
    return decided_join(inv.plan, inv.node, inv.path, inv.joins)


def decided_join(plan: Plan, node: PlanNode, path: str, states: Mapping[NodeKey, JoinState]) -> str:
    """Returns the outermost decided join among those that decide over a node."""
    races = races_of(plan)
    for join in reversed(races.around.get(node.id, ())):
        if races.state(join, races.key(join, path), states).over:
            return join.id
    return ""


def raise_decided(deps: Deps, plan: Plan, run: RunRecord, path: str, caught: Iterable[str]) -> None:
    """Raises what ends the state around the node, once a join that it names is decided.

    It asks the store, so that a Task which is repeated, or was too late, raises it too.

    Args:
        deps: Ports.
        plan: The plan.
        run: The run.
        path: The path of the node that the Task has run.
        caught: The joins whose error the machine catches there.

    Raises:
        QuorumDecided: Under the name that the machine catches.
    """
    races = races_of(plan)
    joins = sorted((plan.by_id[name] for name in caught), key=lambda join: join.ord)
    if not joins:
        return
    keys = {join.id: races.key(join, path) for join in joins}
    states = deps.store.load(run.run_id, [], joins=keys.values()).joins
    for join in reversed(joins):
        if races.state(join, keys[join.id], states).over:
            raise quorum_decided(join.id)


# -- the end of a node -------------------------------------------------------------------


def refresh(inv: Invocation) -> None:
    """Reads anew what is known of the joins that decide over the node."""
    inv.joins.clear()
    keys = keys_of(inv)
    if keys:
        inv.joins.update(inv.deps.store.load(inv.run_id, [], joins=keys).joins)


def blamed(inv: Invocation, record: NodeRecord | None, join: PlanNode, path: str) -> bool:
    """Whether a failure was left to a join; `record` is the end that is being stored."""
    races = races_of(inv.plan)
    key = races.key(join, path)
    own = record is not None and record.contained and inv.node.contained == join.id
    if own and races.key(join, inv.path) == key:
        return True
    return bool(_state(inv, join, key).failed)


def _state(inv: Invocation, join: PlanNode, key: NodeKey) -> JoinState:
    if key not in inv.joins:
        inv.joins.update(inv.deps.store.load(inv.run_id, [], joins=[key]).joins)
    return races_of(inv.plan).state(join, key, inv.joins)


def votes(
    inv: Invocation, record: NodeRecord | None, dead: Iterable[tuple[PlanNode, str]]
) -> list[JoinState]:
    """Returns the joins that an end changes, with the changes.

    Args:
        inv: The invocation.
        record: How the node ended; None when it is skipped.
        dead: What is skipped because of it.
    """
    races = races_of(inv.plan)
    if not races.joins:
        return []
    skipped = list(dead)
    ended: list[Ended] = [(inv.node, inv.path, record), *((n, p, None) for n, p in skipped)]
    found = races.decided(ended, inv.find)
    blame: dict[NodeKey, tuple[str, str]] = {}
    container = join_of(inv.plan, inv.node)
    if record is not None and record.contained and container is not None:
        key = races.key(container, inv.path)
        blame[key] = (inv.node.id, inv.path)
        found.setdefault(key, (container, [], []))
    gone = {(node.id, path) for node, path in skipped}
    changed = []
    for key, (join, taken, lost) in found.items():
        before = _state(inv, join, key)
        failed = [blame[key]] if key in blame else []
        after = advance(
            before, join.join, len(join.incoming), taken=taken, dead=lost, failed=failed
        )
        # A join that dies whole in this transaction is skipped by it: nobody asks for its state.
        whole = (join.id, key.path) in gone and not before.version
        if after != before and not whole:
            changed.append(after)
    return changed


# -- losers ------------------------------------------------------------------------------


def cancelled_event(inv: Invocation, join_id: str, records: Iterable[NodeRecord] = ()) -> Event:
    """Returns the event that tells which nodes a join has no need of."""
    return with_nodes(inv.event("nodes.cancelled", {"join": join_id}), records)


def stand_down(inv: Invocation, join_id: str) -> NodeRecord:
    """Records a node as cancelled that has not begun, and returns its record."""
    record = NodeRecord(inv.key, inv.node.id, "cancelled", ended_at=inv.deps.clock())
    event = cancelled_event(inv, join_id)
    inv.publish(inv.deps.store.cancel_nodes(inv.run_id, [record], event))
    return record


def lose(
    inv: Invocation, record: NodeRecord, join_id: str, summary: Mapping[str, Any]
) -> NodeRecord:
    """Records a node as cancelled that was being run, with what it has used.

    Raises:
        ClaimLost: Another attempt has begun since.
    """
    ended = _cancelled(inv, record, summary)
    events = [*_used(inv, record), cancelled_event(inv, join_id, [ended])]
    try:
        inv.publish(inv.deps.store.finish(inv.run_id, ended, events))
    except AlreadyTerminal as other:
        return was_cancelled(inv, record, other.record)
    return ended


def was_cancelled(inv: Invocation, record: NodeRecord, stored: NodeRecord) -> NodeRecord:
    """Adds what an attempt has used to its node, which the join has cancelled meanwhile."""
    if stored.status == "cancelled" and (record.usage or record.streams):
        ended = _cancelled(inv, record, record.streams)
        inv.publish(inv.deps.store.settle(inv.run_id, ended, _used(inv, record)))
    return stored


def _cancelled(inv: Invocation, record: NodeRecord, summary: Mapping[str, Any]) -> NodeRecord:
    return NodeRecord(
        record.key,
        record.node_id,
        "cancelled",
        attempt=record.attempt,
        started_at=record.started_at,
        ended_at=inv.deps.clock(),
        usage=record.usage,
        streams=dict(summary),
        child=record.child,
        children=record.children,
    )


def _used(inv: Invocation, record: NodeRecord) -> list[Event]:
    if not record.usage.get("model_calls"):
        return []
    return [inv.event("usage.recorded", record.usage)]


# -- the join itself ---------------------------------------------------------------------


def open_join(inv: Invocation) -> str:
    """Returns how the join was decided, when nothing before it runs or begins any more.

    Raises:
        PermanentInternal: It is not decided.
    """
    races = races_of(inv.plan)
    state = races.state(inv.node, races.key(inv.node, inv.path), inv.joins)
    if not state.outcome:
        raise PermanentInternal(f"node '{inv.node.id}' was started before its join was decided")
    if state.outcome != EMPTY:
        _cancel_losers(inv)
    return state.outcome


def _cancel_losers(inv: Invocation) -> None:
    races = races_of(inv.plan)
    region = races.region[inv.node.id]
    if not region:
        return
    depth = races.depth(inv.node)
    outer = ".".join(inv.path.split(".")[:depth]) if depth else ""
    wanted = {
        node.id: Address(NodeKey(node.ord, outer), last=len(node.scope) > depth) for node in region
    }
    records = inv.deps.store.load(inv.run_id, wanted.values()).records
    places = current_paths(region, outer, depth, lambda node: records.get(wanted[node.id]))
    now = inv.deps.clock()
    losers = []
    for node, path in places:
        held = records.get(wanted[node.id])
        if held is not None and held.key.path == path and held.terminal:
            continue
        key = NodeKey(node.ord, path)
        losers.append(NodeRecord(key, node.id, "cancelled", ended_at=now))
    if losers:
        event = cancelled_event(inv, inv.node.id)
        inv.publish(inv.deps.store.cancel_nodes(inv.run_id, losers, event))
    _stop_waiting(inv, [NodeKey(node.ord, path) for node, path in places if _waits(node)])


def _waits(node: PlanNode) -> bool:
    return node.type in WAITING_TYPES


def _stop_waiting(inv: Invocation, keys: Iterable[NodeKey]) -> None:
    """Cancels what cancelled nodes waited for, and wakes their Tasks if they are still there."""
    wanted = [Address(key) for key in keys]
    for record in inv.deps.store.load(inv.run_id, wanted).records.values() if wanted else ():
        if record.status != "cancelled":
            continue
        if record.child:
            abandon(inv.deps, record)
        elif record.wait:
            wake_cancelled(inv.deps, inv.run, record)


def visible(inv: Invocation, records: Mapping[str, Seen]) -> dict[str, Seen]:
    """Returns what a join sees of other nodes: of its parents, the winners' results alone.

    What another parent does later changes nothing, so a repeated attempt sees the same.
    """
    shown = dict(records)
    if not inv.node.join:
        return shown
    races = races_of(inv.plan)
    state = races.state(inv.node, races.key(inv.node, inv.path), inv.joins)
    won = {inv.node.incoming[place].source for place in state.winners}
    stable = {node.id for node in races.region[inv.node.id]}
    for name in inv.node.hides:
        record = shown.get(name)
        if name in won or isinstance(record, list):
            continue
        if record is None:
            # One that had begun a moment ago would be shown so too.
            key = NodeKey(inv.plan.by_id[name].ord, inv.path)
            shown[name] = NodeRecord(key, name, "cancelled")
            continue
        ended = name in stable and record.status in ("failed", "skipped")
        kept = record.with_(result=None, result_ref="", usage={}, error=None)
        if ended and record.error is not None:
            kept = kept.with_(result={"error": record.error})
        shown[name] = kept if ended else kept.with_(status="cancelled")
    return shown


def not_reached(inv: Invocation) -> PermanentQuorumNotReached | None:
    """Returns why the join cannot run, None when it can."""
    races = races_of(inv.plan)
    if not inv.node.join or races.key(inv.node, inv.path).path != inv.path:
        return None  # a later round of a loop that begins with it is begun by the edge back
    state = races.state(inv.node, races.key(inv.node, inv.path), inv.joins)
    if state.outcome != MISSED:
        return None
    lost = [inv.node.incoming[place] for place in sorted(state.dead)]
    rows = [_why(inv, link) for link in lost]
    parents = {row["node_id"] for row in rows}
    rows += [_blame(inv, *place) for place in state.failed if place[0] not in parents]
    edges, came = len(inv.node.incoming), len(state.taken)
    told = "; ".join(_told(row) for row in rows)
    return PermanentQuorumNotReached(
        f"join '{inv.node.id}' needs {inv.node.join} of {edges} edges and got {came}: {told}",
        needed=inv.node.join,
        edges=edges,
        taken=[inv.node.incoming[place].source for place in sorted(state.taken)],
        lost=rows,
    )


def _why(inv: Invocation, link: Link) -> dict[str, Any]:
    if link.source == START:
        return {"node_id": START, "status": "completed"}
    source = inv.plan.by_id[link.source]
    record = inv.find(address_of(inv.node, inv.path, source))
    row: dict[str, Any] = {"node_id": link.source, "status": record.status if record else "pending"}
    if record is not None and record.error is not None:
        row["error"] = dict(record.error)
    return row


def _blame(inv: Invocation, node_id: str, path: str) -> dict[str, Any]:
    record = inv.find(Address(NodeKey(inv.plan.by_id[node_id].ord, path)))
    row: dict[str, Any] = {"node_id": node_id, "status": "failed"}
    if path:
        row["path"] = path
    if record is not None and record.error is not None:
        row["error"] = dict(record.error)
    return row


def _told(row: Mapping[str, Any]) -> str:
    match row["status"]:
        case "failed":
            return f"'{row['node_id']}' failed ({row.get('error', {}).get('message', '?')})"
        case "completed":
            return f"'{row['node_id']}' went another way"
    return f"'{row['node_id']}' was {row['status']}"
