"""The end of child runs: whoever closes one ends the node that waits for it, and wakes it.

Everything here may be done again, by a repeated Task or a repeated status event, after
whoever did it first has died in the middle.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from joinery.errors import (
    Conflict,
    JoineryError,
    NodeError,
    NotFound,
    Permanent,
    PermanentChildFailed,
    PermanentTimeout,
    RunCancelled,
    TransientChildFailed,
    TransientClaimed,
)
from joinery.nodes.base import NodeResult
from joinery.runs.invocation import Invocation
from joinery.runs.model import Address, NodeRecord, RunRecord
from joinery.runs.ports import ClaimLost
from joinery.runs.usage import added
from joinery.runs.waits import reach, wake, wake_forgotten

if TYPE_CHECKING:
    from joinery.runs.deps import Deps

log = logging.getLogger(__name__)


def after_close(
    deps: Deps, run: RunRecord, records: Sequence[NodeRecord], *, tools: bool = True
) -> None:
    """Does what follows from a run's end for the runs below and above it.

    Args:
        deps: Ports.
        run: The run, closed now or before.
        records: Its node records.
        tools: Whether its tools may have begun runs.
    """
    if deps.children is None:
        return
    for record in records:
        if record.child and record.status != "completed":
            abandon(deps, record)
    for below in deps.store.below(run.run_id) if tools else ():
        _end_below(deps, below)
        deps.store.drop_below(run.run_id, below)
    if run.parent and deps.children.settles:
        settle(deps, deps.store.get_run(run.run_id))


# -- downwards ---------------------------------------------------------------------------


def abandon(deps: Deps, record: NodeRecord) -> None:
    """Cancels the child run of a node that waits for it no more; one that has ended is left."""
    _end_below(deps, record.child)


def _end_below(deps: Deps, run_id: str) -> None:
    try:
        child = deps.store.get_run(run_id)
    except NotFound:
        return  # whoever is about to make it looks at the parent afterwards
    if not child.closed:
        cancel_run_tree(deps, child)


def cancel_run_tree(deps: Deps, run: RunRecord, cause: str = "the run around it has ended") -> None:
    """Cancels a run with everything below it, and stops what runs it."""
    from joinery.runs.start import cancel_run

    try:
        cancel_run(deps, run)
    except Conflict:
        return  # it has just ended by itself
    if deps.children:
        try:
            deps.children.stop(deps.store.get_run(run.run_id), cause)
        except JoineryError as error:
            # The run is closed: its nodes stop by themselves.
            log.error("execution of run %s was not stopped", run.run_id, exc_info=error)


def was_stopped(deps: Deps, record: NodeRecord) -> bool:
    """Whether a node of a run that has ended waits for what will not come any more.

    That is a child run that will give nothing, or an answer whose time is over.
    """
    if record.status != "waiting":
        return False
    if record.wait is not None:
        return deps.clock() >= float(record.wait["expires_at"])
    abandon(deps, record)
    try:
        return deps.store.get_run(record.child).status != "completed"
    except NotFound:
        return False  # it was never made, and is when the node runs again


def catch_up(deps: Deps, run: RunRecord) -> float:
    """Does what somebody died before, and what nobody was there to do in time.

    Nodes end whose child runs have ended, or whose questions nobody has answered in time;
    and Tasks are woken that were not.

    Returns:
        Epoch seconds at which the next question of the run expires; infinity without one.
    """
    expires_at = math.inf
    if deps.waits is None:
        return expires_at
    for record in deps.store.nodes(run.run_id):
        if record.status != "waiting":
            continue
        if record.wait is not None:
            from joinery.runs.questions import end_expired

            expires_at = min(expires_at, end_expired(deps, deps.waits, run, record))
            continue
        try:
            child = deps.store.get_run(record.child)
        except NotFound:
            continue
        if child.closed:
            settle(deps, child)
    wake_forgotten(deps, deps.waits, run)
    return expires_at


# -- upwards -----------------------------------------------------------------------------


def settle(deps: Deps, child: RunRecord) -> None:
    """Ends the node that waits for a closed run, and wakes its Task; again does no harm."""
    parent = child.parent
    assert parent is not None
    assert deps.children is not None
    try:
        run = deps.store.get_run(parent.run_id)
    except NotFound:
        return  # it was deleted
    if run.closed:
        return
    inv = reach(deps, deps.children, run, parent.key)
    record = inv.loaded.get(Address(parent.key))
    if record is None or record.child != child.run_id or inv.control.cancel:
        return
    try:
        failure = _end_node(inv, record, child) if record.status == "waiting" else None
    except (RunCancelled, TransientClaimed):
        return  # somebody else has the node now
    wake(inv, deps.children, failure)


def _end_node(inv: Invocation, record: NodeRecord, child: RunRecord) -> NodeError | None:
    """Ends a node by how its child run has ended; returns what its Task is to fail with."""
    from joinery.runs.outcome import record_outcome
    from joinery.runs.watch import Watch

    record = record.with_(usage=added(record.usage, child.usage))
    result: NodeResult | NodeError
    if child.status == "completed":
        result = NodeResult(_result(inv.deps.store.outputs(child.run_id) or {}))
    else:
        result = _failure(inv, record, child)
        if isinstance(result, TransientChildFailed):
            return _try_again(inv, record, result)
    watch = Watch(inv.deps, inv.run_id, record, inv.control)
    try:
        record_outcome(inv, record, result, {}, watch)
    except Permanent as error:
        own = Address(record.key)
        now = inv.deps.store.load(inv.run_id, [own]).records[own]
        if not now.terminal:
            raise  # the store refused: it is not the node that has failed
        return error
    return None


def _result(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `{output, text?}`: `text` when just one of the outputs is text."""
    texts = [value for value in outputs.values() if isinstance(value, str)]
    return {"output": dict(outputs), **({"text": texts[0]} if len(texts) == 1 else {})}


