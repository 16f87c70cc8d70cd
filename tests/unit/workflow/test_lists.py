"""Results of all items stay lists, alone and inside larger expressions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joinery.workflow.expressions import DictScope, parse_template


def value(expression: str, **data: Any) -> Any:
    return parse_template("{{ " + expression + " }}").value(DictScope(data))


def entries(*texts: str | None) -> list[dict[str, Any]]:
    return [
        {"status": "skipped"} if text is None else {"status": "completed", "text": text}
        for text in texts
    ]


@pytest.mark.parametrize(
    ("texts", "seen"),
    [([], []), (["a"], ["a"]), (["a", "b"], ["a", "b"]), ([None], []), ([None, "b"], ["b"])],
)
@pytest.mark.parametrize(
    "form", ["nodes.x.text", "(nodes.x.text)", "nodes.x.text ?? 'none'",
             "true ? nodes.x.text : 0", "{'a': nodes.x.text}.a", "$$.nodes.x.text"]
)  # fmt: skip
def test_a_path_through_results_gives_a_list(form: str, texts: list[Any], seen: list[str]) -> None:
    assert value(form, nodes={"x": entries(*texts)}) == seen


def test_functions_take_them_as_lists() -> None:
    for texts in ([], ["a"], ["a", "b"]):
        nodes = {"x": entries(*texts)}
        assert value("$count(nodes.x)", nodes=nodes) == len(texts)
        assert value("$count(nodes.x.text)", nodes=nodes) == len(texts)
        assert value("$join(nodes.x.text, '-')", nodes=nodes) == "-".join(texts)
        mapped = value("[$map(nodes.x.text, function($t) { $t & '!' })]", nodes=nodes)
        assert mapped == [f"{text}!" for text in texts]


def test_one_of_them_is_no_list() -> None:
    nodes = {"x": entries("a", "b")}
    assert value("nodes.x[0].text", nodes=nodes) == "a"
    assert value("nodes.x[-1].text", nodes=nodes) == "b"
    assert value("nodes.x[0].text & '!'", nodes=nodes) == "a!"
    assert value("nodes.x[2].text ?? 'none'", nodes=nodes) == "none"
    assert value("nodes.x[text = 'b'].status", nodes=nodes) == "completed"


def test_other_lists_follow_jsonata() -> None:
    data = {"inputs": {"xs": [{"n": 1}]}, "nodes": {"y": {"output": [{"n": 1}]}}}
    assert value("inputs.xs.n", **data) == 1
    assert value("nodes.y.output.n", **data) == 1
    # A field of the same name inside a filter is not the root.
    items = [{"nodes": {"x": [{"text": "a"}]}}]
    assert value("inputs.xs[nodes.x.text = 'a']", inputs={"xs": items}) == items[0]


def test_lists_in_lists_keep_apart_until_a_path_asks_them() -> None:
    nested = [entries("a", "b"), [], entries("c")]
    assert value("nodes.x", nodes={"x": nested}) == nested
    assert value("nodes.x.text", nodes={"x": nested}) == ["a", "b", "c"]
    assert value("nodes.x[2][0].text", nodes={"x": nested}) == "c"


def test_the_round_before_is_a_list_as_well() -> None:
    loop = {"round": 2, "previous": {"x": entries("a")}}
    assert value("loop.previous.x.text", loop=loop) == ["a"]
    assert value("$count(loop.previous.x.text)", loop=loop) == 1


def test_a_whole_and_a_part_in_one_expression_agree() -> None:
    nodes = {"x": entries("a")}
    both = value("{'n': $count(nodes.x), 'first': nodes.x[0].text, 'all': nodes.x.text}",
                 nodes=nodes)  # fmt: skip
    assert both == {"n": 1, "first": "a", "all": ["a"]}


RESULTS = st.recursive(
    st.fixed_dictionaries(
        {"status": st.just("completed")},
        optional={
            "text": st.text("ab", max_size=2),
            "output": st.one_of(
                st.integers(0, 9),
                st.lists(st.integers(0, 9), max_size=2),
                st.fixed_dictionaries({}, optional={"n": st.integers(0, 9)}),
            ),
        },
    ),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(RESULTS, max_size=3), st.sampled_from(["text", "output", "output.n", "status"]))
def test_paths_and_jsonata_agree(results: list[Any], path: str) -> None:
    nodes = {"x": results}
    alone = value(f"nodes.x.{path}", nodes=nodes)
    assert alone == value(f"(nodes.x.{path})", nodes=nodes)
    assert alone == value(f"{{'a': nodes.x.{path}}}.a", nodes=nodes) or not alone
    assert isinstance(alone, list)
    assert value(f"$count(nodes.x.{path})", nodes=nodes) == len(alone)
