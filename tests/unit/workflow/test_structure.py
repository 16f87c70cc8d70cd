"""The shape of a file: plain words, the right place, and what to write instead."""

from __future__ import annotations

import pytest

from joinery.errors import Problem
from joinery.workflow.source import load
from joinery.workflow.validation import validate

NODE = "nodes: {{a: {{{}}}}}\nedges: [start -> a -> end]\n"
HEAD = "version: 1\nname: x\n"
TAIL = "nodes: {a: {type: template, template: hi}}\nedges: [start -> a -> end]\n"


def one(text: str) -> Problem:
    (problem,) = validate(load(text)).problems
    return problem


@pytest.mark.parametrize(
    ("node", "code", "pointer", "message", "hint"),
    [
        ("name: y", "schema.missing_key", "", "no 'type'", "agent, code"),
        ("type: null", "schema.type", "/type", "must be text, not empty", "agent"),
        ("type: lmm, prompt: x", "node.unknown_type", "/type", "'lmm'", "'llm'"),
        ("type: LLM, prompt: x", "node.unknown_type", "/type", "'LLM'", "'llm'"),
        ("type: vote", "node.not_available", "/type", "planned", "template"),
        ("type: llm", "schema.missing_key", "", "no 'prompt'", "prompt:"),
        ("type: llm, prompt: 5", "schema.type", "/prompt", "text, or {file: path}", ""),
        ("type: llm, prompt: {fil: x}", "schema.unknown_key", "/prompt/fil", "no 'fil'", "'file'"),
        ("type: llm, prompt: {}", "schema.missing_key", "/prompt", "no 'file'", "file"),
        ("type: llm, promt: x", "schema.unknown_key", "/promt", "'promt'", "'prompt'"),
        ("type: llm, prompt: x, promt: y", "schema.unknown_key", "/promt", "'promt'", "'prompt'"),
        ("type: llm, prompt: x, agent: y", "schema.unknown_key", "/agent", "'agent'", ""),
        ("type: llm, prompt: x, join: some", "schema.value", "/join", "all, any or", ""),
        ("type: llm, prompt: x, join: 2", "schema.type", "/join", "all, any or", "at_least: 2"),
        ("type: llm, prompt: x, join: {at_least: 0}",
         "schema.value", "/join/at_least", "at least 1", ""),
        ("type: llm, prompt: x, join: {atleast: 1}",
         "schema.unknown_key", "/join/atleast", "'atleast'", "'at_least'"),
        ("type: llm, prompt: x, on_error: contineu",
         "schema.value", "/on_error", "fail, continue", "'continue'"),
        ("type: llm, prompt: x, on_error: {defualt: 1}",
         "schema.unknown_key", "/on_error/defualt", "'defualt'", "'default'"),
        ("type: llm, prompt: x, timeout: 30",
         "schema.value", "/timeout", "a duration such as 30s", ""),
        ("type: llm, prompt: x, timeout: 30 sec",
         "schema.value", "/timeout", "a duration such as 30s", ""),
        ("type: llm, prompt: x, retry: 3", "schema.type", "/retry", "a mapping", ""),
        ("type: llm, prompt: x, retry: {attempts: 11}",
         "schema.value", "/retry/attempts", "at most 10", ""),
        ("type: llm, prompt: x, retry: {atempts: 2}",
         "schema.unknown_key", "/retry/atempts", "'atempts'", "'attempts'"),
        ("type: llm, prompt: x, fit: trim", "schema.value", "/fit", "must be fail or cut", "fail"),
        ("type: llm, prompt: x, model: {temperature: 3}",
         "schema.value", "/model/temperature", "at most 2", ""),
        ("type: llm, prompt: x, model: {max_tokens: 1.5}",
         "schema.type", "/model/max_tokens", "whole number", ""),
        ("type: llm, prompt: x, model: {max_tokens: '9'}",
         "schema.type", "/model/max_tokens", "whole number, not text", "remove the quotes"),
        ("type: llm, prompt: x, model: gpt",
         "reference.unknown_model", "/model", "'gpt'", "provider"),
        ("type: llm, prompt: x, model: {temprature: 1}",
         "schema.unknown_key", "/model/temprature", "takes no", "'temperature'"),
        ("type: llm, prompt: x, output: {type: object}",
         "schema.type", "/output/type", "a mapping", "output maps names"),
        ("type: llm, prompt: x, name: true", "schema.type", "/name", "text, not true", '"true"'),
        ("type: template, template: 5", "schema.type", "/template", "text, not a number", '"5"'),
        ("type: template, template: [a]", "schema.type", "/template", "text, not a list", ""),
        ("type: transform", "schema.missing_key", "", "no 'value'", "value"),
    ],
)  # fmt: skip
def test_nodes(node: str, code: str, pointer: str, message: str, hint: str) -> None:
    problem = one(HEAD + NODE.format(node))
    assert problem.code == code
    assert problem.pointer == f"/nodes/a{pointer}"
    assert problem.node_id == "a"
    assert message in problem.message
    assert hint in problem.hint
    assert problem.line == 3


