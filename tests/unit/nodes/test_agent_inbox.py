"""What people tell an agent while it works: between two rounds, and with its last answer."""

from __future__ import annotations

from typing import Any

import pytest
from kit.agents import Caller, FunctionTool, agent_workflow, call, python_tool
from kit.engines import begin

from joinery.compiler.compile import compile_workflow
from joinery.llm.types import ModelRequest
from joinery.nodes import agent as agents
from joinery.runs.answers import Given
from joinery.runs.inbox import send
from joinery.runs.interpreter import run_inline


def told(request: ModelRequest) -> list[tuple[str, str]]:
    return [(m.role, m.content) for m in request.messages][2:]


def test_messages_come_behind_the_results_and_behind_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: Any = None

    def say(text: str) -> None:
        send(ended.deps, plan, ended.run, Given(f"request-{text}", text))

    def look(use: Any) -> str:
        say("look for green tea")
        return "black tea"

    tool = FunctionTool(look)
    monkeypatch.setattr(agents, "open_tools", lambda entries, context: {"look": tool})
    plan = compile_workflow(agent_workflow({"look": python_tool("look")})).plan

    def script(place: int, request: ModelRequest) -> Any:
        if place == 2:
            say("and say where")  # … while the model writes what it takes for its last answer
        return [[call("look", {"x": 1}, "c1")], "Green tea.", "Green tea, in the kitchen."][
            place - 1
        ]

    model = Caller(script)
    ended = begin(plan, {}, model)
    run_inline(ended.deps, plan, ended.run, sleep=lambda _: None)
    assert ended.store.outputs(ended.run.run_id) == {"text": "Green tea, in the kitchen."}
    assert told(model.requests[1])[1:] == [("tool", "black tea"), ("user", "look for green tea")]
    assert told(model.requests[2])[3:] == [("assistant", "Green tea."), ("user", "and say where")]
    taken = [e["data"]["turn"] for e in ended.listener.named("input.taken")]
    assert taken == [2, 3]
