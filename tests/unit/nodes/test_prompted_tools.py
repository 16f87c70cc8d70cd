"""Models that are told of their tools in words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from kit.agents import Caller, Step, agent_workflow, python_tool
from kit.engines import Ended, interpreted

from joinery.compiler.compile import compile_workflow

ADD = python_tool(
    "add",
    "def add(a, b):\n    return a + b",
    parameters={"a": {"type": "integer"}, "b": {"type": "integer"}},
)


def run(script: list[Step], node: Any = None, **agent: Any) -> tuple[Ended, Caller]:
    flow = agent_workflow({"add": ADD}, node, model={"tools_by": "prompt"}, **agent)
    model = Caller(script)
    return interpreted(compile_workflow(flow).plan, {}, model), model


CALL = json.dumps({"tool": "add", "arguments": {"a": 1, "b": 2}})


def test_tools_in_words() -> None:
    ended, model = run([CALL, json.dumps({"answer": "Three."})])
    assert ended.outputs == {"text": "Three."}
    first, second = model.requests
    assert not first.tools
    assert first.messages[0].content.startswith("You look.\n\nYou can use these tools:\n- add: ")
    assert first.messages[1].content == "Find it."
    assert [(m.role, m.content) for m in second.messages[2:]] == [
        ("assistant", CALL), ("user", "Result of the tool: 3"),
    ]  # fmt: skip
    record = next(r for r in ended.store.nodes(ended.run.run_id) if r.node_id == "a")
    # Viewers see the answer and the arguments, not the form around them.
    assert record.streams["text"]["length"] == len("Three.")
    assert record.streams["call.1.0"]["length"] == len('{"a": 1, "b": 2}')


@pytest.mark.parametrize(
    ("said", "fits"),
    [
        ({"tool": "add", "arguments": {"a": 1, "b": 2}}, True),
        ({"answer": "x"}, True),
        ({"tool": "other", "arguments": {}}, False),
        ({"tool": "add", "arguments": {"a": "1"}}, False),
        ({"answer": 1}, False),
    ],
)
def test_the_form_of_an_answer(said: Any, fits: bool) -> None:
    _, model = run([json.dumps({"answer": "x"})])
    assert Draft202012Validator(model.requests[0].schema).is_valid(said) is fits


def test_the_last_round_can_only_answer() -> None:
    ended, model = run([CALL, json.dumps({"answer": "Three."})], max_rounds=2)
    assert ended.outputs == {"text": "Three."}
    assert not Draft202012Validator(model.requests[1].schema).is_valid(json.loads(CALL))


def test_words_in_no_form_are_an_answer() -> None:
    for said in ("plain words", '{"answer": "cut o', "[1]", '{"other": 1}'):
        ended, _ = run([said])
        assert ended.outputs == {"text": said}


def test_data_after_tools() -> None:
    steps: list[Step] = [CALL, json.dumps({"answer": "Three."}), '{"sum": 3}']
    ended, model = run(steps, {"output": {"sum": {"type": "integer"}}})
    assert ended.outputs == {"text": '{"sum": 3}'}
    assert "sum" in model.requests[-1].schema["properties"]  # type: ignore[index]
