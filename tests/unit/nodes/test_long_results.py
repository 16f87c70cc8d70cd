"""Results that are too long to be told, and conversations that are."""

from __future__ import annotations

import json
import os
import re
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.agents import Caller, FunctionTool, Step, agent_workflow, call, python_tool
from kit.bad_days import Clock, patience, play
from kit.engines import Ended

from joinery.aws.items import dump
from joinery.compiler.compile import compile_workflow
from joinery.llm.breaker import Breaker, MemoryBreakers
from joinery.llm.types import ModelRequest
from joinery.llm.window import estimate_prompt
from joinery.model_errors import PermanentContextTooLong, TransientModelUnavailable
from joinery.nodes import agent as agents
from joinery.nodes.conversation import limit_of
from joinery.tools import cutting, reading, showing
from joinery.tools.base import ToolResult
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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.lists(inner, min_size=33, max_size=45)
    | st.dictionaries(st.text("aö.0\" ", max_size=2), inner, max_size=4),
    max_leaves=60,
)  # fmt: skip


@given(JSON)
@settings(max_examples=int(os.environ.get("JOINERY_EXAMPLES", "60")), deadline=None)
def test_the_whole_is_the_json_and_places_are_those_of_items(data: Any) -> None:
    told = cutting.of_data(data)
    assert told.whole == json.dumps(data, ensure_ascii=False)
    for one in told.lists:
        for number, place in enumerate(one.places):
            item, _ = json.JSONDecoder().raw_decode(told.whole, place)
            assert item == _at(data, one.path)[number * one.every]


def _at(data: Any, path: str) -> Any:
    steps = re.findall(r'"(?:[^"\\]|\\.)*"|[^."]+', path)
    for step in steps:
        if isinstance(data, list):
            data = data[int(step)]
        else:
            data = data[json.loads(step) if step.startswith('"') else step]
    return data


def test_long_texts_in_data_leave_the_rest_of_it_whole() -> None:
    data = {"text": "a" * 50_000, "more": ["b" * 5_000] * 3, "next_cursor": "c7"}
    told = cutting.of_data(data)
    said = json.loads(told.text)
    assert len(told.text) <= 20_000
    assert said["next_cursor"] == "c7"
    assert said["text"].startswith("a" * 2_000 + "\n[… 46,000 characters left out …]")
    assert said["more"] == [f"{'b' * 2_000}\n[… 1,000 characters left out …]\n{'b' * 2_000}"] * 3


# -- what viewers are shown --------------------------------------------------------------------


@pytest.mark.parametrize(("length", "cut"), [(20_000, False), (20_001, True)])
def test_where_the_text_that_viewers_see_is_cut(length: int, cut: bool) -> None:
    shown = showing.of_text("x" * length)
    assert shown.cut == (("text",) if cut else ())
    middle = "\n[… 1 characters left out …]\n" if cut else ""
    assert shown.result == "x" * 10_000 + middle + "x" * 10_000


@pytest.mark.parametrize(
    ("length", "page", "ends"),
    [
        (128, False, None), (129, False, (48, 16)), (1_000, False, (48, 16)),
        (500, True, None), (501, True, (180, 60)), (5_000, True, (180, 60)),
    ],
)  # fmt: skip
def test_where_lists_that_viewers_see_are_cut(
    length: int, page: bool, ends: tuple[int, int] | None
) -> None:
    data: Any = {"rows": list(range(length)), **({"next_cursor": "c"} if page else {})}
    shown = showing.of_data(data, json.dumps(data))
    if ends is None:
        assert (shown.result, shown.cut) == (data, ())
        return
    head, tail = ends
    middle = f"… {length - head - tail:,} of {length:,} items left out …"
    rows = [*range(head), middle, *range(length - tail, length)]
    assert shown.result == {**data, "rows": rows}
    assert shown.cut == ("items",)


def test_the_model_is_told_less_than_viewers_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = FunctionTool(lambda use: {"rows": list(range(100))})
    ended, model = run(monkeypatch, [tool], [[call("look")], "done"])
    [done] = ended.listener.named("tool.completed")
    assert done["data"]["result"] == {"rows": list(range(100))}
    assert "result_cut" not in done["data"]
    assert "… 72 of 100 items left out …" in model.last()[0].content


