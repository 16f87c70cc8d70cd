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
    QuorumDecided,
    RunCancelled,
    TransientChildFailed,
    TransientClaimed,
)
from joinery.nodes.base import NodeResult
from joinery.runs.invocation import Invocation
from joinery.runs.model import Address, NodeRecord, RunRecord, addresses_for
from joinery.runs.ports import ChildRuns, ClaimLost
from joinery.runs.usage import added

if TYPE_CHECKING:
    from joinery.runs.deps import Deps

log = logging.getLogger(__name__)


def after_close(deps: Deps, run: RunRecord, records: Sequence[NodeRecord]) -> None:
    """Does what follows from a run's end for the runs below and above it.

    Args:
        deps: Ports.
        run: The run, closed now or before.
        records: Its node records.
    """
    if deps.children is None:
        return
    for record in records:
        if record.child and record.status != "completed":
            abandon(deps, record)
    if run.parent and deps.children.settles:
        settle(deps, deps.store.get_run(run.run_id))


# -- downwards ---------------------------------------------------------------------------


def abandon(deps: Deps, record: NodeRecord) -> None:
    """Cancels the child run of a node that waits for it no more; one that has ended is left."""
    try:
        child = deps.store.get_run(record.child)
    except NotFound:
        return  # whoever is about to make it looks at the parent afterwards
    if not child.closed:
        cancel_run_tree(deps, child)


def cancel_run_tree(deps: Deps, run: RunRecord) -> None:
    """Cancels a run with everything below it, and stops what runs it."""
    from joinery.runs.start import cancel_run

    try:
        cancel_run(deps, run)
    except Conflict:
        return  # it has just ended by itself
    if deps.children:
        try:
            deps.children.stop(deps.store.get_run(run.run_id), "the run around it has ended")
        except JoineryError as error:
            # The run is closed: its nodes stop by themselves.
            log.error("execution of run %s was not stopped", run.run_id, exc_info=error)


def was_stopped(deps: Deps, record: NodeRecord) -> bool:
    """Whether a node of a run that has ended waits for a child run that will give nothing."""
    if record.status != "waiting":
        return False
    abandon(deps, record)
    try:
        return deps.store.get_run(record.child).status != "completed"
    except NotFound:
        return False  # it was never made, and is when the node runs again


def catch_up(deps: Deps, run: RunRecord) -> None:
    """Ends the nodes of an open run whose child runs have ended, where nobody did."""
    if deps.children is None or not deps.children.settles:
        return
    for record in deps.store.nodes(run.run_id):
        if record.status != "waiting":
            continue
        try:
            child = deps.store.get_run(record.child)
        except NotFound:
            continue
        if child.closed:
            settle(deps, child)


# -- upwards -----------------------------------------------------------------------------


def settle(deps: Deps, child: RunRecord) -> None:
    """Ends the node that waits for a closed run, and wakes its Task; again does no harm."""
    from joinery.runs.quorum import keys_of

    parent = child.parent
    assert parent is not None
    assert deps.children is not None
    try:
        run = deps.store.get_run(parent.run_id)
    except NotFound:
        return  # it was deleted
    if run.closed:
        return
    plan = deps.children.plan(run.plan_ref)
    node = plan.by_ord[parent.ord]
    inv = Invocation(deps, plan, run, node, parent.path, math.inf, {})
    own = Address(parent.key)
    # What its edges' conditions read comes along.
    addresses = [own, *addresses_for(plan, node, parent.path).values()]
    read = deps.store.load(run.run_id, addresses, joins=keys_of(inv))
    inv.loaded.update(read.records)
    inv.joins.update(read.joins)
    inv.control, inv.head = read.control, read.control.head
    record = inv.loaded.get(own)
    if record is None or record.child != child.run_id or read.control.cancel:
        return
    try:
        failure = _end_node(inv, record, child) if record.status == "waiting" else None
    except (RunCancelled, TransientClaimed):
        return  # somebody else has the node now
    _wake(inv, deps.children, failure)


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


def _wake(inv: Invocation, ports: ChildRuns, failure: NodeError | None) -> None:
    """Sends how the node has ended to its Task, with the newest token for this child run."""
    from joinery.runs.quorum import raise_decided

    store, own = inv.deps.store, Address(inv.key)
    record = store.load(inv.run_id, [own]).records[own]
    token = store.token(inv.run_id, inv.key)
    if token is None or token.child != record.child:
        return  # its invocation is about to look
    if record.terminal:
        try:
            raise_decided(inv.deps, inv.plan, inv.run, inv.path, token.caught)
        except QuorumDecided as decided:
            _refuse(ports, token.token, decided)
            return
    if record.status in ("completed", "cancelled") or (record.terminal and record.handled):
        ports.answer(token.token, {"port": record.port, "path": record.next_path})
    elif record.terminal:
        _refuse(ports, token.token, failure or stored_failure(record))
    elif record.status == "running" and record.error and _ended_before(inv, record):
        error = failure or TransientChildFailed(str(record.error.get("message", "")))
        _refuse(ports, token.token, error)


def _refuse(ports: ChildRuns, token: str, error: NodeError) -> None:
    shown = error.for_machine()
    ports.refuse(token, shown.asl_name(), shown.message)


def _ended_before(inv: Invocation, record: NodeRecord) -> bool:
    """Whether the child run that a record names has ended and is to be followed by another."""
    from joinery.runs.ids import child_run_id

    key = record.key
    return record.child != child_run_id(inv.run_id, key.ord, key.path, record.children)


def stored_failure(record: NodeRecord) -> PermanentChildFailed:
    """Returns the error that a node has failed with, as it was stored."""
    stored = dict(record.error or {})
    return PermanentChildFailed(
        str(stored.get("message", "the node failed")), **dict(stored.get("details") or {})
    )
