"""The command `input`: an answer to a question, or a message to the run's agents."""

from __future__ import annotations

from typing import Any

from joinery.compiler.plan import Plan, PlanNode, takes_inputs
from joinery.errors import InvalidRequest, JoineryError
from joinery.input_errors import NotWaiting
from joinery.runs.answers import Given, answer, request_of
from joinery.runs.deps import Deps
from joinery.runs.inbox import send
from joinery.runs.model import RunRecord


def give_input(deps: Deps, run: RunRecord, given: Given) -> dict[str, Any]:
    """Gives a run what somebody says; the same request again changes nothing.

    Args:
        deps: Ports, with the right to wake Tasks.
        run: The run; the caller owns it.
        given: What is said, and to which node.

    Returns:
        `{run_id, kind: "answer", node_id, path}`, or `{run_id, kind: "message", input_id}`.

    Raises:
        JoineryError: Why it was not taken; see `answers.answer` and `inbox.send`.
    """
    given.check_size()
    waits = deps.waits
    if waits is None:
        raise JoineryError("this function wakes no Tasks")
    plan = waits.plan(run.plan_ref)
    node = (
        plan.by_id.get(given.node_id) if given.node_id else _only_question(deps, plan, run, given)
    )
    if given.node_id and (node is None or node.type == "end"):
        raise InvalidRequest(f"the workflow has no node '{given.node_id}'", node=given.node_id)
    if node is not None and node.type == "question":
        record = answer(deps, waits, run, node, given)
        return {
            "run_id": run.run_id, "kind": "answer", "node_id": node.id, "path": record.key.path,
        }  # fmt: skip
    if node is not None and node.type == "workflow":
        raise NotWaiting(
            f"node '{node.id}' waits for a run of its own: answer that one",
            runs=[
                r.child for r in deps.store.nodes(run.run_id) if r.node_id == node.id and r.child
            ],
        )
    message = send(deps, plan, run, given)
    return {"run_id": run.run_id, "kind": "message", "input_id": message.input_id}


def _only_question(deps: Deps, plan: Plan, run: RunRecord, given: Given) -> PlanNode | None:
    """Returns the question that is meant where nothing else can be; None where something can."""
    if any(takes_inputs(node) for node in plan.nodes):
        return None
    asked = [record for record in deps.store.nodes(run.run_id) if record.wait is not None]
    mine = [record for record in asked if request_of(record) == given.request_id]
    ids = {record.node_id for record in mine or asked if mine or record.status == "waiting"}
    return plan.by_id[ids.pop()] if len(ids) == 1 else None