def test_what_is_too_large_in_the_end_is_a_text_for_viewers() -> None:
    data: Any = {"rows": [{"text": "y" * 1_000}] * 200}
    shown = showing.of_data(data, json.dumps(data))
    assert shown.cut == ("items", "text")
    assert all(len(row["text"]) < 300 for row in shown.result["rows"] if isinstance(row, dict))
    assert len(shown.result["rows"]) == 48 + 1 + 16
    data = {"rows": list(range(200)), "names": {f"name {i}": i for i in range(3_000)}}
    shown = showing.of_data(data, json.dumps(data))
    assert shown.cut == ("items", "size")
    assert shown.result.startswith('{"rows": [0, 1, 2')
    assert len(shown.result) < 20_100
    long = {"a": "z" * 30_000, "next": 7}
    shown = showing.of_data(long, json.dumps(long))
    assert (shown.result["next"], shown.cut) == (7, ("text",))
    assert len(shown.result["a"]) < 10_100


@pytest.mark.parametrize("text", ["語" * 20_000, "\x00" * 20_000, "𝄞" * 30_000, "\ud83d" * 9])
def test_what_viewers_see_fits_into_a_message(text: str) -> None:
    for shown in (showing.of_text(text), showing.of_data([text], json.dumps([text]))):
        assert len(dump({"data": {"result": shown.result}}).encode()) < 32 * 1024


def test_why_a_call_failed_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = FunctionTool(lambda use: ToolResult("no such page", is_error=True))
    steps: list[Step] = [[call("look"), call("lok")], "done"]
    ended, _ = run(monkeypatch, [tool], steps)
    shown = {e["data"]["tool"]: e["data"]["result"] for e in ended.listener.named("tool.completed")}
    assert shown["look"] == "no such page"
    assert "no tool 'lok'" in shown["lok"]


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


ROWS = [{"id": i, "name": f"row {i}", "tags": list(range(i % 3))} for i in range(5_000)]


def pages(
    monkeypatch: pytest.MonkeyPatch, data: Any, asked: list[dict[str, Any]]
) -> tuple[list[str], str]:
    """Returns what is read of data, and what the model is told of it at first."""
    steps: list[Step] = [
        [call("look")],
        [call("read_result", {"result": "1.0", **one}) for one in asked],
        "done",
    ]
    _, model = run(monkeypatch, [FunctionTool(lambda use: data)], steps)
    first, *read = [m.content for m in model.last()]
    return read, first


def test_items_are_read_by_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    read, first = pages(
        monkeypatch,
        {"data": {"rows": ROWS}, "total": 5_000, "small": [1]},
        [
            {"list": "data.rows", "item": 20, "items": 3},
            {"list": "data.rows", "item": 4_998},
            {"list": "data.rows"},
            {"list": "data.rows", "item": 777, "items": 128},
            {"list": "data.rows", "item": 5_000},
            {"list": "small"},
            {"item": 3},
        ],
    )
    assert (
        '{"result": "1.0", "list": "data.rows", "item": 0} reads items of data.rows (5,000 items).'
        in first
    )

    def items(text: str) -> tuple[list[Any], str]:
        body, _, which = text.rpartition("\n")
        return json.loads(body), which

    assert items(read[0]) == (ROWS[20:23], "[items 20 to 22 of 5000]")
    assert items(read[1]) == (ROWS[4_998:], "[items 4998 to 4999 of 5000]")
    assert items(read[2]) == (ROWS[:20], "[items 0 to 19 of 5000]")
    assert items(read[3]) == (ROWS[777:905], "[items 777 to 904 of 5000]")
    assert read[4] == "[nothing: the list has 5,000 items]"
    known = "these are: data.rows (5,000 items)"
    assert read[5] == f"Error: 'small' is no long list of the result '1.0'; {known}"
    assert read[6] == f"Error: '' is no long list of the result '1.0'; {known}"


def test_a_page_of_items_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    data = [float(i) if i % 2 else "w" * 3_000 for i in range(200)]
    data[100] = "v" * 100_000
    read, first = pages(monkeypatch, data, [{"item": 1}, {"item": 99}, {"item": 100}])
    assert "reads items of the result (200 items)" in first
    assert read[0].endswith("[items 1 to 7 of 200]")
    assert json.loads(read[0].rpartition("\n")[0]) == data[1:8]
    assert read[1] == "[99.0]\n[items 99 to 99 of 200]"
    assert "left out" in read[2]
    assert "[items 100 to 100 of 200]" in read[2]
    assert "[Item 100 has 100,002 characters: " in read[2]
    start = json.dumps(data).index('"vvv')
    assert f'{{"result": "1.0", "start": {start}}}' in read[2]


def test_an_item_too_long_to_be_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    data = ["u" * 1_100_000] * 40
    read, _ = pages(monkeypatch, data, [{"item": 39}])
    place = 1 + 39 * 1_100_004
    assert read == [f"Error: item 39 is too long to be read as one: it begins at character {place}"]


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
