"""Inputs, agents, output schemas, and what expressions read of each kind of node."""

from __future__ import annotations

import json
from typing import Any

import pytest

from joinery.errors import Problem
from joinery.workflow.source import load
from joinery.workflow.validation import validate

HEAD = "version: 1\nname: x\n"
TAIL = "nodes: {a: {type: template, template: hi}}\nedges: [start -> a -> end]\n"


def problems(text: str) -> list[Problem]:
    return list(validate(load(HEAD + text)).problems)


def codes(text: str) -> list[str]:
    return [problem.code for problem in problems(text)]


@pytest.mark.parametrize(
    ("spec", "right"),
    [
        ("{type: string, default: x}", True), ("{default: x}", True), ("{default: 5}", False),
        ("{type: integer, default: 5}", True), ("{type: integer, default: 5.5}", False),
        ("{type: integer, default: true}", False), ("{type: number, default: 5}", True),
        ("{type: number, default: 5.5}", True), ("{type: number, default: 'x'}", False),
        ("{type: boolean, default: false}", True), ("{type: boolean, default: 0}", False),
        ("{type: object, default: {}}", True), ("{type: object, default: []}", False),
        ("{type: array, default: []}", True), ("{type: array, default: {}}", False),
        ("{type: array, default: null}", True),
    ],
)  # fmt: skip
def test_defaults_of_inputs(spec: str, right: bool) -> None:
    assert codes(f"inputs: {{x: {spec}}}\n{TAIL}") == ([] if right else ["input.default_type"])


@pytest.mark.parametrize(
    ("output", "pointer", "said"),
    [
        ("{score: {type: integer, minimum: 0}}", None, ""),
        ("{tags: {type: array, items: {type: string}}}", None, ""),
        ("{any: {}}", None, ""),
        ("{pattern: {type: string}, '$ref': {type: string}}", None, ""),
        ("{score: {type: int}}", "/score/type", "'integer'"),
        ("{score: {type: integer, minimum: low}}", "/score/minimum", "no JSON Schema"),
        ("{a: {type: object, properties: {b: {type: strng}}}}", "/a/properties/b/type", "'string'"),
        ("{a: {$ref: '#/x'}}", "/a/$ref", "write the schema out"),
        ("{a: {type: string, pattern: '(('}}", "/a/pattern", "malformed"),
    ],
)
def test_output_schemas(output: str, pointer: str | None, said: str) -> None:
    found = problems(
        f"nodes: {{a: {{type: llm, prompt: x, output: {output}}}}}\nedges: [start -> a -> end]\n"
    )
    if pointer is None:
        assert found == []
        return
    (problem,) = found
    assert (problem.code, problem.pointer) == ("output.schema", f"/nodes/a/output{pointer}")
    assert (problem.node_id, problem.line) == ("a", 3)
    assert said in problem.message + problem.hint


def test_agents() -> None:
    text = """\
agents: {judge: {persona: x}, other: {persona: "{{ inputs.x }}"}}
nodes:
  a: {type: agent, agent: jugde, prompt: x}
  b: {type: llm, system: "{{ inputs.x }}", prompt: x}
edges: [start -> a -> b -> end]
"""
    found = problems(text)
    assert [(p.line, p.code, p.severity) for p in found] == [
        (3, "agent.unused", "warning"),
        (3, "agent.unused", "warning"),
        (3, "expression.not_evaluated", "warning"),
        (5, "reference.unknown_agent", "error"),
        (6, "expression.not_evaluated", "warning"),
    ]
    assert "'judge'" in found[3].hint


NODES = """\
agents: {j: {persona: x}}
inputs: {x: {required: true}}
nodes:
  plain: {type: llm, prompt: x}
  typed: {type: agent, agent: j, prompt: x, output: {score: {type: integer}}}
  text: {type: template, template: x}
  made: {type: transform, value: {a: 1}}
  check: {type: condition, if: "{{ inputs.x = 'a' }}"}
  safe: {type: llm, prompt: x, on_error: {default: {k: 1}}}
  last: {type: template, template: "{{ %s }}"}
edges:
  - start -> plain -> typed -> text -> made -> check
  - check.true, check.false -> safe -> last -> end
"""


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("nodes.plain", None),
        ("nodes.plain.text", None),
        ("nodes.plain.usage", None),
        ("nodes.plain.status", None),
        ("nodes.plain.output", "reference.unknown_field"),
        ("nodes.plain.output ?? ''", "reference.unknown_field"),
        ("nodes.plain.txt", "reference.unknown_field"),
        ("nodes.typed.output.score", None),
        ("nodes.typed.output", None),
        ("nodes.typed.output.scor", "reference.unknown_field"),
        ("nodes.typed.output.score + nodes.typed.output.scor", "reference.unknown_field"),
        ("nodes.text.output", "reference.unknown_field"),
        ("nodes.text.usage", "reference.unknown_field"),
        ("nodes.made.output.a", None),
        ("nodes.made.text", None),
        ("nodes.check.output", None),
        ("nodes.check.text", "reference.unknown_field"),
        ("nodes.safe.output.k ?? ''", None),
        ("nodes.nope.text", "reference.unknown_node"),
        ("nodes.end.text", "reference.unknown_node"),
        ("nodes.start.text", "reference.unknown_node"),
        ("inputs.x", None),
        ("inputs", None),
        ("inputs.y", "reference.unknown_input"),
        ("run.id", None),
        ("run.name", "reference.unknown_field"),
        ("session.id ?? ''", None),
        ("session.id", "reference.may_be_missing"),
        ("item.x", "reference.outside_iterate"),
        ("item", "reference.outside_iterate"),
    ],
)
def test_what_is_read(expression: str, code: str | None) -> None:
    found = problems(NODES.replace("%s", expression))
    assert [(p.code, p.node_id, p.line) for p in found] == ([(code, "last", 12)] if code else [])


