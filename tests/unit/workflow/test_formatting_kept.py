"""Formatting keeps meaning and comments, and formats what is formatted to itself."""

from __future__ import annotations

import json
import os
from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kit.odd_yaml import COMMENTS, TEXTS, OddYaml, escaped
from kit.random_graphs import workflows

from joinery.compiler.compile import compile_workflow
from joinery.workflow.formatting import format_text
from joinery.workflow.formatting.read import lines_of, scan
from joinery.workflow.model import Edge, Workflow, parse_edge
from joinery.workflow.source import load
from joinery.workflow.yaml_text import dump

EXAMPLES = int(os.environ.get("JOINERY_EXAMPLES", "25"))
THOROUGH = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def said(data: dict[str, Any]) -> str:
    """What a file says, whichever way it writes its edges and orders its keys."""
    edges = [
        tuple(edge.model_dump().values())
        for written in data.get("edges", ())
        for edge in (parse_edge(written) if isinstance(written, str) else [Edge(**written)])
    ]
    return json.dumps({**data, "edges": edges}, sort_keys=True)


def check(text: str, comments: list[str] | None = None) -> str:
    source = load(text)
    assert not source.problems
    formatted = format_text(text)
    again = load(formatted)
    assert not again.problems
    assert said(again.data) == said(source.data)
    assert [list(again.data[k]) for k in ("nodes", "outputs") if k in again.data] == [
        list(source.data[k]) for k in ("nodes", "outputs") if k in source.data
    ]
    kept = Counter(comment.text for comment in scan(formatted).comments)
    assert kept == Counter(comment.text for comment in scan(lines_of(text)).comments)
    if comments is not None:
        assert kept == Counter(comment.rstrip() for comment in comments)
    assert format_text(formatted) == formatted
    assert formatted.endswith("\n")
    assert not formatted.endswith("\n\n")
    assert "\r" not in formatted
    return formatted


TEXT = st.sampled_from(TEXTS) | st.text(
    st.sampled_from("ab \n\t:#'\"\\-{}[],&*|>!%@é😀\u2028"), max_size=12
)
FREE = st.recursive(
    TEXT | st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@THOROUGH
@given(st.data())
def test_random_workflows_in_odd_styles(data: st.DataObject) -> None:
    workflow, _ = data.draw(workflows(2, calls=True))
    content = workflow.model_dump(by_alias=True, exclude_unset=True)
    content["description"] = data.draw(TEXT)
    for node in content["nodes"].values():
        if data.draw(st.booleans()):
            node["description"] = data.draw(TEXT)
        if "template" in node:
            node["template"] = data.draw(TEXT)
    odd = OddYaml(Random(data.draw(st.integers(0, 2**32))))
    check(odd.file(content), odd.comments)


@THOROUGH
@given(st.data())
def test_any_data_in_odd_styles(data: st.DataObject) -> None:
    keys = st.sampled_from(["type", "prompt", "model", "version", "name", "zzz"]) | TEXT
    entries = st.dictionaries(keys, FREE, max_size=4)
    content = data.draw(
        st.fixed_dictionaries(
            {"name": FREE},
            optional={
                "nodes": st.dictionaries(TEXT, entries, max_size=3),
                "inputs": st.dictionaries(TEXT, entries, max_size=2),
                "tools": FREE,
                "zzz": FREE,
                "outputs": st.dictionaries(TEXT, FREE, max_size=3),
            },
        )
    )
    odd = OddYaml(Random(data.draw(st.integers(0, 2**32))))
    check(odd.file(content), odd.comments)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_every_text_in_every_place(text: str) -> None:
    value = escaped(text)
    check(f"name: {value}\nnodes:\n  a:\n    - {value}\n    - [{value}, {{{value}: {value}}}]\n")
    blocks = OddYaml(Random(7)).blocks(text, 5)
    check("".join(f"k{n}: {header}\n{lines}" for n, (header, lines) in enumerate(blocks)) or "a: 1")
    below = "     # d\n\n\n# e\n"
    for header, lines in blocks:
        check(f"a:\n     k: {header} # c\n{lines}{below}")


@settings(THOROUGH, max_examples=max(5, EXAMPLES // 5))
@given(workflows(2))
def test_the_machine_is_the_same(case: tuple[Workflow, dict[str, Any]]) -> None:
    workflow, _ = case
    content = workflow.model_dump(by_alias=True, exclude_unset=True)
    edges = load(format_text(dump(content))).data["edges"]
    assert all(isinstance(edge, str) or "when" in edge for edge in edges)
    again = Workflow.model_validate({**content, "edges": edges})
    # Published again, it is no new version.
    before, after = compile_workflow(workflow), compile_workflow(again)
    assert after.definition_json() == before.definition_json()
    assert after.plan.to_dict() == before.plan.to_dict()
    assert again.expanded_edges() == workflow.expanded_edges()


@THOROUGH
@given(FREE.filter(lambda value: isinstance(value, dict)))
def test_json(content: dict[str, Any]) -> None:
    for text in (json.dumps(content), json.dumps(content, indent=1, ensure_ascii=True)):
        formatted = format_text(text, filename="a.json")
        assert json.loads(formatted) == content
        assert format_text(formatted, filename="a.json") == formatted


def test_comments_are_distinct() -> None:
    assert len(set(COMMENTS)) == len(COMMENTS)
