"""Reading files: YAML 1.2, every duplicate, every place, and no exception for any junk."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joinery.errors import InvalidWorkflow
from joinery.workflow.source import SOURCE_BYTES, load
from joinery.workflow.validation import load_workflow, validate


def found(text: str | bytes) -> list[tuple[str, int, int]]:
    return [(p.code, p.line, p.column) for p in load(text).problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"), ("yes", "yes"), ("No", "No"), ("true", True), ("FALSE", False),
        ("null", None), ("~", None), ("", None), ("12", 12), ("012", 12), ("-3", -3), ("+3", 3),
        ("0o17", 15), ("0x1F", 31), ("1_000", "1_000"), ("12:30", "12:30"), ("1.5", 1.5),
        (".5", 0.5), ("1e3", 1000.0), ("2024-01-01", "2024-01-01"), ("'12'", "12"),
        ('"a\\tb"', "a\tb"), ("[1, on]", [1, "on"]), ("{a: }", {"a": None}), ("=", "="),
    ],
)  # fmt: skip
def test_scalars_follow_yaml_1_2(text: str, value: Any) -> None:
    source = load(f"key: {text}\n")
    assert source.problems == ()
    assert source.data == {"key": value}
    assert type(source.data["key"]) is type(value)


def test_places_of_keys_and_values() -> None:
    source = load('a: 1\nb:\n  c: [1, {d: on}]\n"x/y": {"~": 2}\n')
    assert source.place("/a") == (1, 4)
    assert source.key_place("/a") == (1, 1)
    assert source.key_place("/b") == (2, 1)
    assert source.place("/b") == (3, 3)
    assert source.place("/b/c/1/d") == (3, 14)
    assert source.key_place("/b/c/1/d") == (3, 11)
    assert source.key_place("/b/c/1") == (3, 10), "an item has no key"
    assert source.place("/x~1y/~0") == (4, 14)
    assert source.place("/b/c/7/nothing") == source.place("/b/c"), "the nearest around it"


def test_every_duplicate_key_is_found() -> None:
    text = "a: 1\nb: {x: 1, x: 2, x: {y: 1, y: 2}}\na: 2\nc: 3\na: 3\n"
    assert found(text) == [
        ("yaml.duplicate_key", 2, 11),
        ("yaml.duplicate_key", 2, 17),
        ("yaml.duplicate_key", 2, 27),
        ("yaml.duplicate_key", 3, 1),
        ("yaml.duplicate_key", 5, 1),
    ]
    assert load(text).data == {"a": 1, "b": {"x": 1}, "c": 3}, "the first one counts"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", [("yaml.empty", 1, 1)]),
        ("# only a comment\n", [("yaml.empty", 1, 1)]),
        ("- a\n", [("yaml.not_a_mapping", 1, 1)]),
        ("\nhello\n", [("yaml.not_a_mapping", 2, 1)]),
        ("a: 1\n\tb: 2\n", [("yaml.tab", 2, 1)]),
        ("\ta: 1\n", [("yaml.tab", 1, 1)]),
        ("a: 'b\n", [("yaml.syntax", 1, 4)]),
        ("a: b: c\n", [("yaml.syntax", 1, 5)]),
        ("a: [1\nb: 2\n", [("yaml.syntax", 2, 2)]),
        ("a:\n  - b\n c: 1\n", [("yaml.syntax", 3, 2)]),
        ("a: \x01\n", [("yaml.syntax", 1, 4)]),
        ("a: 1\n---\nb: 2\n", [("yaml.many_documents", 2, 1)]),
        ("a: !!str 1\nb: !x {}\n", [("yaml.tag", 1, 4), ("yaml.tag", 2, 4)]),
        ("a: *x\n", [("yaml.alias", 1, 4)]),
        ("a: &x [*x]\n", [("yaml.alias", 1, 8)]),
        ("1: a\ntrue: b\n", [("yaml.key", 1, 1), ("yaml.key", 2, 1)]),
        ("? [a]\n: b\n", [("yaml.key", 1, 3)]),
        ("a: {{ inputs.x }}\nb: 1\n", [("yaml.key", 1, 5)]),
        ("a: .inf\nb: 1e999\n", [("yaml.value", 1, 4), ("yaml.value", 2, 4)]),
        (b"\xef\xbb\xbfa: 1\n", [("yaml.bom", 1, 1)]),
        (b"a: 1\nb: \xff\n", [("yaml.encoding", 2, 4)]),
        ("a: 1\n".encode("utf-16"), [("yaml.encoding", 1, 1)]),
        ("a: \ud800\n", [("yaml.encoding", 1, 4)]),
    ],
)
def test_what_is_wrong_has_its_place(
    text: str | bytes, problems: list[tuple[str, int, int]]
) -> None:
    assert found(text) == problems


def test_an_expression_without_quotes_is_explained() -> None:
    for text in ("a: {{ inputs.x }}\n", "a: {{ inputs.x }} and more\n"):
        assert any('"{{ inputs.x }}"' in p.hint for p in load(text).problems)


def test_a_byte_order_mark_only_warns() -> None:
    source = load("\ufeffa: 1\n")
    assert source.data == {"a": 1}
    assert [p.severity for p in source.problems] == ["warning"]


def test_aliases_repeat_values() -> None:
    source = load("a: &x {b: [1]}\nc: *x\nd: [*x, *x]\n")
    assert source.problems == ()
    assert source.data == {"a": {"b": [1]}, "c": {"b": [1]}, "d": [{"b": [1]}, {"b": [1]}]}
    assert source.place("/c/b/0") == (2, 4), "what an alias repeats stands where the alias does"


def test_json_is_read_as_json() -> None:
    data = {"a": [1, 2.5, None, True], "smile": "\U0001f600", "tab": "x\ty", "on": "on"}
    for indent in (None, 2, "\t"):
        source = load(json.dumps(data, indent=indent))
        assert source.problems == ()
        assert source.data == data
    assert found('{\n\t"a": 1,\n\t"a": 2\n}') == [("yaml.duplicate_key", 3, 2)]


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (LAUGHS, "limit.values"),
        ("[" * 100_000, "limit.depth"),
        ("a: " + "[" * 70 + "]" * 70, "limit.depth"),
        ("a: &a " + "[" * 50 + "]" * 50 + "\nb: " + "[" * 30 + "*a" + "]" * 30, "limit.depth"),
        ("a: [" + "1," * 150_000 + "]", "limit.values"),
        ("a: '" + "x" * SOURCE_BYTES + "'", "limit.source"),
        ("a: !" + "x" * 500_000, "yaml.tag"),
    ],
)  # fmt: skip
def test_what_could_grow_is_bounded(text: str, code: str) -> None:
    begun = time.monotonic()
    assert code in {p.code for p in load(text).problems}
    assert time.monotonic() - begun < 30


def test_a_file_of_nothing_but_problems_is_cut() -> None:
    problems = load("{" + "a, " * 50_000 + "}").problems
    assert len(problems) <= 1_000


yaml_like = st.text(alphabet=st.sampled_from("abc:-?[]{}&*!|>'\"%@`#,\n \t~<=01.{}"), max_size=120)
LINES = """
version: 1
name: x
nodes:
  a: {type: template, template: '{{ nodes.b.text }}'}
  b: {type: loop, max_rounds: 2}
