"""Agents with tools whose models fail, stand in for each other and are traced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from kit.agents import Caller, FunctionTool, agent_workflow, call, python_tool
from kit.bad_days import Clock, patience
from kit.collector import collector
from kit.engines import begin

from joinery.compiler.compile import compile_workflow
from joinery.model_errors import TransientModelUnavailable
from joinery.nodes import agent as agents
from joinery.runs.interpreter import run_inline
from joinery.tools.base import ToolResult
from joinery.tracing import tracer_of


class Several:
    """Implements `Models`: one for each name."""

    def __init__(self, **models: Caller) -> None:
        self._models = models

    def resolve(self, ref: Mapping[str, Any]) -> tuple[Caller, str]:
        return self._models[ref["name"]], ref["name"]


def test_a_model_that_stands_in_is_told_of_tools_as_it_can_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tool = FunctionTool(lambda use: f"got {use.arguments['x']}")
    monkeypatch.setattr(agents, "open_tools", lambda entries, context: {tool.name: tool})
    down = Caller(lambda place, request: TransientModelUnavailable("down"), name="far")
    near = Caller(['{"tool": "look", "arguments": {"x": 1}}', '{"answer": "it is 1"}'], name="near")
    model = {"name": "large", "fallback": [{"name": "small", "tools_by": "prompt"}]}
    flow = agent_workflow({"look": python_tool("look")}, model=model)
    plan = compile_workflow(flow).plan
    ended = begin(plan, {}, Several(large=down, small=near))
    ended.deps = replace(ended.deps, calls=patience(Clock()))
    run_inline(ended.deps, plan, ended.run, sleep=lambda _: None)
    run = ended.store.get_run(ended.run.run_id)
    assert run.status == "completed"
    assert near.last("user")[-1].content == "Result of the tool: got 1"
    assert [use.arguments for use in tool.uses] == [{"x": 1}]
    assert all(request.tools for request in down.requests)
    assert not any(request.tools for request in near.requests)
    assert len(ended.listener.named("model.fallback")) == 2  # each round begins with the first


def test_each_call_of_a_tool_has_a_span(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(use: Any) -> Any:
        return ToolResult("no", is_error=True) if use.arguments["x"] else "yes"

    tool = FunctionTool(work)
    monkeypatch.setattr(agents, "open_tools", lambda entries, context: {tool.name: tool})
    calls = [call("look", {"x": 0}, "c0"), call("look", {"x": 1}, "c1")]
    plan = compile_workflow(agent_workflow({"look": python_tool("look")})).plan
    with collector() as sink:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.endpoint)
        traced = tracer_of({"OTEL_EXPORTER_OTLP_ENDPOINT": sink.endpoint}, "test")
        ended = begin(plan, {}, Caller([calls, "done"]))
        ended.deps = replace(ended.deps, tracer=traced)
        run_inline(ended.deps, plan, ended.run, sleep=lambda _: None)
        traced.flush(5)
    (agent,) = sink.named("invoke_agent")
    spans = {span.facts["gen_ai.tool.call.id"]: span for span in sink.named("execute_tool look")}
    assert {span.parent for span in spans.values()} == {agent.id}
    assert not spans["c0"].failed
    assert spans["c1"].failed
    assert spans["c1"].facts["error.type"] == "agent.tool_error"
    assert len(sink.named("chat script-1")) == 2
