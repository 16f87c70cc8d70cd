"""What becomes of an attempt: completed, failed as `on_error` says, or tried again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from joinery.compiler.plan import PlanNode
from joinery.errors import (
    NodeError,
    Permanent,
    PermanentAttemptsExhausted,
    PermanentExpression,
    PermanentTimeout,
    RunCancelled,
    RunSuspended,
    Transient,
    TransientClaimed,
    TransientStore,
)
from joinery.events.make import Event
from joinery.llm.retrying import asked_wait, is_allowed
from joinery.nodes.base import NodeResult
from joinery.nodes.logic import holds
from joinery.runs.dead_paths import dead_after
from joinery.runs.invocation import Invocation
from joinery.runs.lists import seen_records
from joinery.runs.model import Address, NodeRecord, next_round
from joinery.runs.ports import AlreadyTerminal, ClaimLost, JoinChanged
from joinery.runs.quorum import (
    blamed,
    lose,
    over_by,
    refresh,
    tries,
    visible,
    votes,
    was_cancelled,
)
from joinery.runs.scope import build_scope
from joinery.runs.watch import Watch

EVENTS_AT_ONCE = 4
"""Most events that the end of a node stores together."""


def again(inv: Invocation, record: NodeRecord) -> NodeRecord:
    """Puts the stored event of a finished node out again: the first time may have died."""
    if record.seq:
        near = inv.deps.store.events(inv.run_id, record.seq - 1, EVENTS_AT_ONCE)
        mine = (inv.node.id, inv.path)
        inv.publish([e for e in near if (e.get("node_id"), e.get("path")) == mine])
    _raise_if_failed(inv, record)
    return record


def _raise_if_failed(inv: Invocation, record: NodeRecord) -> None:
    if record.status != "failed" or record.contained or inv.node.on_error != "fail":
        return
    stored = dict(record.error or {})
    error = PermanentAttemptsExhausted(str(stored.get("message", "the node failed")), cause=stored)
    raise error


def record_outcome(
    inv: Invocation,
    record: NodeRecord,
    result: NodeResult | NodeError,
    summary: Mapping[str, Any],
    watch: Watch,
) -> NodeRecord:
    """Stores what an attempt gave and returns the node's record.

    Args:
        inv: The invocation.
        record: The record as it was claimed, with what the attempt used.
        result: The result, or why there is none.
        summary: Length and hash of each stream.
        watch: Knows of a cancel and of a lost claim.

    Raises:
        NodeError: The node failed, or is to be tried again.
    """
    stopped = watch.cancelled()
    if watch.race_lost or watch.claim_lost:
        refresh(inv)
        lost = over_by(inv)
        if lost:
            return _lose(inv, record, lost, summary)
    if watch.claim_lost:
        raise TransientClaimed(f"another invocation took over node '{inv.node.id}'")
    if isinstance(result, NodeResult):
        return _complete(inv, record, result, summary)
    if isinstance(result, RunCancelled) or stopped:
        raise RunCancelled("the run was cancelled") from result
    if isinstance(result, RunSuspended):
        _suspend(inv, record, result)
    if isinstance(result, Transient) and _may_retry(inv, record, result):
        return _retry(inv, record, result)
    return fail(inv, record, _final(inv, record, result), summary)


def _complete(
    inv: Invocation, record: NodeRecord, result: NodeResult, summary: Mapping[str, Any]
) -> NodeRecord:
    now = inv.deps.clock()
    record = record.with_(
        status="completed",
        ended_at=now,
        port=result.port,
        next_path=next_round(inv.path) if result.repeat else "",
        result=result.result,
        error=None,
        streams=dict(summary),
        reason=result.reason,
        items=result.items,
    )
    data: dict[str, Any] = {
        "attempt": record.attempt,
        "duration_ms": round((now - record.started_at) * 1000),
        "streams": dict(summary),
    }
    if record.port:
        data["port"] = record.port
    if record.reason:
        data["reason"] = record.reason
    if record.items is not None:
        data["items"] = record.items
    events = [*inv.prior, inv.event("node.completed", data)]
    if record.usage.get("model_calls"):
        events.insert(len(inv.prior), inv.event("usage.recorded", record.usage))
    if result.repeat:
        rounds = {"round": int(record.next_path.split(".")[-1]), "path": record.next_path,
                  "max_rounds": inv.plan.loop_of[inv.node.id].max_rounds}  # fmt: skip
        events.append(inv.event("loop.round", rounds))
    return _finish(inv, record, events)


def fail(
    inv: Invocation, record: NodeRecord, failure: NodeError, summary: Mapping[str, Any]
) -> NodeRecord:
    """Ends the node as `on_error` says."""
    policy = inv.node.on_error
    if policy == "fail" and inv.node.contained:
        policy = "contained"
    shown = failure.to_dict()
    port = {"route": "error", "fail": "", "contained": ""}.get(policy, inv.node.ports[-1])
    result: dict[str, Any] = {"error": shown}
    if policy == "default":
        result["output"] = inv.node.default
        if isinstance(inv.node.default, str):
            result["text"] = inv.node.default
    record = record.with_(
        status="failed",
        ended_at=inv.deps.clock(),
        port=port,
        result=result,
        error=shown,
        handled=policy != "fail",
        contained=policy == "contained",
        streams=dict(summary),
    )
    data = {"attempt": record.attempt, "error": shown, "on_error": policy}
    done = _finish(inv, record, [inv.event("node.failed", data)])
    if policy == "fail":
        raise failure
    return done


def _finish(inv: Invocation, record: NodeRecord, events: list[Event]) -> NodeRecord:
    goes_on = record.status == "completed" or record.handled
    if goes_on and not record.contained and _has_conditions(inv):
        try:
            record = record.with_(refused=_refused(inv, record))
        except PermanentExpression as error:
            return _fail_at_edge(inv, record, error)
    for _ in tries():
        refresh(inv)
        lost = over_by(inv)
        if lost:
            return _lose(inv, record, lost, record.streams)
        try:
            return _store(inv, record, events, goes_on=goes_on)
        except JoinChanged:
            continue
    raise TransientStore(f"too many ends at once beside node '{inv.node.id}'")


def _store(
    inv: Invocation, record: NodeRecord, events: Sequence[Event], *, goes_on: bool
) -> NodeRecord:
    """Stores an end with what it decides. Raises: JoinChanged."""
    dead: list[tuple[PlanNode, str]] = []
    if goes_on and (len(inv.node.ports) > 1 or record.refused or record.contained):
        inv.loaded[Address(record.key)] = record
        dead = dead_after(
            inv.plan, inv.node, record, inv.find, lambda join, at: blamed(inv, record, join, at)
        )
    skipped = inv.skipped(dead, record.ended_at)
    told = [*events, inv.skip_event(skipped)] if skipped else list(events)
    joins = votes(inv, record, dead) if goes_on else []
    try:
        stored = inv.deps.store.finish(inv.run_id, record, told, skipped, joins=joins)
    except AlreadyTerminal as ended:
        if ended.record.status == "cancelled":
            return was_cancelled(inv, record, ended.record)
        return again(inv, ended.record)
    except ClaimLost:
        raise TransientClaimed(f"another invocation took over node '{inv.node.id}'") from None
    inv.publish(stored)
    return record.with_(seq=stored[0]["seq"])


def _lose(
    inv: Invocation, record: NodeRecord, join_id: str, summary: Mapping[str, Any]
) -> NodeRecord:
    try:
        return lose(inv, record, join_id, summary)
    except ClaimLost:
        raise TransientClaimed(f"another invocation took over node '{inv.node.id}'") from None


def _has_conditions(inv: Invocation) -> bool:
    links = inv.plan.outgoing[inv.node.id].values()
    return any(link.when is not None for at_port in links for link in at_port)


def _refused(inv: Invocation, record: NodeRecord) -> tuple[str, ...]:
    """Returns the nodes that edges at the port taken do not lead to.

    Raises:
        PermanentExpression: A condition cannot be evaluated.
    """
    records = visible(inv, seen_records(inv.plan, inv.node, inv.path, inv.loaded))
    records[inv.node.id] = record
    scope = build_scope(inv.deps.store, inv.run, inv.node, inv.path, records)
    at_port = inv.plan.outgoing[inv.node.id].get(record.port, [])
    return tuple(
        link.target for link in at_port if link.when is not None and not holds(link.when, scope)
    )


def _fail_at_edge(inv: Invocation, record: NodeRecord, error: PermanentExpression) -> NodeRecord:
    """Fails the run, or leaves it to the node's container: where to go on cannot be told."""
    shown = error.to_dict()
    contained = bool(inv.node.contained)
    ended = record.with_(
        status="failed",
        port="",
        result={"error": shown},
        error=shown,
        handled=contained,
        contained=contained,
    )
    policy = "contained" if contained else "fail"
    data = {"attempt": record.attempt, "error": shown, "on_error": policy}
    done = _finish(inv, ended, [*inv.prior, inv.event("node.failed", data)])
    if not contained:
        raise error
    return done