def _failure(inv: Invocation, record: NodeRecord, child: RunRecord) -> NodeError:
    """Returns the error that a child run's end amounts to for its node."""
    node = inv.node
    left = record.started_at + node.timeout_s - inv.deps.clock()
    if child.status == "cancelled" and left <= 0:
        return PermanentTimeout(
            f"the child run {child.run_id} did not end within {node.timeout_s:g} s"
        )
    cause = dict(child.error or {})
    said = f": {cause['message']}" if cause.get("message") else ""
    message = f"the child run {child.run_id} of '{child.name}' {_WORDS[child.status]}{said}"
    details: dict[str, Any] = {"child_run_id": child.run_id, "status": child.status}
    if cause:
        details["cause"] = cause
    # Another run may do what the first did before it failed, so that is asked for by name.
    named = {PermanentChildFailed.code, PermanentChildFailed.asl_name()}
    wanted = (
        cause.get("code") == "not_started"
        if node.retry_errors is None
        else bool(named & set(node.retry_errors))
    )
    wait = node.backoff_s * 2.0 ** (record.tries - 1)
    if wanted and record.tries < node.attempts and wait < left:
        return TransientChildFailed(message, **details)
    return PermanentChildFailed(message, **details)


_WORDS = {"failed": "failed", "cancelled": "was cancelled", "timed_out": "timed out"}


def _try_again(
    inv: Invocation, record: NodeRecord, failure: TransientChildFailed
) -> TransientChildFailed:
    shown = failure.to_dict()
    event = inv.event("node.retrying", {"attempt": record.attempt, "error": shown})
    again = record.with_(status="running", children=record.children + 1, error=shown)
    try:
        stored = inv.deps.store.release(inv.run_id, again, [event], was="waiting")
    except ClaimLost:
        raise TransientClaimed(f"somebody else has ended node '{inv.node.id}'") from None
    inv.publish(stored)
    return failure