def test_inputs_that_may_be_missing_warn() -> None:
    text = "inputs: {x: {}}\n" + TAIL.replace("hi", '"{{ inputs.x }}"')
    (problem,) = problems(text)
    assert (problem.code, problem.severity) == ("reference.may_be_missing", "warning")
    assert "{{ inputs.x ?? '' }}" in problem.hint
    for spec in ("{required: true}", "{default: a}"):
        assert codes(text.replace("{x: {}}", f"{{x: {spec}}}")) == []


@pytest.mark.parametrize(
    ("condition", "right"),
    [
        ("{{ run.id = 'x' }}", True), (" {{ run.id = 'x' }} ", True), ("{{ true }}", True),
        ("run.id = 'x'", False), ("{{ run.id }} = x", False), ("true", False), ("", False),
        ("{{ true }}{{ true }}", False),
    ],
)  # fmt: skip
def test_conditions_are_one_expression(condition: str, right: bool) -> None:
    text = f"""\
nodes:
  c: {{type: condition, if: "{condition}"}}
  l: {{type: loop, until: "{condition}", max_rounds: 2}}
  s: {{type: switch, cases: {{one: "{condition}"}}}}
edges: [start -> c, "c.true, c.false -> l", l.repeat -> c, l.done -> s, "s.one, s.default -> end"]
"""
    wrong = [] if right else ["expression.not_a_condition"] * 3
    assert codes(text) == wrong


def test_a_switch_by_text_alone_is_pointless() -> None:
    text = """\
nodes: {s: {type: switch, value: kind, cases: {a: x}}}
edges: [start -> s, "s.a, s.default -> end"]
"""
    assert codes(text) == ["expression.not_a_condition"]
    assert codes(text.replace("value: kind", 'value: "{{ run.id }}"')) == []
    assert codes(text.replace("value: kind", 'value: "x-{{ run.id }}"')) == []


def test_every_wrong_expression_of_a_text_is_reported() -> None:
    text = TAIL.replace("hi", '"{{ inputs.a }} {{ foo }} {{ nodes. }} {{ $eval(1) }}"')
    assert codes(text) == [
        "expression.not_allowed",
        "expression.syntax",
        "expression.unknown_name",
    ]
    text = TAIL.replace("hi", '"{{ inputs.a }} {{ nodes.zz.text }} {{ inputs.b }}"')
    assert codes(text) == [
        "reference.unknown_input",
        "reference.unknown_input",
        "reference.unknown_node",
    ]


def test_nested_values_have_their_place() -> None:
    text = """\
nodes:
  a:
    type: transform
    value:
      list:
        - ok
        - "{{ inputs.nope }}"
edges: [start -> a -> end]
outputs:
  report: {deep: ["{{ nodes.zz.text }}"]}
"""
    assert [(p.code, p.pointer, p.line) for p in problems(text)] == [
        ("reference.unknown_input", "/nodes/a/value/list/1", 9),
        ("reference.unknown_node", "/outputs/report/deep/0", 12),
    ]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"true": 0.4, "false": 0.6}, None),
        ({"true": 0.1}, None),
        ({"true": 0.1, "false": 0.2, "error": 0.7}, None),
        ({"true": 0.3333333, "false": 0.6666667}, None),
        ({"true": 0.4, "false": 0.5}, "node.probability_sum"),
        ({"true": 0.7, "error": 0.4}, "node.probability_sum"),
        ({"yes": 0.1}, "node.probability_port"),
        ({"true": 1.5}, "schema.value"),
        ({"true": "often"}, "schema.type"),
    ],
)
def test_probabilities(said: dict[str, Any], code: str | None) -> None:
    node = {"type": "condition", "if": "{{ inputs.x }}", "on_error": "route",
            "probabilities": said}  # fmt: skip
    data = {
        "version": 1,
        "name": "w",
        "inputs": {"x": {"type": "boolean", "required": True}},
        "nodes": {"c": node, "a": {"type": "template", "template": "a"}},
        "edges": ["start -> c", "c.true, c.false -> a", "c.error -> end", "a -> end"],
    }
    found = validate(load(json.dumps(data))).problems
    assert [p.code for p in found] == ([code] if code else [])


@pytest.mark.parametrize(
    ("said", "code"),
    [(1, None), (2.5, None), (3, None), (3.5, "node.expected_rounds"), (0.5, "schema.value")],
)
def test_expected_rounds(said: float, code: str | None) -> None:
    data = {
        "version": 1,
        "name": "w",
        "nodes": {
            "a": {"type": "template", "template": "a"},
            "l": {"type": "loop", "max_rounds": 3, "expected_rounds": said},
        },
        "edges": ["start -> a -> l", "l.repeat -> a", "l.done -> end"],
    }
    found = validate(load(json.dumps(data))).problems
    assert [p.code for p in found] == ([code] if code else [])
