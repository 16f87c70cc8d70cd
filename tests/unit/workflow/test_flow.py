"""Edges and the graph as a whole."""

from __future__ import annotations

import pytest

from joinery.workflow.source import load
from joinery.workflow.validation import validate

NODES = """\
version: 1
name: x
nodes:
  a: {type: template, template: x}
  b: {type: template, template: x}
  c: {type: template, template: x}
  check: {type: condition, if: "{{ run.id = 'x' }}"}
  sw: {type: switch, value: "{{ run.id }}", cases: {one: 1, two: 2}}
  risky: {type: template, template: x, on_error: route}
  l: {type: loop, max_rounds: 2}
  m: {type: loop, max_rounds: 2}
edges:
"""


def found(*edges: str) -> list[tuple[str, str | None]]:
    """Returns code and node of what is wrong; nodes that no edge names are left out."""
    written = "\n".join(edges)
    lines = [
        line
        for line in NODES.splitlines()
        if not line.startswith("  ") or line.split(":")[0].strip() in _words(written)
    ]
    text = "\n".join(lines) + "\n" + "".join(f"  - {edge}\n" for edge in edges)
    return [(p.code, p.node_id) for p in validate(load(text)).problems]


def _words(text: str) -> set[str]:
    return set("".join(c if c.isalnum() else " " for c in text).split())


@pytest.mark.parametrize(
    "edges",
    [
        ["start -> a -> end"],
        ["start -> a, b", "a, b -> c -> end"],
        ["start -> check", "check.true -> a -> end", "check.false -> end"],
        ["start -> sw", "sw.one, sw.two -> a -> end", "sw.default -> end"],
        ["start -> risky -> end", "risky.error -> a -> end"],
        ["start -> a -> l", "l.repeat -> a", "l.done -> end"],
        ["start -> a, b", "a, b -> l", "l.repeat -> a, b", "l.done -> end"],
        ["start -> a -> b -> l", "l.repeat -> b", "l.done -> m", "m.repeat -> a", "m.done -> end"],
        ["start -> a -> check", "check.true -> l", "check.false -> end", "l.repeat -> a",
         "l.done -> end"],
        ["{from: start, to: a}", "{from: a, to: end}"],
        ["start -> l", "l.repeat -> l", "l.done -> end"],
    ],
)  # fmt: skip
def test_good_graphs(edges: list[str]) -> None:
    assert found(*edges) == []


@pytest.mark.parametrize(
    ("edges", "problems"),
    [
        # edges
        (["start -> a -> end", "a ->"], [("edge.syntax", None)]),
        (["start -> a -> end", "a, -> b", "b -> end"], [("edge.syntax", None)]),
        (["start -> a -> end", "a -> b.x"], [("edge.syntax", None)]),
        (["start -> a -> end", "a -> nope"], [("edge.dangling", None)]),
        (["start -> a -> end", "nope -> b", "b -> end"], [("edge.dangling", None)]),
        (["start -> a -> end", "nope -> nada"], [("edge.dangling", None)] * 2),
        (["start -> a.x -> end"], [("edge.unknown_port", "a")]),
        (["start.x -> a -> end"], [("edge.unknown_port", "start")]),
        (["start -> check", "check.ture, check.false -> end"], [("edge.unknown_port", "check")]),
        (["start -> check", "check -> end"], [("edge.missing_port", "check")]),
        (["start -> a -> end", "a -> end"], [("edge.duplicate", "a")]),
        (["start -> a -> start", "a -> end"], [("edge.into_start", None)]),
        (["start -> a -> end -> a"], [("edge.out_of_end", None)]),
        (["{from: a.true, to: end}", "start -> a -> end"], [("edge.dangling", None)]),
        # reach
        (["a -> end"], [("graph.no_start", None)]),
        (["start -> a"], [("graph.no_end", None)]),
        (["start -> a -> end", "b -> end"], [("graph.unreachable", "b")]),
        (["start -> a -> end", "a -> b -> c"], [("graph.dead_end", "b"), ("graph.dead_end", "c")]),
        (["start -> a -> end", "b -> c -> end"],
         [("graph.unreachable", "b"), ("graph.unreachable", "c")]),
        # ports
        (["start -> check", "check.true -> end"], [("graph.port_unconnected", "check")]),
        (["start -> sw", "sw.one -> end"], [("graph.port_unconnected", "sw")] * 2),
        (["start -> risky -> end"], [("graph.port_unconnected", "risky")]),
        (["start -> a -> l", "l.done -> end"], [("graph.port_unconnected", "l")]),
        # cycles
        (["start -> a -> a", "a -> end"], [("graph.cycle", "a")]),
        (["start -> a -> b -> c -> a", "c -> end"], [("graph.cycle", "a")]),
        (["start -> a -> check", "check.true -> a", "check.false -> end"], [("graph.cycle", "a")]),
        (["start -> a -> b -> a", "start -> c -> l", "l.repeat -> c", "l.done, b -> end"],
         [("graph.cycle", "a")]),
        (["start -> a, b", "a -> b -> l", "l.repeat -> a", "l.done -> end"],
         [("graph.irreducible", "a")]),
        (["start -> a -> l", "l.repeat -> b", "l.done, b -> end"], [("graph.not_a_loop", "l")]),
        (["start -> a -> l", "l.repeat -> a", "l.done -> a", "start -> end"],
         [("graph.loop_no_exit", "a")]),
        (["start -> end", "a -> l", "l.repeat -> a", "l.done -> end"],
         [("graph.unreachable", "a"), ("graph.unreachable", "l")]),
    ],
)  # fmt: skip
def test_bad_graphs(edges: list[str], problems: list[tuple[str, str | None]]) -> None:
    assert found(*edges) == problems


def test_a_typing_error_in_an_edge_brings_no_follow_ups() -> None:
    # `chek` is taken for `check`, so nothing is unreachable for it.
    assert found("start -> a -> chek", "check.true, check.false -> b -> end") == [
        ("edge.dangling", None)
    ]
    assert (
        found("start -> b -> nowhere", "b -> end", "unknown -> a", "a -> end")
        == [("edge.dangling", None)] * 2
    )


def test_a_cycle_is_named_in_order() -> None:
    text = NODES.replace("edges:\n", "") + "edges: [start -> c -> a -> b -> c, b -> end]\n"
    (problem,) = [p for p in validate(load(text)).problems if p.code == "graph.cycle"]
    assert "c -> a -> b -> c" in problem.message


def test_unconnected_ports_warn_but_loops_need_theirs() -> None:
    text = NODES + "  - start -> check\n  - check.true -> end\n"
    problems = [p for p in validate(load(text)).problems if p.code == "graph.port_unconnected"]
    assert [p.severity for p in problems] == ["warning"]
    text = NODES + "  - start -> a -> l\n  - l.done -> end\n"
    problems = [p for p in validate(load(text)).problems if p.code == "graph.port_unconnected"]
    assert [p.severity for p in problems] == ["error"]