@pytest.mark.parametrize(
    ("text", "code", "pointer", "message", "hint"),
    [
        ("inputs: {x: {type: int}}\n",
         "schema.value", "/inputs/x/type", "string, integer", "'integer'"),
        ("inputs: {x: {requird: true}}\n",
         "schema.unknown_key", "/inputs/x/requird", "input 'x'", "'required'"),
        ("inputs: {x: string}\n", "schema.type", "/inputs/x", "mapping", ""),
        ("inputs: {1x: {}}\n", "schema.value", "/inputs/1x", "'1x'", "letters"),
        ("agents: {x: {persona: 5}}\n", "schema.type", "/agents/x/persona", "text", ""),
        ("defaults: {model: {top_p: 0}}\n",
         "schema.value", "/defaults/model/top_p", "more than 0", ""),
        ("defaults: {retry: {backoff: 1}}\n",
         "schema.value", "/defaults/retry/backoff", "duration", ""),
        ("outputs: {a b: x}\n", "schema.value", "/outputs/a b", "'a b'", "letters"),
        ("output: {a: x}\n",
         "schema.unknown_key", "/output", "the workflow takes no 'output'", "'outputs'"),
        ("<<: {a: x}\n", "schema.unknown_key", "/<<", "'<<'", "merge keys"),
        ("description: {a: 1}\n", "schema.type", "/description", "text, not a mapping", "quotes"),
    ],
)  # fmt: skip
def test_sections(text: str, code: str, pointer: str, message: str, hint: str) -> None:
    found = validate(load(HEAD + text + TAIL)).problems
    problem = next(p for p in found if p.severity == "error")
    assert (problem.code, problem.pointer, problem.line) == (code, pointer, 3)
    assert message in problem.message
    assert hint in problem.hint


@pytest.mark.parametrize(
    ("text", "code", "hint"),
    [
        ("name: x\n", "schema.missing_key", "version: 1"),
        ("version: 2\nname: x\n", "schema.value", "version: 1"),
        ("version: '1'\nname: x\n", "schema.value", "version: 1"),
        ("version: 1\n", "schema.missing_key", "name:"),
        ("version: 1\nname: My Flow\n", "schema.value", "name: my-flow"),
    ],
)
def test_the_head(text: str, code: str, hint: str) -> None:
    problem = one(text + TAIL)
    assert problem.code == code
    assert hint in problem.hint


