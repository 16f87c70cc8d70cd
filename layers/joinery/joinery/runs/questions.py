"""Questions as the node that asks sees them: asked once, answered, or over when time is.

The node's record holds what is asked (`wait`). From then on no function runs: whoever
answers ends the node and wakes its Task, see `answers`. When the time is over the Task
is tried again, and that invocation takes the default or fails the node.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from joinery import limits
from joinery.errors import NodeError, Permanent, RunCancelled, TransientClaimed
from joinery.events.make import timestamp
from joinery.input_errors import PermanentQuestionExpired, PermanentQuestionTooLarge
from joinery.nodes.base import NodeResult
from joinery.runs.inputs import value_bytes
from joinery.runs.invocation import Invocation
from joinery.runs.lists import seen_records
from joinery.runs.model import Address, NodeRecord, RunRecord
from joinery.runs.outcome import record_outcome
from joinery.runs.ports import ClaimLost, Waits
from joinery.runs.quorum import visible
from joinery.runs.scope import build_scope
from joinery.runs.waits import raise_failed, reach, register, wake
from joinery.runs.watch import Watch
from joinery.workflow.answers import answer_text
from joinery.workflow.expressions import parse_template

if TYPE_CHECKING:
    from joinery.runs.deps import Deps

BY_PERSON, BY_DEFAULT = "input", "default"
"""Who gave an answer."""


def begin(inv: Invocation, record: NodeRecord) -> NodeRecord:
    """Asks the question of a node that was claimed.

    Returns:
        The node's record: `waiting`, or how it has ended.

    Raises:
        NodeError: The node failed, or is to be tried again.
    """
    try:
        asked = _asked(inv, record)
    except NodeError as error:
        return _ended(inv, record, error)
    waiting = record.with_(status="waiting", wait=asked, claim_until=0.0, holder="")
    inv.deps.store.mark_asked(inv.run_id)
    try:
        stored = inv.deps.store.release(inv.run_id, waiting, [_event(inv, asked)])
    except ClaimLost:
        raise TransientClaimed(f"another invocation took over node '{inv.node.id}'") from None
    inv.publish(stored)
    return _follow(inv, waiting)


def attach(inv: Invocation, record: NodeRecord) -> NodeRecord:
    """Goes on with a question that is open: a Task that was tried again has a new token.

    Raises:
        NodeError: The node failed, or is to be tried again.
    """
    assert record.wait is not None
    if inv.deps.clock() >= float(record.wait["expires_at"]):
        return _expired(inv, record)
    return _follow(inv, record)


def _asked(inv: Invocation, record: NodeRecord) -> dict[str, Any]:
    """Returns what is asked, its expressions filled in."""
    spec = inv.node.spec
    records = visible(inv, seen_records(inv.plan, inv.node, inv.path, inv.loaded))
    scope = build_scope(inv.deps.store, inv.run, inv.node, inv.path, records)
    prompt = parse_template(spec["prompt"]).render(scope)
    asked = {
        "kind": "question",
        "prompt": prompt,
        "options": spec["options"],
        "schema": spec["schema"],
        "expires_at": record.started_at + inv.node.timeout_s,
    }
    size = value_bytes([prompt, spec["options"], spec["schema"]])
    if size > limits.QUESTION_BYTES:
        raise PermanentQuestionTooLarge(
            f"the question of '{inv.node.id}' has {size:,} bytes; the limit is "
            f"{limits.QUESTION_BYTES:,}",
            limit=limits.QUESTION_BYTES,
            actual=size,
        )
    return asked


def _event(inv: Invocation, asked: dict[str, Any]) -> dict[str, Any]:
    told = {name: asked[name] for name in ("prompt", "options", "schema") if asked[name]}
    if "default" in inv.node.spec:
        told["default"] = inv.node.spec["default"]
    return inv.event("input.requested", {**told, "expires_at": timestamp(asked["expires_at"])})


def _follow(inv: Invocation, record: NodeRecord) -> NodeRecord:
    """Stores the token, and ends the wait if the answer has come meanwhile."""
    register(inv, record)
    if inv.deps.store.get_run(inv.run_id).closed:
        raise RunCancelled("the run has ended")
    own = Address(record.key)
    now = inv.deps.store.load(inv.run_id, [own]).records[own]
    inv.loaded[own] = now
    if now.terminal:
        raise_failed(now)
        return now
    if now.status != "waiting":
        raise TransientClaimed(f"node '{inv.node.id}' was begun anew meanwhile")
    return now


def _expired(inv: Invocation, record: NodeRecord) -> NodeRecord:
    """Ends a question that nobody has answered in time."""
    wait = dict(record.wait or {})
    if "default" not in inv.node.spec:
        over = PermanentQuestionExpired(
            f"nobody answered '{inv.node.id}' within {inv.node.timeout_s:g} s",
            expired_at=timestamp(wait["expires_at"]),
        )
        return _ended(inv, record, over)
    answer = {"at": inv.deps.clock(), "by": BY_DEFAULT}
    result = result_of(inv, inv.node.spec["default"], reason=BY_DEFAULT)
    return _ended(inv, record.with_(wait={**wait, "answer": answer}), result)


def end_expired(deps: Deps, waits: Waits, run: RunRecord, record: NodeRecord) -> float:
    """Ends a question of an open run once its time is over, and wakes its Task.

    A Task that was begun anew has its whole time again: it would wait for too long.

    Returns:
        Epoch seconds at which it expires; infinity once it has ended.
    """
    expires_at = float((record.wait or {})["expires_at"])
    if deps.clock() < expires_at:
        return expires_at
    inv = reach(deps, waits, run, record.key)
    held, failure = inv.loaded[Address(record.key)], None
    try:
        if held.status == "waiting":
            _expired(inv, held)
    except (RunCancelled, TransientClaimed):
        return math.inf  # somebody else has just ended it
    except Permanent as error:
        failure = error
    wake(inv, waits, failure)
    return math.inf


def result_of(inv: Invocation, value: Any, *, reason: str) -> NodeResult:
    """Returns what a question's node puts out for an answer, and the port it takes."""
    options = inv.node.spec["options"]
    return NodeResult(
        {"output": value, "text": answer_text(value, options)},
        port=str(value) if value in inv.node.ports and options else "",
        reason=reason,
    )


def _ended(inv: Invocation, record: NodeRecord, result: NodeResult | NodeError) -> NodeRecord:
    watch = Watch(inv.deps, inv.run_id, record, inv.control)
    return record_outcome(inv, record, result, {}, watch)
