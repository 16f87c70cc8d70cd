"""Results that are too long to be told, and conversations that are."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from kit.agents import Caller, FunctionTool, Step, agent_workflow, call, python_tool
from kit.bad_days import Clock, patience, play
from kit.engines import Ended

from joinery.compiler.compile import compile_workflow
from joinery.llm.breaker import Breaker, MemoryBreakers
from joinery.llm.types import ModelRequest
from joinery.llm.window import estimate_prompt
from joinery.model_errors import PermanentContextTooLong, TransientModelUnavailable
from joinery.nodes import agent as agents
from joinery.nodes.conversation import limit_of
from joinery.tools import cutting, reading
from joinery.workflow.checks.code import READ_RESULT


def run(
    monkeypatch: pytest.MonkeyPatch,
    tools: list[FunctionTool],
    script: Any,
    *,
    window: int | None = None,
    fit: str = "fail",
    **agent: Any,
) -> tuple[Ended, Caller]:
    made = {tool.name: tool for tool in tools}
    monkeypatch.setattr(agents, "open_tools", lambda entries, context: made)
    flow = agent_workflow({name: python_tool(name) for name in made}, {"fit": fit}, **agent)
    model = Caller(script, window)
    clock = Clock()
    # A model that fails at nothing but summaries is no model that is down.
    calls = patience(clock, breaker=Breaker(MemoryBreakers(), failures=0, clock=clock))
    return play(compile_workflow(flow).plan, model, calls), model


# -- cutting -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "cut"), [(0, False), (20_000, False), (20_001, True)])
def test_where_text_is_cut(length: int, cut: bool) -> None:
    told = cutting.of_text("é" * length)
    assert told.cut is cut
    assert len(told.whole) == length
    if cut:
        assert told.text == "é" * 10_000 + "\n[… 1 characters left out …]\n" + "é" * 10_000


@pytest.mark.parametrize(("length", "cut"), [(32, False), (33, True), (1_000, True)])
def test_where_lists_are_cut(length: int, cut: bool) -> None:
    told = cutting.of_data({"rows": list(range(length)), "total": length})
    assert told.cut is cut
    assert json.loads(told.whole)["rows"] == list(range(length))
    rows = json.loads(told.text)["rows"]
    if cut:
        middle = f"… {length - 28:,} of {length:,} items left out …"
        assert rows == [*range(20), middle, *range(length - 8, length)]
    else:
        assert rows == list(range(length))


def test_lists_in_lists_and_then_text() -> None:
    data = [[f"{i}.{j}" * 50 for j in range(40)] for i in range(40)]
    told = cutting.of_data(data)
    assert told.cut
    assert len(told.text) <= 20_000 + 60
    assert "characters left out" in told.text


def test_the_name_is_reserved() -> None:
    assert reading.NAME == READ_RESULT


# -- reading the rest --------------------------------------------------------------------------


def test_a_result_of_50_mb(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = "".join(f"line {i:07d}\n" for i in range(50_000_000 // 13 + 1))
    tool = FunctionTool(lambda use: whole)

    def script(place: int, request: ModelRequest) -> Step:
        if place == 1:
            assert [t.name for t in request.tools] == ["look"]
            return [call("look")]
        if place == 2:
            assert [t.name for t in request.tools] == ["look", "read_result"]
            assert len(request.messages[-1].content) < 20_300
            return [
                call("read_result", {"result": "1.0", "start": 13 * 2_000_000, "length": 26}),
                call("read_result", {"result": "1.0", "start": len(whole) - 5}),
                call("read_result", {"result": "1.0", "start": len(whole)}),
                call("read_result", {"result": "7.0"}),
                call("read_result", {"result": "../secret"}),
            ]
        return "read"

    began = time.monotonic()
    ended, model = run(monkeypatch, [tool], script)
    assert time.monotonic() - began < 30
    assert ended.outputs == {"text": "read"}
    told = [m.content for m in model.last()]
    assert f'{len(whole):,} characters. read_result with {{"result": "1.0"' in told[0]
    assert told[1].startswith("line 2000000\nline 2000001\n\n[characters 26000000 to 26000026 of")
    assert told[2].startswith("6153\n\n[characters")
    assert told[3] == f"[nothing: the result has {len(whole):,} characters]"
    assert told[4] == "Error: there is no result '7.0'"
    assert told[5] == "Error: there is no result '../secret'"
    first = ended.listener.named("tool.completed")[0]["data"]
    assert (first["chars"], first["cut"]) == (len(whole), True)


def test_a_short_result_can_be_read_again_too(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = FunctionTool(lambda use: list(range(40)) if use.arguments["x"] else "short")
    steps: list[Step] = [
        [call("look", {"x": 0}), call("look", {"x": 1})],
        [call("read_result", {"result": "1.0"}), call("read_result", {"result": "1.1"})],
        "done",
    ]
    _, model = run(monkeypatch, [tool], steps)
    told = [m.content for m in model.last()]
    assert told[2] == "short\n[characters 0 to 5 of 5]"
    assert told[3].startswith(json.dumps(list(range(40))))


# -- compaction --------------------------------------------------------------------------------

WINDOW = 8_192


def endless(rounds: int, window: int = WINDOW, summary: Any = "In short: nothing yet.") -> Any:
    """Returns a script of so many rounds that fails if a request passes the window."""

    def script(place: int, request: ModelRequest) -> Step | Exception:
        assert estimate_prompt(request.messages) <= window
        if not request.tools:
            return summary() if callable(summary) else summary
        script.round += 1  # type: ignore[attr-defined]
        number = script.round  # type: ignore[attr-defined]
        return "the end" if number > rounds else [call("look", {"x": number}, f"c{number}")]

    script.round = 0  # type: ignore[attr-defined]
    return script


def page(number: int, chars: int = 2_000) -> str:
    return f"page {number}: " + "word " * (chars // 5)


def test_a_long_conversation_stays_inside_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = FunctionTool(lambda use: page(use.arguments["x"]))
    ended, model = run(monkeypatch, [tool], endless(60), window=WINDOW, max_rounds=80, max_calls=80)
    assert ended.outputs == {"text": "the end"}
    assert len(tool.uses) == 60
    compactions = [e["data"] for e in ended.listener.named("context.compacted")]
    assert len(compactions) > 3
    limit = limit_of(WINDOW, (tool.spec,), {})
    for each in compactions:
        assert each["by"] == "model"
        assert each["before_tokens"] > limit >= each["after_tokens"]
    last = model.requests[-1].messages
    assert [m.content for m in last[:2]] == ["You look.", "Find it."]
    told = [m.content for m in last if m.role == "tool"]
    # The first two and the last two exchanges are word for word.
    assert told[:2] == [page(1), page(2)]
    assert told[-2:] == [page(59), page(60)]
    [summary] = [m.content for m in last if "in short" in m.content and m.role == "user"]
    assert "In short: nothing yet." in summary
    [record] = [r for r in ended.store.nodes(ended.run.run_id) if r.node_id == "a"]
    assert record.usage["model_calls"] == len(model.requests) == 61 + len(compactions)


@pytest.mark.parametrize("failure", [TransientModelUnavailable("down"), ""])
def test_a_summary_that_fails_is_a_list(
    monkeypatch: pytest.MonkeyPatch, failure: Exception | str
) -> None:
    tool = FunctionTool(lambda use: page(use.arguments["x"]))
    ended, model = run(
        monkeypatch, [tool], endless(20, summary=lambda: failure), window=WINDOW, max_rounds=80
    )
    assert ended.outputs == {"text": "the end"}
    compactions = ended.listener.named("context.compacted")
    assert {e["data"]["by"] for e in compactions} == {"list"}
    [summary] = [m.content for m in model.last("user") if "in short" in m.content]
    assert 'Called look({"x": 3})' in summary


def test_one_result_that_fills_the_window_is_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = FunctionTool(lambda use: "x1" * 9_900)
    ended, _ = run(monkeypatch, [tool], endless(3), window=WINDOW)
    assert ended.outputs == {"text": "the end"}
    assert ended.listener.named("context.compacted")[0]["data"]["by"] == "cut"


def test_a_window_that_we_do_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider refuses what is too long, and says by how much or does not."""
    tool = FunctionTool(lambda use: page(use.arguments["x"]))

    def script(place: int, request: ModelRequest) -> Step:
        if request.tools and estimate_prompt(request.messages) > 6_000:
            return PermanentContextTooLong("too long")
        step: Step = inner(place, request)
        return step

    inner = endless(30)
    ended, _ = run(monkeypatch, [tool], script, max_rounds=80)
    assert ended.outputs == {"text": "the end"}
    assert len(tool.uses) == 30
    assert ended.listener.named("context.compacted")


def test_what_cannot_be_made_shorter_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, model = run(
        monkeypatch,
        [FunctionTool(lambda use: "ok")],
        lambda place, request: PermanentContextTooLong("too long"),
    )
    assert ended.status == "failed"
    assert len(model.requests) == 1
