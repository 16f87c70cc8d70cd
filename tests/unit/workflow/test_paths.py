"""Paths mean the same alone and inside a larger expression."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joinery.workflow.expressions import DictScope, Missing, Reference, build_document
from joinery.workflow.jsonata_eval import parse
from joinery.workflow.kinds import parse_expression
from joinery.workflow.paths import NOTHING, Path, path_text, read_path, unit_of


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("inputs", ("inputs",)),
        ("inputs.document", ("inputs", "document")),
        ("nodes.x.output.items[0].name", ("nodes", "x", "output", "items", 0, "name")),
        ("item[-1]", ("item", -1)),
        ("loop.previous.verdict.text", ("loop", "previous", "verdict", "text")),
        ("input.x", None),
        ("inputs.", None),
        ("inputs.x-y", None),
        ("inputs.x[a]", None),
        ("inputsx", None),
    ],
)
def test_paths_are_read(text: str, path: Path | None) -> None:
    assert read_path(text) == path
    if path is not None:
        assert path_text(path) == text


def test_names_that_are_no_identifiers_are_quoted() -> None:
    assert path_text(("nodes", "a b", "text")) == "nodes.`a b`.text"


def test_references_name_their_node() -> None:
    assert Reference("nodes", ("judge", "output", "score")).node_id == "judge"
    assert Reference("loop", ("previous", "judge", "text")).node_id == "judge"
    assert Reference("loop", ("round",)).node_id is None
    assert Reference("inputs", ("x",)).node_id is None


def test_a_document_holds_whole_results_and_leaves_out_what_is_missing() -> None:
    data = {
        "inputs": {"a": 1, "b": 2},
        "nodes": {"x": {"text": "t", "output": {"s": 1}, "status": "completed"}},
        "loop": {"round": 2, "previous": {"x": {"text": "p"}}},
    }
    wanted = [
        Reference("inputs", ("a",)),
        Reference("nodes", ("x", "output", "s")),
        Reference("nodes", ("missing", "text")),
        Reference("loop", ("previous", "x", "text")),
    ]
    assert build_document(DictScope(data), wanted) == {
        "inputs": {"a": 1},
        "nodes": {"x": {"output": {"s": 1}}},
        "loop": {"previous": {"x": {"text": "p"}}},
    }
    whole = build_document(
        DictScope(data), [Reference("nodes", ("x",)), Reference("nodes", ("x", "text"))]
    )
    assert whole == {"nodes": {"x": data["nodes"]["x"]}}
    assert whole["nodes"] is not data["nodes"], "the scope's own data is not handed out to build on"


@pytest.mark.parametrize(
    ("reference", "unit"),
    [
        (Reference("inputs", ("a", "b")), ("inputs", "a")),
        (Reference("inputs"), ("inputs",)),
        (Reference("nodes", ("x",)), ("nodes", "x")),
        (Reference("nodes", ("x", "output", "s")), ("nodes", "x", "output")),
        (Reference("loop", ("previous", "x", "output", "s")), ("loop", "previous", "x", "output")),
        (Reference("loop", ("round",)), ("loop", "round")),
        (Reference("inputs", ("a", 0)), ("inputs", "a")),
    ],
)
def test_units(reference: Reference, unit: Path) -> None:
    assert unit_of(reference) == unit


def test_a_scope_says_what_is_missing() -> None:
    with pytest.raises(Missing, match=r"inputs\.list\[3\]"):
        DictScope({"inputs": {"list": [1]}}).lookup(("inputs", "list", 3))


# -- the fast path is only faster --------------------------------------------------------------

names = st.sampled_from(["a", "b", "c"])
data = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "x", "a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=15,
)
steps = st.lists(names | st.integers(-2, 2), max_size=4)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(names, data, max_size=3), names, steps)
def test_a_path_alone_equals_the_path_in_jsonata(
    inputs: dict[str, Any], first: str, rest: list[str | int]
) -> None:
    text = path_text(("inputs", first, *rest))
    scope = DictScope({"inputs": inputs})
    try:
        alone: Any = parse_expression(text).evaluate(scope, 5)
    except Missing:
        alone = NOTHING
    program = parse(text)
    try:
        inside: Any = program.evaluate(scope, 5)
    except Missing:
        inside = NOTHING
    assert alone == inside
