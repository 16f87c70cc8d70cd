"""What the user says to a run's agents while they work: stored, and taken once each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from joinery.compiler.plan import Plan, PlanNode, takes_inputs
from joinery.errors import Conflict, InvalidInput
from joinery.events.make import Event, make_event
from joinery.input_errors import NoAgent, NotWaiting
from joinery.runs.answers import Given
from joinery.runs.deps import Deps
from joinery.runs.invocation import Invocation
from joinery.runs.model import LiveInput, NodeRecord, RunRecord

_SHOWN = 20


class NodeInbox:
    """Implements `Inbox` for the node of an invocation.

    Args:
        inv: The invocation.
    """

    def __init__(self, inv: Invocation) -> None:
        self._inv = inv

    def take(self, turn: int, *, again: bool = False) -> list[LiveInput]:
        """See `NodeContext.take_inputs`; where nobody says anything it costs one small read."""
        inv, store = self._inv, self._inv.deps.store
        if not store.control(inv.run_id).inputs:
            return []
        if again:
            return store.taken_inputs(inv.run_id, inv.key, turn)
        event = inv.event("input.taken", {"turn": turn, "input_ids": []})
        taken, stored = store.take_inputs(inv.run_id, inv.key, inv.node.id, turn, event)
        inv.publish(stored)
        return taken


def input_id(run_id: str, request_id: str) -> str:
    """Returns the id of the message that a request brings to a run."""
    return "in_" + hashlib.sha256(f"{run_id}\0{request_id}".encode()).hexdigest()[:24]


def send(deps: Deps, plan: Plan, run: RunRecord, given: Given) -> LiveInput:
    """Puts a message into a run's inbox, once however often the same request comes.

    Args:
        deps: Ports.
        plan: The run's plan.
        run: The run.
        given: The message; it may name the agent that it is for.

    Raises:
        InvalidInput: It is not text, or empty.
        NoAgent: No agent of the run takes messages, now or later.
        NotWaiting: The run has ended.
        InboxFull: There are too many.
        Conflict: The request's id was used for another message.
    """
    if not isinstance(given.value, str) or not given.value.strip():
        row = {"path": "", "code": "type", "message": "a message must be text, and not empty"}
        raise InvalidInput(row["message"], errors=[row])
    message = LiveInput(
        input_id(run.run_id, given.request_id),
        given.value,
        deps.clock(),
        digest=given.digest,
        node_id=given.node_id or "",
        path=given.path if given.node_id else None,
    )
    stored = deps.store.input(run.run_id, message.input_id)
    if stored is None:
        _check_taken(deps, plan, run, given)
        event = _received(run, plan, message)
        stored, events = deps.store.put_input(run.run_id, message, event)
        if events:
            deps.publisher.publish(run.run_id, events)
    if stored.digest != message.digest:
        raise Conflict("this request_id was used for another message", input_id=stored.input_id)
    return stored


def _received(run: RunRecord, plan: Plan, message: LiveInput) -> Event:
    data = {"value": message.value, "kind": "message", "input_id": message.input_id}
    where: dict[str, str] = {}
    if message.node_id and message.path is not None:
        node = plan.by_id[message.node_id]
        where = {"node_id": node.id, "path": message.path, "node_name": node.name}
    elif message.node_id:
        data["to"] = message.node_id
    return make_event(
        "input.received", run.run_id, data, at=message.at, session_id=run.session_id, **where
    )


def _check_taken(deps: Deps, plan: Plan, run: RunRecord, given: Given) -> None:
    """Refuses a message that nobody would ever take."""
    if run.closed:
        raise NotWaiting(f"the run has ended: {run.status}", status=run.status)
    records = deps.store.nodes(run.run_id)
    if given.node_id:
        works = [
            record
            for record in records
            if record.node_id == given.node_id
            and record.status == "running"
            and given.path in (None, record.key.path)
        ]
        if works and takes_inputs(plan.by_id[given.node_id]):
            return
        raise NoAgent(f"no agent '{given.node_id}' is at work that takes messages",
                      **_waiting(records))  # fmt: skip
    if not any(_may_take(plan, node, records) for node in plan.nodes if takes_inputs(node)):
        raise NoAgent("no agent of this run takes messages any more, or ever did",
                      **_waiting(records))  # fmt: skip


def _may_take(plan: Plan, node: PlanNode, records: Iterable[NodeRecord]) -> bool:
    """Whether an agent is at work, or may come to be."""
    around = node.scope[0] if node.scope else ""
    for record in records:
        if not around and record.node_id == node.id and record.terminal:
            return False
        if around in plan.loop_of and record.node_id == around and record.port == "done":
            return False
    return True


def _waiting(records: Iterable[NodeRecord]) -> dict[str, list[dict[str, str]]]:
    """Returns the questions that wait for an answer, which is perhaps what was meant."""
    waiting = [
        {"node_id": record.node_id, "path": record.key.path}
        for record in records
        if record.status == "waiting" and record.wait is not None
    ]
    return {"waiting": waiting[:_SHOWN]} if waiting else {}