edges:
- start -> a
- a -> b
- b.repeat -> a
- {from: b, port: done, to: end}
outputs: {x: '{{ nodes.a }}'}
inputs: []
agents: {z: }
  b: [1]
- 5
nodes: 3
edges: {}
- a -> -> b
defaults: {timeout: 1}
  c: {type: switch, value: 1, cases: {a: {min: x}, b: [[]]}}
- {from: 1, to: [], when: 3}
  d: {type: agent, agent: [], prompt: {file: 3}, output: 5, join: {at_least: 0}, on_error: x}
  start: {}
  e: {type: llm, prompt: [], output: {x: {type: {}, properties: 3, $ref: 1}}, model: 1}
inputs: {x: {type: [], default: 3}, y: 1}
"""
workflow_like = st.lists(st.sampled_from(LINES.strip().splitlines()), max_size=14).map("\n".join)


@settings(max_examples=300, deadline=None)
@given(st.text() | yaml_like | workflow_like)
def test_no_text_raises_anything_but_invalid_workflow(text: str) -> None:
    report = validate(load(text))
    assert all(p.line >= 1 and p.column >= 1 and p.message and p.code for p in report.problems)
    assert list(report.problems) == sorted(report.problems, key=lambda p: (p.line, p.code))
    assert (report.workflow is None) == bool(report.errors)
    try:
        load_workflow(text)
    except InvalidWorkflow as error:
        assert error.problems == report.problems


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_invalid_workflow(raw: bytes) -> None:
    with pytest.raises(InvalidWorkflow):
        load_workflow(raw)
