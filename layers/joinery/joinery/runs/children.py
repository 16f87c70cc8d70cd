"""Child runs as the node that runs them sees it: begun once, found again after a crash.

A `workflow` node is `waiting` from before its child run exists until somebody ends the
node: whoever closes the child run, or the node's own invocation where it finds the child
closed. First the token is stored, then the child is looked at, so one of the two always
sees the other. `child_end` has the other half.
"""

from __future__ import annotations

import logging
from typing import Any

from joinery import limits
from joinery.compiler.plan import Plan
from joinery.errors import (
    InvalidRequest,
    JoineryError,
    NodeError,
    NotFound,
    PermanentChildDepth,
    PermanentChildInput,
    PermanentInternal,
    PermanentTimeout,
    RunCancelled,
    RunSuspended,
    TransientChildFailed,
    TransientClaimed,
)
from joinery.runs.child_end import abandon, cancel_run_tree, settle
from joinery.runs.ids import child_run_id
from joinery.runs.inputs import check_inputs
from joinery.runs.invocation import Invocation
from joinery.runs.lists import seen_records
from joinery.runs.model import Address, NodeRecord, Parent, RunRecord
from joinery.runs.outcome import fail, record_outcome
from joinery.runs.ports import ChildRuns, ClaimLost
from joinery.runs.quorum import visible
from joinery.runs.scope import build_scope
from joinery.runs.terms import for_child
from joinery.runs.waits import raise_failed, register
from joinery.runs.watch import Watch
from joinery.workflow.expressions import compile_value

log = logging.getLogger(__name__)


def begin(inv: Invocation, record: NodeRecord) -> NodeRecord:
    """Begins the child run of a node that was claimed.

    Returns:
        The node's record: `waiting`, or how it has ended.

    Raises:
        NodeError: The node failed, or is to be tried again.
    """
    try:
        plan, given = _prepared(inv)
    except NodeError as error:
        return _failed(inv, record, error)
    child = child_run_id(inv.run_id, record.key.ord, record.key.path, record.children)
    waiting = record.with_(status="waiting", child=child, claim_until=0.0, holder="")
    # An invocation that overtook a slow one finds the child begun already.
    events = [] if record.child == child else [inv.event("child.started", _told(inv, child))]
    try:
        stored = inv.deps.store.release(inv.run_id, waiting, events)
    except ClaimLost:
        raise TransientClaimed(f"another invocation took over node '{inv.node.id}'") from None
    _create(inv, waiting, plan, given)
    inv.publish(stored)
    return _follow(inv, waiting)


def attach(inv: Invocation, record: NodeRecord) -> NodeRecord:
    """Goes on with a node that waits already: a Task that was retried has a new token.

    Raises:
        NodeError: The node failed, or is to be tried again.
    """
    if inv.deps.clock() >= record.started_at + inv.node.timeout_s:
        return _expired(inv, record)
    try:
        plan, given = _prepared(inv)
    except NodeError as error:
        return _failed(inv, record, error)
    _create(inv, record, plan, given)
    return _follow(inv, record)


def _ports(inv: Invocation) -> ChildRuns:
    if inv.deps.children is None:
        raise PermanentInternal("no child runs can be started here")
    return inv.deps.children


def _prepared(inv: Invocation) -> tuple[Plan, dict[str, Any]]:
    """Returns the child's plan and its inputs, checked as the child itself checks them."""
    spec = inv.node.spec
    if inv.run.depth >= limits.CHILD_DEPTH_MAX:
        raise PermanentChildDepth(
            f"'{spec['workflow']}' would be run {inv.run.depth + 1} runs deep; "
            f"the limit is {limits.CHILD_DEPTH_MAX}"
        )
    try:
        plan = _ports(inv).plan(f"{spec['workflow_id']}/{spec['version']}")
    except NotFound:
        raise PermanentInternal(f"there is no workflow '{spec['workflow']}' any more") from None
    records = visible(inv, seen_records(inv.plan, inv.node, inv.path, inv.loaded))
    scope = build_scope(inv.deps.store, inv.run, inv.node, inv.path, records)
    given = {name: compile_value(value).value(scope) for name, value in spec["inputs"].items()}
    try:
        return plan, check_inputs(plan.inputs, given)
    except InvalidRequest as error:
        message = f"the workflow '{spec['workflow']}' does not take this: {error.message}"
        raise PermanentChildInput(message, **error.details) from None


