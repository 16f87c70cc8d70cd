"""Checks of answers: what is not true is told, and asked for again, as with a schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from kit.agents import Caller, FunctionTool, Script, Step, agent_workflow, call, python_tool
from kit.engines import Ended, compiled_run, interpreted
from kit.workflows import workflow

from joinery.compiler.compile import compile_workflow
from joinery.nodes import agent as agents
from joinery.nodes import answers

SCORE = {"score": {"type": "integer"}, "why": {"type": "array"}}
IN_BOUNDS = "{{ output.score <= inputs.most }}"
WHY = {
    "that": "{{ $count(output.why) >= 2 }}",
    "say": "Give two reasons, not {{ $count(output.why) }}.",
}
GOOD = '{"score": 3, "why": ["a", "b"]}'
FIRST = '{"score": 30, "why": ["a"]}'


def flow(node: Mapping[str, Any], **more: Any) -> Any:
    nodes = {"a": {"type": "llm", "prompt": "Judge.", "retry": {"backoff": "1ms"}, **node}}
    return compile_workflow(
        workflow(
            ["start -> a -> end"],
            nodes,
            inputs={"most": {"type": "integer", "default": 10}},
            outputs={"text": "{{ nodes.a.text ?? '' }}"},
            **more,
        )
    )


def by(engine: str, compiled: Any, script: Script | list[Step]) -> tuple[Ended, Caller]:
    model = Caller(script)
    if engine == "machine":
        return compiled_run(compiled, {}, model), model
    return interpreted(compiled.plan, {}, model), model


def rejections(ended: Ended) -> list[Any]:
    return [event["data"] for event in ended.listener.named("output.rejected")]


def failure(ended: Ended) -> Any:
    [event] = ended.listener.named("node.failed")
    return event["data"]["error"]


@pytest.mark.parametrize("engine", ["interpreter", "machine"])
def test_the_model_is_told_which_checks_are_not_true(engine: str) -> None:
    compiled = flow({"output": SCORE, "check": [IN_BOUNDS, "{{ output.score > 0 }}", WHY]})
    ended, model = by(engine, compiled, [FIRST, GOOD])
    assert (ended.status, ended.outputs) == ("completed", {"text": GOOD})
    first = "This must be true of it: output.score <= inputs.most"
    second = "Give two reasons, not 1."
    assert rejections(ended) == [
        {
            "attempt": 1,
            "problems": [first, second],
            "checks": [
                {"check": 1, "that": "output.score <= inputs.most", "say": first},
                {"check": 3, "that": "$count(output.why) >= 2", "say": second},
            ],
            "reason": "stop",
        }
    ]
    told = (
        f"Your answer was rejected:\n- {first}\n- {second}\n"
        "Answer again, in full, with nothing but JSON that matches the schema."
    )
    assert [m.content for m in model.requests[1].messages] == ["Judge.", FIRST, told]


def test_what_fails_to_the_end_is_output_invalid_with_every_check() -> None:
    compiled = flow({"output": SCORE, "check": [IN_BOUNDS, WHY]})
    ended, model = by("interpreter", compiled, lambda place, _: FIRST)
    assert len(model.requests) == 3
    assert [(r["attempt"], len(r["checks"])) for r in rejections(ended)] == [(1, 2), (2, 2), (3, 2)]
    cause = failure(ended)["details"]["cause"]
    assert cause["code"] == "output_invalid"
    assert [c["check"] for c in cause["details"]["checks"]] == [1, 2]
    assert cause["details"]["problems"] == [c["say"] for c in cause["details"]["checks"]]


def test_what_has_the_wrong_form_is_not_checked() -> None:
    ended, _ = by(
        "interpreter", flow({"output": SCORE, "check": IN_BOUNDS}), ['{"score": 99}', GOOD]
    )
    [rejected] = rejections(ended)
    assert rejected["problems"] == ["answer: 'why' is a required property"]
    assert "checks" not in rejected


def test_text_is_checked_without_a_schema() -> None:
    short = {"that": "{{ $length(text) < 10 }}", "say": "Shorter."}
    ended, model = by("interpreter", flow({"check": short}), ["far too long for this", "short"])
    assert ended.outputs == {"text": "short"}
    assert model.requests[1].messages[-1].content == (
        "Your answer was rejected:\n- Shorter.\nAnswer again, in full."
    )


@pytest.mark.parametrize(
    ("that", "said"),
    [
        ("{{ output.why[0].grade > 3 }}", "there is no value at output.why[0].grade"),
        ("{{ output.score }}", "gave int, not true or false"),
        ("{{ $number(text) > 1 }}", "could not convert"),
    ],
)
@pytest.mark.parametrize("engine", ["interpreter", "machine"])
def test_a_check_that_cannot_be_evaluated_is_an_error_of_its_own(
    engine: str, that: str, said: str
) -> None:
    compiled = flow({"output": SCORE, "check": [IN_BOUNDS, that]})
    ended, model = by(engine, compiled, lambda place, _: GOOD)
    assert ended.status == "failed"
    error = failure(ended)
    assert error["code"] == "output_check"
    assert "check 2 of node 'a' cannot be evaluated" in error["message"]
    assert said in error["message"]
    assert (error["details"]["node"], error["details"]["check"]) == ("a", 2)
    assert len(model.requests) == 1


def test_a_long_answer_is_not_repeated_in_the_error() -> None:
    compiled = flow({"check": "{{ $number(text) > 1 }}"})
    ended, _ = by("interpreter", compiled, ["no number " * 1_000])
    error = failure(ended)
    assert error["code"] == "output_check"
    assert len(json.dumps(error)) < 2_000


def test_what_a_check_says_is_cut_and_never_evaluated() -> None:
    told = {"that": "{{ text = 'yes' }}", "say": "Not this: {{ text }}"}
    wrong = "{{ inputs.most }} " * 200
    ended, _ = by("interpreter", flow({"check": told}), [wrong, "yes"])
    [rejected] = rejections(ended)
    assert len(rejected["problems"][0]) == 1_000
    assert rejected["problems"][0].startswith("Not this: {{ inputs.most }} {{")
    assert rejected["problems"][0].endswith("…")


@pytest.mark.parametrize("engine", ["interpreter", "machine"])
def test_a_check_sees_what_the_prompt_may_read(engine: str) -> None:
    nodes: dict[str, Any] = {
        "names": {"type": "template", "template": "x"},
        "each": {"type": "iterate", "items": ["u", "v"], "concurrency": 1},
        "a": {
            "type": "llm", "prompt": "Write.", "retry": {"backoff": "1ms"},
            "check": "{{ text = nodes.names.text & item & $string(nodes.each.index) }}",
        },
    }  # fmt: skip
    edges = ["start -> names -> each", "each.item -> a", "each.done -> end"]
    compiled = compile_workflow(workflow(edges, nodes, outputs={"all": "{{ nodes.a.text }}"}))
    ended, _ = by(engine, compiled, ["xv1", "xu0", "xu0", "xv1"])
    assert ended.outputs == {"all": ["xu0", "xv1"]}
    assert [m["path"] for m in ended.listener.named("output.rejected")] == ["0", "1"]


def test_a_check_sees_the_round_before() -> None:
    nodes: dict[str, Any] = {
        "a": {
            "type": "llm", "prompt": "Go on.", "retry": {"backoff": "1ms"},
            "check": {
                "that": "{{ text != (loop.previous.a.text ?? '') }}",
                "say": "Something else than {{ loop.previous.a.text ?? '' }}.",
            },
        },
        "again": {"type": "loop", "max_rounds": 2},
    }  # fmt: skip
    edges = ["start -> a -> again", "again.repeat -> a", "again.done -> end"]
    compiled = compile_workflow(workflow(edges, nodes, outputs={"x": "{{ nodes.a.text }}"}))
    ended, model = by("interpreter", compiled, ["one", "one", "two"])
    assert ended.outputs == {"x": "two"}
    assert "- Something else than one." in model.requests[-1].messages[-1].content


def test_the_price_counts_an_answer_with_checks_as_one_with_a_schema() -> None:
    plain, checked = flow({"output": SCORE}), flow({"output": SCORE, "check": [IN_BOUNDS, WHY]})
    assert checked.report == replace(plain.report, plan_bytes=checked.report.plan_bytes)


# -- agents with tools ---------------------------------------------------------------------


def run(
    monkeypatch: pytest.MonkeyPatch, steps: Script | list[Step], node: Mapping[str, Any]
) -> tuple[Ended, Caller]:
    tool = FunctionTool(lambda use: "seven")
    monkeypatch.setattr(agents, "open_tools", lambda entries, context: {"look": tool})
    compiled = compile_workflow(agent_workflow({"look": python_tool("look")}, node))
    return by("interpreter", compiled, steps)


AGENT = {
    "output": {"score": {"type": "integer"}},
    "check": {"that": "{{ output.score < 10 }}", "say": "Below ten."},
}


def test_an_agent_tells_its_model_and_its_viewers(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[Step] = [
        [call("look")],
        "I say 70.",
        '{"score": "x"}',
        '{"score": 70}',
        '{"score": 7}',
    ]
    ended, model = run(monkeypatch, steps, AGENT)
    assert ended.outputs == {"text": '{"score": 7}'}
    first, second = rejections(ended)
    assert first == {
        "attempt": 1, "round": 2, "problems": ["score: 'x' is not of type 'integer'"],
        "reason": "stop",
    }  # fmt: skip
    assert second == {
        "attempt": 1, "round": 2, "problems": ["Below ten."],
        "checks": [{"check": 1, "that": "output.score < 10", "say": "Below ten."}],
        "reason": "stop",
    }  # fmt: skip
    assert [r.tool_choice for r in model.requests] == ["auto", "auto", "none", "none", "none"]
    assert "- Below ten." in model.requests[-1].messages[-1].content


def test_data_that_fails_a_check_at_once_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, model = run(monkeypatch, ['{"score": 70}', '{"score": 7}'], AGENT)
    assert ended.outputs == {"text": '{"score": 7}'}
    assert [r["problems"] for r in rejections(ended)] == [["Below ten."]]
    assert model.requests[-1].schema is not None


def test_an_agent_corrects_itself_twice_in_an_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    node = {"check": "{{ text = 'good' }}", "retry": {"attempts": 2, "backoff": "1ms"}}
    ended, _ = run(monkeypatch, lambda place, _: "bad", node)
    assert ended.status == "failed"
    assert [(r["attempt"], r["round"]) for r in rejections(ended)] == [(1, 1)] * 3 + [(2, 1)] * 3
    cause = failure(ended)["details"]["cause"]
    assert cause["code"] == "output_invalid"
    assert [c["check"] for c in cause["details"]["checks"]] == [1]


def test_an_answer_without_anything_is_rejected_too(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, _ = run(monkeypatch, [[call("look")], "", "at last"], {})
    assert ended.outputs == {"text": "at last"}
    assert rejections(ended) == [
        {"attempt": 1, "round": 2, "problems": ["the answer is empty"], "reason": "stop"}
    ]


def test_a_check_of_an_agent_that_cannot_be_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, _ = run(monkeypatch, ["seven"], {"check": "{{ $number(text) = 7 }}"})
    assert failure(ended)["code"] == "output_check"


def test_what_is_said_before_more_calls_is_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[Step] = [("Let me see.", [call("look")]), "good"]
    ended, _ = run(monkeypatch, steps, {"check": "{{ text = 'good' }}"})
    assert (ended.outputs, rejections(ended)) == ({"text": "good"}, [])


def test_an_answer_that_was_noted_is_not_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def holds_once(text: str, scope: Any) -> bool:
        calls.append(text)
        return len(calls) == 1

    monkeypatch.setattr(answers, "holds", holds_once)
    ended, model = run(monkeypatch, ["good"], {"check": "{{ $millis() > 0 }}"})
    assert (ended.status, len(model.requests), len(calls)) == ("completed", 1, 1)
