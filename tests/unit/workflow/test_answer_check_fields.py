"""What files and Python say of checks of answers, and what validation finds in them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from joinery import limits
from joinery.compiler.build import build_plan
from joinery.errors import Problem
from joinery.workflow import WorkflowBuilder
from joinery.workflow.source import load
from joinery.workflow.validation import validate

OUTPUT = {"score": {"type": "integer"}}


def problems(check: Any, **node: Any) -> tuple[Problem, ...]:
    data = {
        "version": 1,
        "name": "checks",
        "inputs": {"most": {"type": "integer", "default": 10}},
        "nodes": {
            "b": {"type": "template", "template": "x"},
            "a": {"type": "llm", "prompt": "hi", "output": OUTPUT, "check": check, **node},
        },
        "edges": ["start -> b -> a -> end"],
    }
    return validate(load(json.dumps(data))).problems


@pytest.mark.parametrize(
    "check",
    [
        "{{ output.score > 3 }}",
        "{{ output.score < inputs.most and nodes.b.text = 'x' and $length(text) > 0 }}",
        {"that": "{{ output.score > 3 }}"},
        ["{{ output.score > 3 }}", {"that": "{{ text != '' }}", "say": "More than {{ text }}."}],
    ],
)
def test_the_forms_of_a_check(check: Any) -> None:
    assert problems(check) == ()


@pytest.mark.parametrize(
    ("check", "code", "pointer"),
    [
        ("{{ output.score > }}", "expression.syntax", "/check"),
        ("output.score > 3", "expression.not_a_condition", "/check"),
        ("{{ output.score }} > 3", "expression.not_a_condition", "/check"),
        (["{{ text }}", "{{ $nope(text) }}"], "expression.unknown_name", "/check/1"),
        ({"that": "{{ out.score > 3 }}"}, "expression.unknown_name", "/check/that"),
        ("{{ output.grade > 3 }}", "reference.unknown_field", "/check"),
        ("{{ text.words > 3 }}", "reference.unknown_field", "/check"),
        ("{{ nodes.a.output.score > 3 }}", "reference.may_not_have_run", "/check"),
        ("{{ nodes.c.text = text }}", "reference.unknown_node", "/check"),
        ("{{ inputs.least < output.score }}", "reference.unknown_input", "/check"),
        ("{{ item = text }}", "reference.outside_iterate", "/check"),
        (
            [{"that": "{{ text }}", "say": "{{ nodes.c }}"}],
            "reference.unknown_node",
            "/check/0/say",
        ),
        ([{"say": "no"}], "schema.missing_key", "/check/0"),
        ({"that": "{{ text }}", "tell": "no"}, "schema.unknown_key", "/check/tell"),
        ({"that": 3}, "schema.type", "/check/that"),
        (True, "schema.type", "/check"),
        (["{{ text }}", 3], "schema.type", "/check/1"),
        ([], "schema.value", "/check"),
        (["{{ text }}"] * (limits.CHECKS_MAX + 1), "schema.value", "/check"),
        (
            {"that": "{{ text }}", "say": "x" * (limits.CHECK_SAY_CHARS + 1)},
            "schema.value",
            "/check/say",
        ),
    ],
)
def test_what_is_wrong_with_a_check(check: Any, code: str, pointer: str) -> None:
    assert [(p.code, p.pointer) for p in problems(check)] == [(code, f"/nodes/a{pointer}")]


def test_an_output_that_is_not_declared_is_not_checked() -> None:
    [problem] = problems("{{ output.score > 3 }}", output=None)
    assert problem.code == "reference.unknown_field"
    assert "declares no output" in problem.message


@pytest.mark.parametrize(
    ("field", "text"), [("prompt", "{{ output.score }}"), ("prompt", "{{ $uppercase(text) }}")]
)
def test_an_answer_is_known_to_checks_only(field: str, text: str) -> None:
    [problem] = problems("{{ text != '' }}", **{field: text})
    assert (problem.code, problem.pointer) == ("reference.outside_check", f"/nodes/a/{field}")


def test_names_inside_a_filter_are_those_of_its_items() -> None:
    output = {"rows": {"type": "array", "items": {"type": "object"}}}
    check = "{{ $count(output.rows[text = 'x' and output > 1]) = 0 }}"
    assert problems(check, output=output) == ()


def test_the_plan_holds_checks_in_one_form_and_what_they_read() -> None:
    def spec_of(check: Any) -> Any:
        flow = WorkflowBuilder("one")
        b = flow.node.template("b", "x")
        a = flow.node.llm("a", prompt="hi", output={"score": int}, check=check(flow, b))
        flow.edge(flow.start, b, a, flow.end)
        node = build_plan(flow.build()).by_id["a"]
        return node.spec["checks"], node.reads

    one = spec_of(lambda flow, b: flow.answer.output.score > 3)
    assert one == ([{"that": "{{ output.score > 3 }}"}], ())
    two = spec_of(
        lambda flow, b: [
            flow.answer.text != b.text,
            {"that": "{{ text != '' }}", "say": f"Not {b.text}."},
        ]
    )
    assert two == (
        [
            {"that": "{{ text != nodes.b.text }}"},
            {"that": "{{ text != '' }}", "say": "Not {{ nodes.b.text }}."},
        ],
        ("b",),
    )


def test_a_plan_without_checks_says_nothing_of_them() -> None:
    flow = WorkflowBuilder("none")
    a = flow.node.llm("a", prompt="hi")
    flow.edge(flow.start, a, flow.end)
    assert "checks" not in build_plan(flow.build()).by_id["a"].spec
