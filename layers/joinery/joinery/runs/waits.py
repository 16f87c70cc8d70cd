"""What all nodes that wait have in common: tokens, and whoever ends them waking their Tasks.

A waiting node's Task ends when its token is sent, by whoever ends the node. First the
token is stored, then the node is looked at again, and whoever ends the node reads the
token afterwards: so one of the two always sees the other. All of it may be done again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from joinery.errors import (
    NodeError,
    Permanent,
    PermanentAttemptsExhausted,
    PermanentChildFailed,
    PermanentTimeout,
    QuorumDecided,
    TransientChildFailed,
)
from joinery.input_errors import PermanentQuestionExpired
from joinery.runs.ids import child_run_id
from joinery.runs.invocation import Invocation
from joinery.runs.model import Address, NodeKey, NodeRecord, RunRecord, addresses_for
from joinery.runs.ports import TaskToken, Waits

if TYPE_CHECKING:
    from joinery.runs.deps import Deps


def register(inv: Invocation, record: NodeRecord) -> None:
    """Stores what wakes the Task of an invocation; look at the node again afterwards."""
    if inv.waker:
        waker = inv.waker
        token = TaskToken(record.key, waker.token, record.child, waker.begun_at, waker.caught)
        inv.deps.store.put_token(inv.run_id, token)


def reach(deps: Deps, waits: Waits, run: RunRecord, key: NodeKey) -> Invocation:
    """Returns what ends a node of an open run from outside, everything read anew."""
    from joinery.runs.quorum import keys_of

    plan = waits.plan(run.plan_ref)
    node = plan.by_ord[key.ord]
    inv = Invocation(deps, plan, run, node, key.path, math.inf, {})
    # What its edges' conditions read comes along.
    addresses = [Address(key), *addresses_for(plan, node, key.path).values()]
    read = deps.store.load(run.run_id, addresses, joins=keys_of(inv))
    inv.loaded.update(read.records)
    inv.joins.update(read.joins)
    inv.control, inv.head = read.control, read.control.head
    return inv


def wake(inv: Invocation, waits: Waits, failure: NodeError | None = None) -> None:
    """Sends how a node has ended to its Task; nothing where nobody waits with a token.

    Args:
        inv: The node.
        waits: Ends waits.
        failure: What its Task is to fail with, where that is known.
    """
    from joinery.runs.quorum import raise_decided

    store, own = inv.deps.store, Address(inv.key)
    record = store.load(inv.run_id, [own]).records[own]
    token = store.token(inv.run_id, inv.key)
    if token is None or token.awaited != record.child:
        return  # its invocation is about to look
    error = _to_fail_with(inv, record, failure)
    if record.terminal:
        try:
            raise_decided(inv.deps, inv.plan, inv.run, inv.path, token.caught)
        except QuorumDecided as decided:
            error = decided
    elif error is None:
        return
    if error is not None:
        shown = error.for_machine()
        waits.refuse(token.token, shown.asl_name(), shown.message)
    else:
        waits.answer(token.token, {"port": record.port, "path": record.next_path})
    store.drop_token(inv.run_id, token)


def _to_fail_with(
    inv: Invocation, record: NodeRecord, failure: NodeError | None
) -> NodeError | None:
    if record.status == "failed" and not record.handled:
        return failure or stored_failure(record)
    if record.status == "running" and record.error and _ended_before(inv, record):
        return failure or TransientChildFailed(str(record.error.get("message", "")))
    return None


def _ended_before(inv: Invocation, record: NodeRecord) -> bool:
    """Whether the child run that a record names has ended and is to be followed by another."""
    key = record.key
    return record.child != child_run_id(inv.run_id, key.ord, key.path, record.children)


def wake_cancelled(deps: Deps, run: RunRecord, record: NodeRecord) -> None:
    """Wakes the Task of a node that waited for a person, and that a join has no need of."""
    if deps.waits is not None:
        wake(reach(deps, deps.waits, run, record.key), deps.waits)


def wake_forgotten(deps: Deps, waits: Waits, run: RunRecord) -> None:
    """Wakes the Tasks of nodes that have ended, where whoever ended them died before that."""
    tokens = deps.store.tokens(run.run_id)
    if not tokens:
        return
    own = [Address(token.key) for token in tokens]
    records = deps.store.load(run.run_id, own).records
    for address in own:
        if address in records and records[address].terminal:
            wake(reach(deps, waits, run, address.key), waits)


# -- failures ----------------------------------------------------------------------------

_KINDS: Final = {
    kind.code: kind
    for kind in (
        PermanentAttemptsExhausted,
        PermanentChildFailed,
        PermanentQuestionExpired,
        PermanentTimeout,
    )
}


def stored_failure(record: NodeRecord) -> Permanent:
    """Returns the error that a node has failed with, as it was stored."""
    stored = dict(record.error or {})
    kind = _KINDS.get(str(stored.get("code")), Permanent)
    return kind(str(stored.get("message", "the node failed")), **dict(stored.get("details") or {}))


def raise_failed(record: NodeRecord) -> None:
    """Raises the error of a node that failed its run; anything else is fine."""
    if record.status == "failed" and not record.handled:
        raise stored_failure(record)
