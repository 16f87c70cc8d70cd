"""Loops found in a graph, and cycles that are none."""

from __future__ import annotations

from itertools import pairwise

import pytest

from joinery.workflow.graph import Link, Structure, analyse, strongly_connected, topological
from joinery.workflow.model import parse_edge


def structure(edges: list[str], loops: list[str]) -> Structure:
    links = [Link(e.from_, e.port or "", e.to) for text in edges for e in parse_edge(text)]
    names = ["start", *dict.fromkeys(n for link in links for n in (link.source, link.target))]
    ordered = list(dict.fromkeys([*(n for n in names if n != "end"), "end"]))
    return analyse(ordered, links, loops)


def test_a_loop_may_begin_at_a_fork() -> None:
    found = structure(
        ["start -> a, b", "a, b -> c -> l", "l.repeat -> a, b", "l.done -> end"], ["l"]
    )
    (region,) = found.loops
    assert region.loop == "l"
    assert region.entries == ("a", "b")
    assert region.body == ("a", "b", "c", "l")
    assert found.problems == []


def test_loops_nest_outer_before_inner() -> None:
    found = structure(
        ["start -> a -> b -> i", "i.repeat -> b", "i.done -> o", "o.repeat -> a", "o.done -> end"],
        ["i", "o"],
    )
    assert [(r.loop, r.parent) for r in found.loops] == [("o", None), ("i", "o")]
    assert found.scope_of()["b"] == ("o", "i")
    assert found.scope_of()["a"] == ("o",)


def test_loops_that_begin_at_one_node_nest_by_which_leads_to_which() -> None:
    edges = ["start -> a -> i", "i.repeat -> a", "i.done -> o", "o.repeat -> a", "o.done -> end"]
    found = structure(edges, ["i", "o"])
    assert found.problems == []
    assert [(r.loop, r.parent, r.entries) for r in found.loops] == [
        ("o", None, ("a",)),
        ("i", "o", ("a",)),
    ]


@pytest.mark.parametrize(
    ("edges", "loops", "kind", "entries"),
    [
        (["start -> a -> b -> a", "b -> end"], [], "cycle", ("a",)),
        (
            ["start -> a, b", "a -> b", "b -> l", "l.repeat -> a", "l.done -> end"],
            ["l"],
            "irreducible",
            ("a", "b"),
        ),
        (["start -> a -> l", "l.repeat -> a", "start -> end"], ["l"], "no_exit", ()),
        (
            ["start -> a -> i, o", "i.repeat, o.repeat -> a", "i.done, o.done -> end"],
            ["i", "o"],
            "shared",
            ("i", "o"),
        ),
    ],
)
def test_cycles_that_are_no_loops(
    edges: list[str], loops: list[str], kind: str, entries: tuple[str, ...]
) -> None:
    (problem,) = structure(edges, loops).problems
    assert problem.kind == kind
    assert problem.entries == entries


def test_order_is_topological_and_ties_keep_the_order_of_the_file() -> None:
    links = [Link("c", "", "a"), Link("d", "", "a")]
    assert topological(["a", "b", "c", "d"], links) == ["b", "c", "d", "a"]


def test_two_thousand_nodes_in_a_row() -> None:
    names = [f"n{i}" for i in range(2000)]
    successors = {a: [b] for a, b in pairwise(names)}
    assert len(strongly_connected(names, successors)) == 2000