def _retry(inv: Invocation, record: NodeRecord, failure: Transient) -> NodeRecord:
    event = inv.event("node.retrying", {"attempt": record.attempt, "error": failure.to_dict()})
    try:
        stored = inv.deps.store.release(inv.run_id, record.with_(error=failure.to_dict()), [event])
    except ClaimLost:
        raise TransientClaimed(f"another invocation took over node '{inv.node.id}'") from None
    inv.publish(stored)
    raise failure


def _suspend(inv: Invocation, record: NodeRecord, cause: RunSuspended) -> NoReturn:
    """Gives a node back that stopped on the way; the attempt and its time do not count."""
    given_back = record.with_(status="pending", base=record.base + 1, started_at=0.0)
    try:
        inv.deps.store.release(inv.run_id, given_back, [])
    except ClaimLost:
        raise TransientClaimed(f"another invocation took over node '{inv.node.id}'") from None
    raise cause


def _may_retry(inv: Invocation, record: NodeRecord, failure: Transient) -> bool:
    if not is_allowed(failure, inv.node.retry_errors):
        return False
    if record.tries >= inv.node.attempts:
        return False
    wait = max(inv.node.backoff_s * 2.0 ** (record.tries - 1), asked_wait(failure) or 0.0)
    return inv.deps.clock() + wait < record.started_at + inv.node.timeout_s


def _final(inv: Invocation, record: NodeRecord, failure: NodeError) -> NodeError:
    """Returns the permanent error that a last failure amounts to."""
    if isinstance(failure, Permanent):
        return failure
    if inv.deps.clock() - record.started_at >= inv.node.timeout_s:
        return PermanentTimeout(
            f"node '{inv.node.id}' did not end within {inv.node.timeout_s:g} s; "
            f"last: {failure.message}",
            cause=failure.to_dict(),
        )
    return PermanentAttemptsExhausted(
        f"node '{inv.node.id}' failed after {record.tries} of {inv.node.attempts} "
        f"attempts: {failure.message}",
        cause=failure.to_dict(),
    )


def crashed(inv: Invocation, record: NodeRecord, left: float) -> NodeError:
    """Returns the error of a node whose attempts ended without a word."""
    if left <= 0:
        return PermanentTimeout(
            f"node '{inv.node.id}' did not end within {inv.node.timeout_s:g} s",
            cause=record.error,
        )
    return PermanentAttemptsExhausted(
        f"node '{inv.node.id}' was begun {record.tries - 1} times and never ended",
        cause=record.error,
    )
