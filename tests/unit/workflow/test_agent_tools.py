"""What agents say of their tools: in files and in Python."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from joinery.compiler.build import build_plan
from joinery.workflow.builder import WorkflowBuilder
from joinery.workflow.source import load
from joinery.workflow.validation import validate

FILE: dict[str, Any] = {
    "version": 1,
    "name": "finder",
    "agents": {"one": {"tools": ["look"]}},
    "tools": {"look": {"description": "Looks.", "code": "def look():\n    return 1"}},
    "nodes": {"a": {"type": "agent", "agent": "one", "prompt": "x"}},
    "edges": ["start -> a -> end"],
}


def codes(**agent: Any) -> list[tuple[str, str]]:
    data = {**FILE, "agents": {"one": {**FILE["agents"]["one"], **agent}}}
    return [(p.code, p.pointer) for p in validate(load(json.dumps(data))).problems]


def test_a_tool_that_an_agent_has_is_used() -> None:
    assert codes() == []


@pytest.mark.parametrize(
    ("agent", "code", "pointer"),
    [
        ({"tools": ["look", "lok"]}, "reference.unknown_tool", "/agents/one/tools/1"),
        ({"tools": ["look", "look"]}, "tool.duplicate", "/agents/one/tools/1"),
        ({"tools": ["look", "read_result"]}, "tool.reserved", "/agents/one/tools/1"),
        ({"tools": ["look", 7]}, "schema.type", "/agents/one/tools/1"),
        ({"tools": "look"}, "schema.type", "/agents/one/tools"),
        ({"max_rounds": 1}, "schema.value", "/agents/one/max_rounds"),
        ({"max_rounds": 101}, "schema.value", "/agents/one/max_rounds"),
        ({"max_calls": 0}, "schema.value", "/agents/one/max_calls"),
    ],
)
def test_what_is_wrong(agent: dict[str, Any], code: str, pointer: str) -> None:
    assert (code, pointer) in codes(**agent)


def narrowed(tools: Any, **agent: Any) -> list[tuple[str, str]]:
    look = FILE["tools"]["look"]
    data = {
        **FILE,
        "agents": {"one": {"tools": ["look", "put"], **agent}, "two": {"tools": ["own"]}},
        "tools": {
            name: {**look, "code": f"def {name}():\n    return 1"}
            for name in ("look", "put", "own")
        },
        "nodes": {
            "a": {"type": "agent", "agent": "one", "prompt": "x", "tools": tools},
            "b": {"type": "agent", "agent": "two", "prompt": "x"},
        },
        "edges": ["start -> a -> b -> end"],
    }
    return [(p.code, p.pointer) for p in validate(load(json.dumps(data))).problems]


@pytest.mark.parametrize("tools", [["look"], ["put", "look"], [], None])
def test_a_node_may_leave_tools_out(tools: list[str] | None) -> None:
    assert narrowed(tools) == []


@pytest.mark.parametrize(
    ("tools", "code", "pointer"),
    [
        (["look", "own"], "tool.not_of_agent", "/nodes/a/tools/1"),
        (["lok"], "reference.unknown_tool", "/nodes/a/tools/0"),
        (["put", "put"], "tool.duplicate", "/nodes/a/tools/1"),
        ([7], "schema.type", "/nodes/a/tools/0"),
        ("look", "schema.type", "/nodes/a/tools"),
    ],
)
def test_a_node_never_gives_its_agent_more(tools: Any, code: str, pointer: str) -> None:
    assert narrowed(tools) == [(code, pointer)]


def test_only_agents_have_tools() -> None:
    data = {**FILE, "nodes": {**FILE["nodes"], "b": {"type": "llm", "prompt": "x", "tools": []}}}
    data["edges"] = ["start -> a -> b -> end"]
    [problem] = validate(load(json.dumps(data))).problems
    assert (problem.code, problem.pointer) == ("schema.unknown_key", "/nodes/b/tools")


def test_the_builder_says_the_same() -> None:
    flow = WorkflowBuilder("finder")

    @flow.tool
    def look(x: int) -> int:
        """Looks."""
        return x

    @flow.tool(read_only=False, at_most_once=True, call_timeout=timedelta(seconds=5))
    def put(text: str = "a") -> str:
        """Puts."""
        return text

    one = flow.agent("one", persona="P", tools=[look, put], max_rounds=4, max_calls=9)
    a = flow.node.agent("a", agent=one, prompt="x")
    b = flow.node.agent("b", agent=one, prompt="x", tools=[put])
    c = flow.node.agent("c", agent=one, prompt="x", tools=["look"])
    d = flow.node.agent("d", agent=one, prompt="x", tools=[])
    flow.edge(flow.start, a, b, c, d, flow.end)
    plan = build_plan(flow.build())
    assert [list(plan.by_id[name].spec.get("tools", ())) for name in "bcd"] == [
        ["put"],
        ["look"],
        [],
    ]
    spec = plan.by_id["a"].spec
    assert list(spec["tools"]) == ["look", "put"]
    assert (spec["max_rounds"], spec["max_calls"]) == (4, 9)
    assert spec["tools"]["look"]["read_only"] is True
    assert spec["tools"]["look"]["timeout_s"] == 60.0
    put_spec = spec["tools"]["put"]
    assert (put_spec["read_only"], put_spec["at_most_once"], put_spec["timeout_s"]) == (
        False, True, 5.0,
    )  # fmt: skip
    assert put_spec["schema"]["properties"] == {"text": {"type": "string", "default": "a"}}
    assert "timeout: 5s" in flow.to_yaml()
