"""The JSON Schema for editors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from joinery.workflow.durations import parse_duration
from joinery.workflow.model import parse_edge
from joinery.workflow.schema import DURATION_PATTERN, EDGE_PATTERN, json_schema
from joinery.workflow.source import load

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.yaml"))
CHECK = Draft202012Validator(json_schema())
BASE: dict[str, Any] = {
    "version": 1,
    "name": "x",
    "nodes": {"a": {"type": "template", "template": "hi"}},
    "edges": ["start -> a", "a -> end"],
}


def test_it_is_a_schema_and_always_the_same() -> None:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    assert schema == json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_validate(path: Path) -> None:
    assert list(CHECK.iter_errors(load(path.read_bytes()).data)) == []


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"edges": [{"from": "start", "to": "a"}, "a.port, b -> c, d", "a -> b.done -> c"]},
        {"defaults": {"timeout": "90s", "retry": {"backoff": "500ms", "attempts": 2}}},
        {"nodes": {"a": {"type": "llm", "prompt": {"file": "x.md"}, "timeout": "1.5h"}}},
        {"nodes": {"a": {"type": "template", "template": "x", "on_error": {"default": 1}}}},
        {"inputs": {"x": {"type": "integer", "default": 5}}},
        {"nodes": {"s": {"type": "switch", "cases": {"a": [1, "b"], "c": {"min": 1}}}}},
    ],
)  # fmt: skip
def test_accepts(change: dict[str, Any]) -> None:
    assert list(CHECK.iter_errors({**BASE, **change})) == []


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"extra": 1},
        {"name": "Has Spaces"},
        {"edges": ["start => a"]},
        {"edges": ["a"]},
        {"edges": [{"from": "a"}]},
        {"edges": []},
        {"nodes": {}},
        {"nodes": {"2a": {"type": "template", "template": "x"}}},
        {"nodes": {"a": {"type": "nope"}}},
        {"nodes": {"a": {"type": "llm"}}},
        {"nodes": {"a": {"type": "llm", "prompt": "x", "promt": "y"}}},
        {"nodes": {"a": {"type": "loop", "max_rounds": 0}}},
        {"defaults": {"timeout": "5 minutes"}},
        {"defaults": {"timeout": 5}},
    ],
)
def test_refuses(change: dict[str, Any]) -> None:
    assert not CHECK.is_valid({**BASE, **change})


@pytest.mark.parametrize(
    "edge",
    ["a -> b", "a->b", " a , b.x -> c ", "a -> b.p -> c", "a", "a ->", "-> a", "a => b", "a -> 1",
     "a, -> b", "a -> b.x"],
)  # fmt: skip
def test_edge_texts_match_as_they_parse(edge: str) -> None:
    try:
        parse_edge(edge)
    except ValueError:
        assert not re.search(EDGE_PATTERN, edge)
    else:
        assert re.search(EDGE_PATTERN, edge)


@pytest.mark.parametrize(
    "text", ["30s", "1.5h", "250ms", "7d", "5m", "5", "5 m", "m", "-5s", "5min"]
)
def test_durations_match_as_they_parse(text: str) -> None:
    try:
        parse_duration(text)
    except ValueError:
        assert not re.search(DURATION_PATTERN, text)
    else:
        assert re.search(DURATION_PATTERN, text)
