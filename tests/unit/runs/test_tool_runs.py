"""Workflows as tools of agents: runs of their own, found again, and cancelled with the call."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from kit.agents import Caller, call
from kit.children import begin_inline, known, plans_of
from kit.engines import Ended

from joinery.runs.interpreter import run_inline
from joinery.workflow.children import child_of_tool
from joinery.workflow.model import Workflow

CODE = "import time\ndef main(seconds):\n    time.sleep(seconds)\n    return seconds"


def parent(**tool: Any) -> Workflow:
    return Workflow.model_validate(
        {
            "version": 1,
            "name": "asks",
            "agents": {"one": {"persona": "You add.", "tools": ["bill"], "max_rounds": 5}},
            "tools": {"bill": {"kind": "workflow", "workflow": "bill",
                               "description": "Adds up.", **tool}},
            "nodes": {"a": {"type": "agent", "agent": "one", "prompt": "Add."}},
            "edges": ["start -> a -> end"],
            "outputs": {"text": "{{ nodes.a.text }}"},
        }
    )  # fmt: skip


BILL = Workflow.model_validate(
    {
        "version": 1,
        "name": "bill",
        "inputs": {
            "cents": {"type": "array", "required": True, "description": "What to add up."},
            "currency": {"default": "EUR"},
        },
        "nodes": {"sum": {"type": "transform", "value": "{{ $sum(inputs.cents) }}"}},
        "edges": ["start -> sum -> end"],
        "outputs": {"total": "{{ nodes.sum.output }}", "currency": "{{ inputs.currency }}"},
    }
)


def begun(models: Any, child: Workflow = BILL, **tool: Any) -> tuple[Ended, Any]:
    plans = plans_of(parent(**tool), **{child_of_tool("bill"): known(child)})
    return begin_inline(plans, {}, models), plans["wf/1"]


def finished(models: Any, child: Workflow = BILL, **tool: Any) -> Ended:
    ended, plan = begun(models, child, **tool)
    run_inline(ended.deps, plan, ended.run, sleep=lambda _: None)
    ended.run = ended.store.get_run(ended.run.run_id)
    return ended


def children_of(ended: Ended) -> list[Any]:
    ids = {str(m["run_id"]) for m in ended.listener.messages} - {ended.run.run_id}
    return [ended.store.get_run(run_id) for run_id in sorted(ids)]


def test_inputs_are_the_parameters_and_outputs_the_result() -> None:
    model = Caller([[call("bill", {"cents": [250, 480]}, "c1")], "7.30"])
    ended = finished(model)
    assert ended.run.status == "completed"
    [spec] = [tool for tool in model.requests[0].tools if tool.name == "bill"]
    assert spec.parameters == {
        "type": "object",
        "properties": {
            "cents": {"type": "array", "description": "What to add up."},
            "currency": {"type": "string", "default": "EUR"},
        },
        "required": ["cents"],
        "additionalProperties": False,
    }
    [told] = model.last()
    assert json.loads(str(told.content)) == {"total": 730, "currency": "EUR"}
    [child] = children_of(ended)
    assert (child.owner, child.session_id, child.status) == ("me", "s1", "completed")
    assert child.parent.run_id == ended.run.run_id


def test_what_it_does_not_take_is_told_to_the_model() -> None:
    model = Caller([[call("bill", {"sents": [1]}, "c1")], "I cannot."])
    ended = finished(model)
    assert ended.run.status == "completed"
    assert "cents" in str(model.last()[0].content)
    assert not children_of(ended)


def test_a_run_that_fails_is_told_to_the_model() -> None:
    model = Caller([[call("bill", {"cents": ["x"]}, "c1")], "I cannot."])
    ended = finished(model)
    assert ended.run.status == "completed"
    [child] = children_of(ended)
    assert child.status == "failed"
    assert child.run_id in str(model.last()[0].content)


def test_a_run_that_takes_too_long_is_cancelled() -> None:
    child = Workflow.model_validate(
        {
            "version": 1, "name": "bill",
            "nodes": {"slow": {"type": "llm", "prompt": "wait"}},
            "edges": ["start -> slow -> end"],
        }
    )  # fmt: skip
    release = threading.Event()

    def script(place: int, request: Any) -> Any:
        if any("wait" in str(m.content) for m in request.messages):
            release.wait(5)
            return "late"
        return [call("bill", {}, "c1")] if place == 1 else "Too late."

    ended, plan = begun(Caller(script), child, timeout="300ms")
    began = time.monotonic()
    run_inline(ended.deps, plan, ended.run, sleep=lambda _: None)
    release.set()
    assert time.monotonic() - began < 4
    assert ended.store.get_run(ended.run.run_id).status == "completed"
    [found] = children_of(ended)
    assert found.status == "cancelled"


def test_the_same_call_finds_the_same_run() -> None:
    ended, _ = begun(Caller(["x"]))
    from joinery.runs.ids import tool_run_id

    first = tool_run_id(f"{ended.run.run_id}.a.1.0")
    assert first == tool_run_id(f"{ended.run.run_id}.a.1.0")
    assert first != tool_run_id(f"{ended.run.run_id}.a.1.1")