def _told(inv: Invocation, child: str) -> dict[str, Any]:
    spec = inv.node.spec
    return {
        "child_run_id": child,
        "workflow": {
            "workflow_id": spec["workflow_id"],
            "version": spec["version"],
            "name": spec["workflow"],
        },
        "depth": inv.run.depth + 1,
    }


def _create(inv: Invocation, record: NodeRecord, plan: Plan, given: dict[str, Any]) -> None:
    """Makes the child run, unless it is there, and cancels it if the parent has ended."""
    from joinery.runs.start import create_run

    deps, run, spec = inv.deps, inv.run, inv.node.spec
    child, _ = create_run(
        deps,
        plan,
        owner=run.owner,
        workflow_id=spec["workflow_id"],
        version=spec["version"],
        given=given,
        session_id=run.session_id,
        extra=for_child(inv.plan, run, deps.store.extra(run.run_id)),
        run_id=record.child,
        parent=Parent(run.run_id, inv.node.id, record.key.ord, record.key.path, run.depth + 1),
    )
    # Whoever closed the parent, or needs the node no more, looked for children perhaps
    # before this one was there.
    own = Address(record.key)
    now = deps.store.load(run.run_id, [own]).records.get(own)
    ended = deps.store.get_run(run.run_id).closed
    if ended or (now is not None and now.status == "cancelled"):
        cancel_run_tree(deps, child)
    if ended:
        raise RunCancelled("the run has ended")


def _follow(inv: Invocation, record: NodeRecord) -> NodeRecord:
    """Stores the token, starts the child run, and ends the node if the child has ended."""
    store, ports = inv.deps.store, _ports(inv)
    register(inv, record)
    child = store.get_run(record.child)
    # One that was paused or resumed is its owner's to start again.
    begun = child.execution_arn or child.status in ("paused", "suspended") or child.incarnation > 1
    if not begun and not child.closed:
        left = record.started_at + inv.node.timeout_s - inv.deps.clock()
        start_child(inv, ports, child, max(left, 0.0))
        child = store.get_run(record.child)
    if child.status in ("paused", "suspended") and inv.waker is None:
        raise RunSuspended(f"the child run {child.run_id} is {child.status}")
    if not child.closed:
        return record
    settle(inv.deps, child)
    return _ended(inv, record)


def start_child(inv: Invocation, ports: ChildRuns, child: RunRecord, within_s: float) -> None:
    """Starts a child run; one that cannot be started is closed as failed."""
    from joinery.runs.end import close_failed

    try:
        ports.start(inv.deps, child, within_s=within_s)
    except JoineryError as error:
        log.error("child run %s was not started", child.run_id, exc_info=error)
        # An answer that was lost may hide an execution: the flag stops it at its first node.
        inv.deps.store.request_cancel(child.run_id)
        shown = {"code": "not_started", "message": "it could not be started", "retryable": True}
        close_failed(inv.deps, child, shown)


def _ended(inv: Invocation, record: NodeRecord) -> NodeRecord:
    """Returns the record of a node whose child run has ended, or raises what it came to."""
    own = Address(record.key)
    found = inv.deps.store.load(inv.run_id, [own])
    now = found.records[own]
    inv.loaded[own] = now
    if now.terminal:
        raise_failed(now)
        return now
    if now.status == "waiting":
        raise RunCancelled("the run has ended")
    shown = dict(now.error or {})
    raise TransientChildFailed(str(shown.get("message", "the child run failed")), cause=shown)


def _failed(inv: Invocation, record: NodeRecord, error: NodeError) -> NodeRecord:
    watch = Watch(inv.deps, inv.run_id, record, inv.control)
    return record_outcome(inv, record, error, {}, watch)


def _expired(inv: Invocation, record: NodeRecord) -> NodeRecord:
    """Ends a node whose time is over, and its child run; a child that has ended counts."""
    try:
        child: RunRecord | None = inv.deps.store.get_run(record.child)
    except NotFound:
        child = None
    if child is not None and child.closed:
        return _follow(inv, record)
    error = PermanentTimeout(
        f"the child run {record.child} did not end within {inv.node.timeout_s:g} s"
    )
    try:
        return fail(inv, record, error, {})
    finally:
        abandon(inv.deps, record)
