"""The answer to a question: checked, stored once, and the node's Task woken.

The answer, the end of its node and both their events are one write, so of two answers
one wins. Whoever dies after it leaves a token, which the sweeper finds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from joinery import limits
from joinery.compiler.plan import PlanNode
from joinery.errors import (
    InvalidInput,
    InvalidRequest,
    NodeError,
    Permanent,
    TooLarge,
    TransientClaimed,
    Unavailable,
)
from joinery.events.make import timestamp
from joinery.input_errors import AlreadyAnswered, NotWaiting, QuestionOver
from joinery.runs.deps import Deps
from joinery.runs.inputs import value_bytes
from joinery.runs.invocation import Invocation
from joinery.runs.model import Address, NodeKey, NodeRecord, RunRecord
from joinery.runs.outcome import record_outcome
from joinery.runs.ports import Waits
from joinery.runs.questions import BY_PERSON, result_of
from joinery.runs.waits import reach, wake
from joinery.runs.watch import Watch
from joinery.workflow.answers import answer_errors

WAKE_WITHIN_S: Final = 60.0
"""If whoever answers dies before the Task is woken, the run is looked at after this time."""

_PATHS_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Given:
    """What somebody tells a run.

    Attributes:
        request_id: The same one again is the same request, however often it comes.
        value: The answer, or the message.
        node_id: The node that it is for; None is whichever agent takes it.
        path: Its loop rounds and item indexes; None where only one can be meant.
    """

    request_id: str
    value: Any
    node_id: str | None = None
    path: str | None = None

    @property
    def digest(self) -> str:
        """Hash of all but the request's id."""
        said = [self.value, self.node_id, self.path]
        text = json.dumps(said, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def check_size(self) -> None:
        """Refuses a value that no event could carry. Raises: TooLarge, InvalidInput."""
        try:
            size = value_bytes(self.value)
        except UnicodeEncodeError:
            message = "the value holds half of a surrogate pair, which no UTF-8 can hold"
            raise InvalidInput(message) from None
        if size > limits.ANSWER_BYTES:
            raise TooLarge(
                f"the value has {size:,} bytes; the limit is {limits.ANSWER_BYTES:,}",
                limit=limits.ANSWER_BYTES,
                actual=size,
            )


def answer(deps: Deps, waits: Waits, run: RunRecord, node: PlanNode, given: Given) -> NodeRecord:
    """Answers a question, once however often the same request comes.

    Args:
        deps: Ports.
        waits: Ends the wait of its Task.
        run: The run.
        node: The question.
        given: The answer.

    Returns:
        The node's record, which has ended.

    Raises:
        NotWaiting: The node does not wait for an answer, or its run has ended.
        AlreadyAnswered: There is one.
        QuestionOver: Its time is over.
        InvalidRequest: Several of its rounds or items wait, and no path is given.
        InvalidInput: All that is wrong with the answer.
    """
    record = _meant(deps, run, node, given)
    if _is_mine(record, given):
        wake(reach(deps, waits, run, record.key), waits)
        return record
    _check_open(deps, run, node, record)
    _check_value(node, record, given)
    deps.store.look_soon(run.run_id, deps.clock() + WAKE_WITHIN_S)
    inv = reach(deps, waits, run, record.key)
    held = inv.loaded[Address(record.key)]
    failure = _store(inv, held, given) if held.status == "waiting" else None
    now = deps.store.load(run.run_id, [Address(record.key)]).records[Address(record.key)]
    if not _is_mine(now, given):
        _check_open(deps, run, node, now)
        raise Unavailable(f"node '{node.id}' is just being ended: ask again")
    wake(inv, waits, failure)
    return now


def _meant(deps: Deps, run: RunRecord, node: PlanNode, given: Given) -> NodeRecord:
    """Returns the record of the question that is answered."""
    every = Address(NodeKey(node.ord, ""), every=True)
    records = sorted(
        deps.store.load(run.run_id, [every]).records.values(), key=lambda r: r.key.parts()
    )
    if given.path is not None:
        records = [record for record in records if record.key.path == given.path]
    mine = [record for record in records if request_of(record) == given.request_id]
    waiting = mine or [record for record in records if record.status == "waiting"]
    if len(waiting) > 1:
        paths = [record.key.path for record in waiting]
        raise InvalidRequest(
            f"{len(paths)} rounds or items of '{node.id}' wait for an answer: say which path",
            node=node.id,
            paths=paths[:_PATHS_SHOWN],
        )
    if not waiting and not records:
        raise NotWaiting(f"node '{node.id}' has not asked anything yet", status="pending")
    return waiting[0] if waiting else records[-1]


def request_of(record: NodeRecord) -> str:
    """Returns the id of the request that answered a question; empty where none did."""
    said: Mapping[str, Any] = (record.wait or {}).get("answer") or {}
    return str(said.get("request_id", ""))


def _is_mine(record: NodeRecord, given: Given) -> bool:
    """Whether a question was answered by this very request."""
    if request_of(record) != given.request_id:
        return False
    assert record.wait is not None
    if record.wait["answer"]["digest"] != given.digest:
        raise AlreadyAnswered("this request_id was used for another answer", **_said(record))
    return True


def _said(record: NodeRecord) -> dict[str, Any]:
    assert record.wait is not None
    said = record.wait["answer"]
    return {"answered_at": timestamp(said["at"]), "by": said["by"]}


def _check_open(deps: Deps, run: RunRecord, node: PlanNode, record: NodeRecord) -> None:
    """Refuses an answer to a question that is not open."""
    if record.wait and record.wait.get("answer"):
        said = _said(record)
        who = "its default was taken" if said["by"] != BY_PERSON else "it was answered"
        raise AlreadyAnswered(f"node '{node.id}' waits no more: {who} {said['answered_at']}",
                              **said)  # fmt: skip
    now = deps.store.get_run(run.run_id)
    if now.closed:
        raise NotWaiting(f"the run has ended: {now.status}", status=now.status)
    if record.wait and deps.clock() >= float(record.wait["expires_at"]):
        expired_at = timestamp(record.wait["expires_at"])
        raise QuestionOver(f"the time to answer '{node.id}' was over {expired_at}",
                           expired_at=expired_at)  # fmt: skip
    if record.status != "waiting":
        raise NotWaiting(f"node '{node.id}' does not wait: it is {record.status}",
                         status=record.status)  # fmt: skip


def _check_value(node: PlanNode, record: NodeRecord, given: Given) -> None:
    errors = answer_errors(given.value, node.spec["options"], node.spec["schema"])
    if errors:
        raise InvalidInput(
            "; ".join(row["message"] for row in errors), node=node.id, path=record.key.path,
            errors=errors,
        )  # fmt: skip


def _store(inv: Invocation, record: NodeRecord, given: Given) -> NodeError | None:
    """Ends the node with the answer; returns what its Task is to fail with."""
    now = inv.deps.clock()
    said = {"at": now, "by": BY_PERSON, "request_id": given.request_id, "digest": given.digest}
    record = record.with_(wait={**(record.wait or {}), "answer": said})
    result = result_of(inv, given.value, reason="")
    inv.prior = (inv.event("input.received", {"value": given.value, "kind": "answer"}),)
    watch = Watch(inv.deps, inv.run_id, record, inv.control)
    try:
        record_outcome(inv, record, result, {}, watch)
    except TransientClaimed:
        return None  # somebody was faster
    except Permanent as error:
        own = Address(record.key)
        if not inv.deps.store.load(inv.run_id, [own]).records[own].terminal:
            raise  # the store refused: it is not the node that has failed
        return error
    return None
