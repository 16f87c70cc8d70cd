"""Agents with tools: rounds and their bounds, what the model is told, what viewers see."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest
from kit.agents import Caller, FunctionTool, Script, Step, agent_workflow, call, python_tool
from kit.engines import Ended, compiled_run, interpreted

from joinery import limits
from joinery.agent_errors import PermanentToolUnusable
from joinery.compiler.compile import compile_workflow
from joinery.errors import TransientStore
from joinery.llm.types import ModelRequest
from joinery.nodes import agent as agents
from joinery.tools.base import ToolResult, ToolUse


def run(
    monkeypatch: pytest.MonkeyPatch,
    tools: list[FunctionTool],
    script: Script | list[Step],
    node: Mapping[str, Any] | None = None,
    *,
    window: int | None = None,
    **agent: Any,
) -> tuple[Ended, Caller]:
    """Runs one agent with tools of this process."""
    made = {tool.name: tool for tool in tools}
    monkeypatch.setattr(agents, "open_tools", lambda entries, context: made)
    flow = agent_workflow({name: python_tool(name) for name in made}, node, **agent)
    model = Caller(script, window)
    return interpreted(compile_workflow(flow).plan, {}, model), model


def error_of(ended: Ended) -> Any:
    [event] = ended.listener.named("node.failed")
    return event["data"]["error"]


# -- rounds ------------------------------------------------------------------------------------


def test_python_tools_by_both_engines() -> None:
    tools = {
        "add": python_tool(
            "add",
            "def add(a, b):\n    return a + b",
            parameters={"a": {"type": "integer"}, "b": {"type": "integer", "default": 40}},
        ),
        "shout": python_tool(
            "shout", "def shout(text):\n    return text.upper()",
            parameters={"text": {"type": "string"}},
        ),
    }  # fmt: skip
    compiled = compile_workflow(agent_workflow(tools))
    steps: list[Step] = [
        ("Let me see. ", [call("add", {"a": 2}, "c1"), call("shout", {"text": "ok"}, "c2")]),
        "It is 42.",
    ]
    for compiles in (False, True):
        model = Caller(steps)
        if compiles:
            ended = compiled_run(compiled, {}, model)
        else:
            ended = interpreted(compiled.plan, {}, model)
        assert ended.status == "completed"
        assert ended.outputs == {"text": "It is 42."}
        first, second = model.requests
        assert [m.role for m in first.messages] == ["system", "user"]
        assert [m.content for m in first.messages] == ["You look.", "Find it."]
        assert [tool.name for tool in first.tools] == ["add", "shout"]
        assert [(m.role, m.content, m.tool_call_id) for m in second.messages[2:]] == [
            ("assistant", "Let me see. ", ""), ("tool", "42", "c1"), ("tool", "OK", "c2"),
        ]  # fmt: skip
        [used] = ended.listener.named("usage.recorded")
        assert used["data"]["model_calls"] == 2
        assert used["data"]["input_tokens"] == 20


def test_each_agent_sees_its_own_tools_only() -> None:
    tools = {name: python_tool(name) for name in ("one", "two", "three")}
    data = agent_workflow(tools).model_dump(by_alias=True, exclude_unset=True)
    data["agents"] = {"a": {"tools": ["one", "three"]}, "b": {"tools": ["two"]}, "c": {}}
    data["nodes"] = {n: {"type": "agent", "agent": n, "prompt": n} for n in ("a", "b", "c")}
    data["edges"] = ["start -> a -> b -> c -> end"]
    data["outputs"] = {}
    model = Caller(lambda place, request: "done")
    ended = interpreted(compile_workflow(type(agent_workflow(tools))(**data)).plan, {}, model)
    assert ended.status == "completed"
    assert [[t.name for t in r.tools] for r in model.requests] == [["one", "three"], ["two"], []]


def test_a_node_leaves_its_agent_some_of_its_tools() -> None:
    tools = {name: python_tool(name) for name in ("one", "two", "three")}
    data = agent_workflow(tools).model_dump(by_alias=True, exclude_unset=True)
    kept = {"a": ["three", "one"], "b": [], "c": None}
    data["nodes"] = {
        name: {"type": "agent", "agent": "one", "prompt": name, "tools": names}
        for name, names in kept.items()
    }
    data["edges"] = ["start -> a -> b -> c -> end"]
    flow = type(agent_workflow(tools))(**data)
    # The first answer of `a` calls a tool that the agent has and the node left out.
    steps: list[Step] = [[call("two")], "done", "done", "done"]
    for compiles in (False, True):
        model = Caller(steps)
        compiled = compile_workflow(flow)
        if compiles:
            ended = compiled_run(compiled, {}, model)
        else:
            ended = interpreted(compiled.plan, {}, model)
        assert ended.status == "completed"
        seen = [[tool.name for tool in request.tools] for request in model.requests]
        assert seen == [["one", "three"], ["one", "three"], [], ["one", "two", "three"]]
        [refused] = ended.listener.named("tool.completed")
        assert refused["data"]["code"] == "agent.unknown_tool"


def test_who_never_stops_calling_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = FunctionTool(lambda use: use.arguments["x"])
    ended, model = run(
        monkeypatch, [tool], lambda place, _: [call("look", {"x": place})], max_rounds=5
    )
    assert ended.status == "failed"
    assert error_of(ended)["code"] == "agent.no_answer"
    assert len(model.requests) == 5
    assert len(tool.uses) == 4
    assert [r.tool_choice for r in model.requests] == ["auto"] * 4 + ["none"]
    assert "all rounds are used up" in model.requests[-1].messages[-1].content
    rounds = [e["data"] for e in ended.listener.named("agent.round")]
    assert [r["round"] for r in rounds] == [1, 2, 3, 4, 5]
    assert rounds[-1] == {"round": 5, "max_rounds": 5, "calls": 4, "last": "rounds"}
    records = ended.store.nodes(ended.run.run_id)
    assert next(r for r in records if r.node_id == "a").usage["input_tokens"] == 50


def test_an_answer_in_the_last_round_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def script(place: int, request: ModelRequest) -> Step:
        return "so far" if request.tool_choice == "none" else [call("look", {"x": place})]

    ended, _ = run(monkeypatch, [FunctionTool(lambda use: 1)], script, max_rounds=3)
    assert ended.outputs == {"text": "so far"}
    done = ended.listener.named("node.completed")[0]
    assert done["data"]["reason"] == "rounds"


def test_calls_are_bounded_over_all_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = FunctionTool(lambda use: "ok")

    def script(place: int, request: ModelRequest) -> Step:
        if request.tool_choice == "none":
            return "enough"
        return [call("look", {"x": i}) for i in range(3)]

    ended, model = run(monkeypatch, [tool], script, max_calls=4)
    assert ended.outputs == {"text": "enough"}
    assert len(tool.uses) == 4
    told = [m.content for m in model.last()]
    assert told[:4] == ["ok"] * 4
    assert told[4:] == ["Error: No more than 4 calls are allowed."] * 2
    assert ended.listener.named("agent.round")[-1]["data"]["last"] == "calls"


def test_time_is_kept_for_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = FunctionTool(lambda use: time.sleep(0.9) or "slow")

    def script(place: int, request: ModelRequest) -> Step:
        return "in time" if request.tool_choice == "none" else [call("look", {"x": place})]

    ended, model = run(monkeypatch, [tool], script, {"timeout": "1s"})
    assert ended.outputs == {"text": "in time"}
    assert len(model.requests) == 2
    assert ended.listener.named("agent.round")[-1]["data"]["last"] == "time"


# -- calls of one answer -----------------------------------------------------------------------


def test_two_calls_of_one_answer_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    first = FunctionTool(lambda use: time.sleep(0.2) or "slow", "slow")
    second = FunctionTool(lambda use: f"fast {use.arguments['x']}", "fast")
    ended, model = run(
        monkeypatch,
        [first, second],
        [[call("slow", {"x": 1}, "b"), call("fast", {"x": 22}, "a")], "done"],
    )
    assert [(m.tool_call_id, m.content) for m in model.last()] == [("b", "slow"), ("a", "fast 22")]
    assert [e["data"]["tool"] for e in ended.listener.named("tool.called")] == ["slow", "fast"]
    assert [e["data"]["tool"] for e in ended.listener.named("tool.completed")] == ["fast", "slow"]
    record = next(r for r in ended.store.nodes(ended.run.run_id) if r.node_id == "a")
    assert record.streams["call.1.0"]["length"] == len('{"x": 1}')
    assert record.streams["call.1.1"]["length"] == len('{"x": 22}')


def test_readers_run_side_by_side_and_writers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    lock, at_once, seen = threading.Lock(), 0, []

    def work(use: ToolUse) -> str:
        nonlocal at_once
        with lock:
            at_once += 1
            seen.append((use.arguments["x"], at_once))
        time.sleep(0.15)
        with lock:
            at_once -= 1
        return str(use.arguments["x"])

    reads, writes = FunctionTool(work, "read"), FunctionTool(work, "write", read_only=False)
    calls = [call("read", {"x": i}) for i in range(8)]
    calls += [call("write", {"x": 8}), call("write", {"x": 9}), call("read", {"x": 10})]
    began = time.monotonic()
    _, model = run(monkeypatch, [reads, writes], [calls, "done"])
    took = time.monotonic() - began
    assert [m.content for m in model.last()] == [str(i) for i in range(11)]
    assert max(count for _, count in seen) == 4
    assert [count for x, count in seen if x in (8, 9)] == [1, 1]
    assert took < 11 * 0.15


def test_calls_without_ids_of_their_own_get_some(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = FunctionTool(lambda use: use.arguments["x"])
    calls = [call("look", {"x": 1}), call("look", {"x": 2}, "same"), call("look", {"x": 3}, "same")]
    _, model = run(monkeypatch, [tool], [calls, "done"])
    said = model.last("assistant")[0]
    assert [c.id for c in said.tool_calls] == ["call_1_0", "same", "call_1_2"]
    assert [m.tool_call_id for m in model.last()] == ["call_1_0", "same", "call_1_2"]


def test_more_calls_than_an_answer_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = FunctionTool(lambda use: "ok")
    calls = [call("look", {"x": i}) for i in range(130)]
    _, model = run(monkeypatch, [tool], [calls, "done"], max_calls=200)
    assert len(tool.uses) == len(model.last()) == 128
    assert "2 more calls of your answer were dropped" in model.last()[-1].content


# -- what can be wrong -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "told", "code"),
    [
        (call("nothing"), "There is no tool 'nothing'. The tools are: look", "agent.unknown_tool"),
        (call("look", '{"x": 1'), "The arguments are not JSON", "agent.not_json"),
        (call("look", "[1]"), "must be a JSON object", "agent.arguments"),
        (call("look", {"x": "one"}), "x: 'one' is not of type 'integer'", "agent.arguments"),
        (call("look", "[" * 100_000), "nested too deeply", "agent.not_json"),
    ],
)
def test_a_call_that_cannot_be_made_is_told(
    monkeypatch: pytest.MonkeyPatch, wrong: Any, told: str, code: str
) -> None:
    tool = FunctionTool(lambda use: "fine")
    ended, model = run(monkeypatch, [tool], [[wrong], [call("look", {"x": 1})], "done"])
    assert ended.outputs == {"text": "done"}
    assert told in model.last()[0].content
    assert model.last()[0].is_error
    assert model.last()[1].content == "fine"
    [refused, made] = ended.listener.named("tool.completed")
    assert (refused["data"]["code"], refused["data"]["ok"]) == (code, False)
    assert made["data"]["ok"]
    assert len(tool.uses) == 1


def test_a_model_that_only_makes_invalid_calls_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, model = run(
        monkeypatch, [FunctionTool(lambda use: 1)], lambda p, _: [call(f"no{p}"), call("look", "{")]
    )
    assert error_of(ended)["code"] == "agent.invalid_calls"
    assert len(model.requests) == 3


def test_what_raises_is_told_without_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(use: ToolUse) -> str:
        raise LookupError("password=123")

    ended, model = run(monkeypatch, [FunctionTool(fails)], [[call("look")], "done"])
    assert model.last()[0].content == "Error: The tool failed: LookupError."
    assert ended.listener.named("tool.completed")[0]["data"]["code"] == "agent.tool_raised"
    assert ended.outputs == {"text": "done"}


def test_what_python_code_raises_is_told_with_its_line() -> None:
    tools = {"f": python_tool("f", "def f():\n    raise LookupError('no such row')")}
    model = Caller([[call("f")], "done"])
    ended = interpreted(compile_workflow(agent_workflow(tools)).plan, {}, model)
    assert ended.outputs == {"text": "done"}
    assert model.last()[0].content.startswith("Error: LookupError: no such row (line 2")


def test_a_result_that_is_no_json_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (object(), float("nan")):
        tool = FunctionTool(lambda use, value=value: ToolResult(data=[value]))  # type: ignore[misc]
        _, model = run(monkeypatch, [tool], [[call("look")], "done"])
        assert model.last()[0].content.startswith("Error: The result cannot be said in JSON")


def test_a_tool_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    hangs = FunctionTool(lambda use: release.wait(20) and "late", "hang", timeout_s=0.5)
    quick = FunctionTool(lambda use: "here", "quick")
    began = time.monotonic()
    _, model = run(monkeypatch, [hangs, quick], [[call("hang"), call("quick")], "done"])
    assert time.monotonic() - began < 3
    assert [m.content for m in model.last()] == [
        "Error: The tool did not end within 0.5 s.", "here",
    ]  # fmt: skip
    assert hangs.uses[0].cancelled()
    release.set()


def test_a_schema_that_is_none_is_an_error_before_any_call(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [{"type": "nonsense"}, {"properties": {"x": 7}}]
    for parameters in broken:
        tool = FunctionTool(lambda use: 1, parameters=parameters)
        ended, model = run(monkeypatch, [tool], ["never"])
        assert error_of(ended)["code"] == PermanentToolUnusable.code
        assert "look" in error_of(ended)["message"]
        assert not model.requests


def test_a_schema_that_refers_elsewhere_makes_us_fetch_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parameters = {"properties": {"x": {"$ref": "http://127.0.0.1:9/schema.json"}}}
    tool = FunctionTool(lambda use: 1, parameters=parameters)
    ended, _ = run(monkeypatch, [tool], [[call("look", {"x": 1})], "never"])
    assert error_of(ended)["code"] == PermanentToolUnusable.code
    assert not tool.uses


def test_a_failure_of_the_moment_is_tried_again_under_its_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def flaky(use: ToolUse) -> str:
        if len(tool.uses) < 3:
            raise TransientStore("busy")
        return "third time"

    tool = FunctionTool(flaky)
    ended, model = run(monkeypatch, [tool], [[call("look")], "done"])
    assert model.last()[0].content == "third time"
    assert len({use.key for use in tool.uses}) == 1
    assert len(tool.uses) == 3
    [called] = ended.listener.named("tool.called")
    assert called["data"]["key"] == tool.uses[0].key == f"{ended.run.run_id}-0-_-1.0"


def test_the_caller_comes_from_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = FunctionTool(lambda use: "ok", parameters={"type": "object"})
    given = {"owner": "somebody else", "run_id": "run_other", "session_id": "theirs"}
    ended, _ = run(monkeypatch, [tool], [[call("look", given)], "done"])
    [use] = tool.uses
    assert (use.owner, use.run_id, use.session_id) == ("me", ended.run.run_id, None)


def test_the_same_failure_is_told_and_then_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(use: ToolUse) -> ToolResult:
        return ToolResult("no such page", is_error=True)

    tool = FunctionTool(fails)
    ended, model = run(
        monkeypatch, [tool], lambda place, _: [call("look", {"x": 1})], max_rounds=20
    )
    assert error_of(ended)["code"] == "agent.same_failure"
    assert error_of(ended)["details"] == {"tool": "look", "times": 6}
    assert len(tool.uses) == 6
    told = [m.content for m in model.last()]
    assert told[:4] == ["Error: no such page"] * 4
    assert "failed 5 times in the same way" in told[4]


def test_two_failures_are_told_of_and_the_third_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = FunctionTool(lambda use: ToolResult(f"no {use.arguments['x']}", is_error=True))
    ended, _ = run(
        monkeypatch, [tool], lambda place, _: [call("look", {"x": (place - 1) // 5})],
        max_rounds=50,
    )  # fmt: skip
    assert error_of(ended)["code"] == "agent.same_failure"
    assert len(tool.uses) == 15


def test_different_failures_are_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = FunctionTool(lambda use: ToolResult(f"no {use.arguments['x']}", is_error=True))

    def script(place: int, request: ModelRequest) -> Step:
        return "nothing there" if place > 12 else [call("look", {"x": place})]

    ended, _ = run(monkeypatch, [tool], script, max_rounds=20)
    assert ended.outputs == {"text": "nothing there"}


def test_an_empty_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = FunctionTool(lambda use: "ok")
    ended, model = run(monkeypatch, [tool], [[call("look")], "", " ", "", "at last"])
    assert ended.outputs == {"text": "at last"}
    assert [m.content for m in model.last("user")] == ["Find it."] + [
        "Your answer was empty. Please answer."
    ] * 3


def test_a_model_that_stays_silent_fails_the_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    node = {"retry": {"attempts": 2, "backoff": "1ms"}}
    ended, model = run(monkeypatch, [FunctionTool(lambda use: 1)], lambda p, _: "", node)
    assert error_of(ended)["details"]["cause"]["code"] == "output_invalid"
    assert len(model.requests) == 8


# -- structured output -------------------------------------------------------------------------

SCORE = {"output": {"score": {"type": "integer"}}}


def test_data_after_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = FunctionTool(lambda use: "seven")
    ended, model = run(monkeypatch, [tool], [[call("look")], "I say seven.", '{"score": 7}'], SCORE)
    assert ended.status == "completed"
    assert ended.outputs == {"text": '{"score": 7}'}
    assert [r.schema is None for r in model.requests] == [True, True, False]
    assert model.requests[-1].tool_choice == "none"
    assert model.requests[-1].messages[-2].content == "I say seven."


def test_data_at_once_needs_no_second_question(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, model = run(monkeypatch, [FunctionTool(lambda use: 1)], ['{"score": 7}'], SCORE)
    assert ended.outputs == {"text": '{"score": 7}'}
    assert len(model.requests) == 1


def test_data_that_is_wrong_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[Step] = ["words", '{"score": "high"}', "{", '{"score": 7}']
    ended, model = run(monkeypatch, [FunctionTool(lambda use: 1)], steps, SCORE)
    assert ended.outputs == {"text": '{"score": 7}'}
    told = [m.content for m in model.last("user")]
    assert "score: 'high' is not of type 'integer'" in told[2]
    assert "not JSON" in told[3]


def test_data_that_stays_wrong_fails_the_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    node = {**SCORE, "retry": {"attempts": 1}}
    ended, model = run(monkeypatch, [FunctionTool(lambda use: 1)], lambda p, _: "words", node)
    assert error_of(ended)["details"]["cause"]["code"] == "output_invalid"
    assert len(model.requests) == 4


# -- size --------------------------------------------------------------------------------------


def test_a_persona_of_a_megabyte(monkeypatch: pytest.MonkeyPatch) -> None:
    persona = "wise " * 210_000
    ended, model = run(
        monkeypatch, [FunctionTool(lambda use: 1)], [[call("look")], "done"], persona=persona
    )
    assert ended.outputs == {"text": "done"}
    assert all(r.messages[0].content == persona for r in model.requests)
    ended, model = run(
        monkeypatch, [FunctionTool(lambda use: 1)], ["never"], window=8192, persona=persona
    )
    assert error_of(ended)["code"] == "context_too_long"
    assert error_of(ended)["details"]["window_tokens"] == 8192
    assert not model.requests


def test_the_plan_counts_the_rounds() -> None:
    def calls(**agent: Any) -> Any:
        flow = agent_workflow({"f": python_tool("f")}, **agent)
        return compile_workflow(flow).report.to_dict()["model_calls"]

    assert calls() == {"min": 1, "expected": limits.ASSUMED_AGENT_ROUNDS, "max": 10}
    assert calls(max_rounds=2) == {"min": 1, "expected": 2, "max": 2}
    assert compile_workflow(agent_workflow({})).report.model_calls.max == 1
    flow = agent_workflow({"f": python_tool("f")}, SCORE, max_rounds=4)
    report = compile_workflow(flow).report
    assert report.to_dict()["model_calls"] == {"min": 1, "expected": 4, "max": 5}
    assert report.price_usd.min < report.price_usd.expected < report.price_usd.max