@pytest.mark.parametrize(
    ("edge", "code", "pointer", "message"),
    [
        ("5", "schema.type", "/edges/1", "edge 2 must be text such as"),
        ("{from: a}", "schema.missing_key", "/edges/1", "edge 2 has no 'to'"),
        ("{from: a, to: end, prt: x}",
         "schema.unknown_key", "/edges/1/prt", "edge 2 takes no 'prt'"),
        ("{from: a, to: 5}", "schema.type", "/edges/1/to", "edge 2: 'to' must be text"),
        ("{from: a, to: end, when: 5}", "schema.type", "/edges/1/when", "text, not a number"),
    ],
)  # fmt: skip
def test_edges(edge: str, code: str, pointer: str, message: str) -> None:
    text = (
        HEAD
        + f"nodes: {{a: {{type: template, template: x}}}}\nedges: [start -> a, {edge}, a -> end]"
    )
    found = [p for p in validate(load(text)).problems if p.code.startswith("schema")]
    assert [(p.code, p.pointer) for p in found] == [(code, pointer)]
    assert message in found[0].message


def test_a_port_true_needs_quotes() -> None:
    text = HEAD + (
        "nodes: {a: {type: condition, if: \"{{ run.id = 'x' }}\"}}\n"
        "edges: [start -> a, {from: a, port: true, to: end}, a.false -> end]\n"
    )
    problem = one(text)
    assert problem.code == "schema.type"
    assert '"true"' in problem.hint


@pytest.mark.parametrize(
    ("cases", "code"),
    [
        ("{}", "schema.value"),
        ("{a: {low: 1}}", "schema.unknown_key"),
        ("{a: {min: x}}", "schema.type"),
        ("{a: [[1]]}", "schema.type"),
        ("{a: {}}", "schema.value"),
        ("{default: 1}", "schema.value"),
        ("{a: '{{ 1 }}'}", "expression.not_allowed"),
    ],
)
def test_cases_of_a_switch(cases: str, code: str) -> None:
    text = HEAD + (
        f"nodes: {{s: {{type: switch, value: '{{{{ inputs.n }}}}', cases: {cases}}}}}\n"
        "inputs: {n: {type: integer, required: true}}\n"
        "edges: [start -> s, s.default -> end]\n"
    )
    assert code in {p.code for p in validate(load(text)).problems}


@pytest.mark.parametrize("cases", ["{a: 1}", "{a: [x]}", "{a: 'x'}"])
def test_cases_without_a_value_are_conditions(cases: str) -> None:
    text = HEAD + (
        f"nodes: {{s: {{type: switch, cases: {cases}}}}}\n"
        'edges: [start -> s, "s.a, s.default -> end"]\n'
    )
    problem = one(text)
    assert problem.code in ("schema.type", "expression.not_a_condition")
    assert problem.pointer == "/nodes/s/cases/a"


@pytest.mark.parametrize("name", ["2nd", "a-b", "a b", "", "ü", "x" * 65, "start", "end"])
def test_bad_ids(name: str) -> None:
    text = HEAD + f"nodes: {{'{name}': {{type: template, template: x}}}}\nedges: [start -> end]\n"
    found = [p for p in validate(load(text)).problems if p.code == "node.bad_id"]
    assert len(found) == 1
    assert found[0].line == 3
    assert found[0].hint


def test_no_word_of_pydantic_reaches_the_reader() -> None:
    text = """
version: one
name: 5
inputs: {x: [1], y: {type: 3, required: 1}}
agents: {a: 1, b: {model: {stop: 5, seed: x, top_p: [1]}}}
defaults: {timeout: [], fit: 3, model: x}
nodes:
  a: {type: agent, agent: 5, prompt: {file: 5, x: 1}, output: [], retry: {attempts: 0, errors: 5}}
  b: {type: switch, cases: {x: {min: a}, y: [{}], z: {}}, value: 5, on_error: {a: 1}, join: []}
  c: {type: loop, until: 5}
  d: {type: condition}
edges: [5, {from: 5, to: 6, port: 1, when: []}, []]
outputs: 5
"""
    problems = validate(load(text)).problems
    assert len(problems) > 25
    jargon = (
        "pydantic",
        "union",
        "tag",
        "validat",
        "literal",
        "Input should",
        "dict",
        "None",
        "[type=",
    )
    for problem in problems:
        said = problem.message + problem.hint
        assert not any(word in said for word in jargon), said
