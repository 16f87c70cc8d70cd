"""What runs for each item: found in the graph, and checked to be closed."""

from __future__ import annotations

import pytest

from joinery.workflow.bodies import analyse_all
from joinery.workflow.graph import Link, Structure
from joinery.workflow.mermaid import mermaid
from joinery.workflow.model import parse_edge
from joinery.workflow.source import load
from joinery.workflow.validation import load_workflow, validate

NODES = """\
version: 1
name: x
inputs: {xs: {type: array, required: true}}
nodes:
  a: {type: template, template: x}
  b: {type: template, template: x}
  c: {type: template, template: x}
  d: {type: template, template: x}
  check: {type: condition, if: "{{ run.id = 'x' }}"}
  l: {type: loop, max_rounds: 2}
  each: {type: iterate, items: "{{ inputs.xs }}"}
  inner: {type: iterate, items: "{{ inputs.xs }}"}
edges:
"""


def text(*edges: str, **templates: str) -> str:
    """Returns a file; nodes that no edge names are left out."""
    words = set("".join(c if c.isalnum() else " " for c in " ".join(edges)).split())
    lines = []
    for line in NODES.splitlines():
        name = line.split(":")[0].strip()
        if line.startswith("  ") and name not in words:
            continue
        lines.append(line.replace("template: x", f'template: "{templates.get(name, "x")}"'))
    return "\n".join(lines) + "\n" + "".join(f"  - {edge}\n" for edge in edges)


def found(*edges: str, **templates: str) -> list[tuple[str, str | None]]:
    return [(p.code, p.node_id) for p in validate(load(text(*edges, **templates))).problems]


def structure(*edges: str, loops: tuple[str, ...] = ("l",)) -> Structure:
    links = [Link(e.from_, e.port or "", e.to) for one in edges for e in parse_edge(one)]
    names = dict.fromkeys(n for link in links for n in (link.source, link.target))
    ordered = ["start", *(n for n in names if n not in ("start", "end")), "end"]
    return analyse_all(ordered, links, loops, [n for n in ("each", "inner") if n in names])


# -- the structure -------------------------------------------------------------------------


def test_a_body_comes_between_its_node_and_what_follows() -> None:
    shape = structure("start -> each", "each.done -> c -> end", "each.item -> a -> b")
    assert shape.order == ["start", "each", "a", "b", "c", "end"]
    assert shape.iterates[0].body == ("a", "b")
    assert shape.iterates[0].entries == ("a",)
    assert shape.scope_of()["b"] == ("each",)
    assert shape.scope_of()["each"] == shape.scope_of()["c"] == ()


def test_bodies_and_loops_nest_either_way() -> None:
    shape = structure(
        "start -> x -> each", "each.item -> inner", "inner.item -> a -> m", "m.repeat -> a",
        "inner.done -> b", "each.done -> l", "l.repeat -> x", "l.done -> end",
        loops=("l", "m"),
    )  # fmt: skip
    scopes = shape.scope_of()
    assert scopes["x"] == scopes["each"] == scopes["l"] == ("l",)
    assert scopes["inner"] == scopes["b"] == ("l", "each")
    assert scopes["a"] == scopes["m"] == ("l", "each", "inner", "m")
    assert [(r.iterate, r.parent) for r in shape.iterates] == [("each", "l"), ("inner", "each")]
    assert shape.problems == []
    place = shape.order.index
    assert place("m") < place("b") < place("l")


def test_a_loop_that_repeats_a_whole_body_is_inside_it() -> None:
    shape = structure("start -> each", "each.item -> a -> l", "l.repeat -> a", "each.done -> end")
    assert shape.scope_of()["a"] == ("each", "l")


# -- what is valid -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "edges",
    [
        ("start -> each", "each.item -> a", "each.done -> end"),
        ("start -> each", "each.item -> a -> b", "each.done -> c -> end"),
        ("start -> each", "each.item -> a, b -> c", "each.done -> end"),
        ("start -> each", "each.item -> check", "check.true -> a", "each.done -> end"),
        ("start -> each", "each.item -> a -> l", "l.repeat -> a", "each.done -> end"),
        ("start -> a -> each", "each.item -> b", "each.done -> l", "l.repeat -> a",
         "l.done -> end"),
        ("start -> each", "each.item -> inner", "inner.item -> a", "each.done -> end"),
        ("start -> each", "each.item -> inner", "inner.item -> a", "inner.done -> b",
         "each.done -> end"),
    ],
)  # fmt: skip
def test_closed_bodies_are_valid(edges: tuple[str, ...]) -> None:
    assert found(*edges) == []


def test_done_may_lead_nowhere_like_any_port() -> None:
    assert found("start -> each, b", "each.item -> a", "b -> end") == [
        ("graph.port_unconnected", "each")
    ]
    (problem,) = validate(load(text("start -> each, b", "each.item -> a", "b -> end"))).problems
    assert problem.severity == "warning"


# -- what is not ---------------------------------------------------------------------------


def test_without_items_there_is_nothing_to_iterate() -> None:
    source = load(text("start -> each", "each.done -> a -> end"))
    (problem,) = validate(source).problems
    assert (problem.code, problem.severity) == ("graph.port_unconnected", "error")
    assert problem.hint == "add 'each.item -> ...'"


@pytest.mark.parametrize(
    ("edges", "node", "words"),
    [
        (("each.item -> a -> end", "each.done -> end"), "a", "'end' comes after all items"),
        (("each.item -> a -> b", "each.done -> b -> end"), "a", "by 'each.done -> b'"),
        (("each.item -> a -> each", "each.done -> end"), "a", "is what the items come from"),
        (("each.item -> inner", "inner.item -> a -> b", "inner.done -> b", "each.done -> end"),
         "a", "body of 'inner': 'b' also runs without an item, by 'inner.done -> b'"),
    ],
)  # fmt: skip
def test_nothing_leads_out_of_a_body(edges: tuple[str, ...], node: str, words: str) -> None:
    problems = validate(load(text("start -> each", *edges))).problems
    left = [p for p in problems if p.code == "graph.body_left"]
    assert [p.node_id for p in left] == [node]
    assert words in left[0].message
    assert "each.done" in left[0].hint or "inner.done" in left[0].hint


@pytest.mark.parametrize(
    ("edges", "words"),
    [
        (("start -> each, a", "each.item -> a", "a -> end"), "by 'start -> a'"),
        (("start -> each", "each.item -> each", "each.done -> end"), "cannot run for each item"),
        (("start -> each", "each.item -> end", "each.done -> end"), "cannot run for each item"),
    ],
)
def test_only_items_enter_a_body(edges: tuple[str, ...], words: str) -> None:
    problems = validate(load(text(*edges))).problems
    entered = [p for p in problems if p.code == "graph.body_entered"]
    assert [p.node_id for p in entered] == ["each"]
    assert words in entered[0].message


def test_all_leaks_are_found_at_once() -> None:
    codes = found(
        "start -> each", "each.item -> a, b", "a -> end", "b -> c", "each.done -> c -> d -> end"
    )
    assert codes == [("graph.body_left", "a"), ("graph.body_left", "b")]


# -- what expressions read -----------------------------------------------------------------

CLOSED = ("start -> d -> each", "each.item -> a -> b", "each.done -> c -> end")


@pytest.mark.parametrize(
    ("node", "expression", "code"),
    [
        ("a", "item.x", None),
        ("b", "nodes.each.item.x", None),
        ("b", "nodes.each.index", None),
        ("b", "$count(nodes.each.output)", None),
        ("b", "nodes.a.text", None),
        ("b", "nodes.d.text", None),
        ("c", "nodes.a.text", None),
        ("c", "nodes.a[0].text ?? ''", None),
        ("c", "nodes.a[0].nonsense ?? ''", "reference.unknown_field"),
        ("c", "nodes.a.nonsense", "reference.unknown_field"),
        ("c", "$count(nodes.b)", None),
        ("c", "nodes.each.output", None),
        ("c", "nodes.each.index", "reference.unknown_field"),
        ("c", "item", "reference.outside_iterate"),
        ("d", "item.x", "reference.outside_iterate"),
        ("d", "nodes.a.text", "reference.may_not_have_run"),
        ("d", "nodes.a.text ?? 'x'", "reference.not_before"),
        ("b", "nodes.c.text", "reference.may_not_have_run"),
        ("b", "nodes.each.nonsense", "reference.unknown_field"),
        ("b", "loop.round", "reference.outside_loop"),
    ],
)
def test_what_nodes_in_and_around_a_body_may_read(
    node: str, expression: str, code: str | None
) -> None:
    codes = [one for one, _ in found(*CLOSED, **{node: f"{{{{ {expression} }}}}"})]
    assert codes == ([code] if code else [])


def test_a_body_in_a_loop_reads_that_loop_and_a_loop_in_it_its_own() -> None:
    around = ("start -> a -> each", "each.item -> b", "each.done -> l", "l.repeat -> a",
              "l.done -> end")  # fmt: skip
    assert found(*around, b="{{ loop.round }} {{ loop.previous.a.text ?? '' }}") == []
    assert found(*around, b="{{ nodes.a.text }} {{ loop.previous.b.text ?? '' }}") == []
    inside = ("start -> each", "each.item -> a -> b -> l", "l.repeat -> b", "each.done -> end")
    assert found(*inside, b="{{ loop.round }}") == []
    assert found(*inside, a="{{ loop.round }}") == [("reference.outside_loop", "a")]


def test_the_nodes_of_an_inner_body_are_lists_in_the_outer_one() -> None:
    edges = ("start -> each", "each.item -> inner", "inner.item -> a", "inner.done -> b",
             "each.done -> c -> end")  # fmt: skip
    assert found(*edges, a="{{ item }} {{ nodes.each.item }}", b="{{ nodes.a.text }}") == []
    assert found(*edges, b="{{ nodes.inner.index }}") == [("reference.unknown_field", "b")]
    assert found(*edges, c="{{ nodes.a.text }}{{ nodes.b.text }}") == []


# -- the node itself -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "code", "hint"),
    [
        ("items: 3", "schema.type", ""),
        ("concurrency: 2", "schema.missing_key", "add 'items:"),
        ("items: [1], max_items: 1001", "schema.value", ""),
        ("items: [1], max_items: 0", "schema.value", ""),
        ("items: [1], concurrency: 1001", "schema.value", ""),
        ("items: [1], on_item_error: route", "schema.value", ""),
        ("items: [1], max_items: 3, expected_items: 4", "schema.value", "smaller number"),
        ("items: [1, 2], max_items: 1", "schema.value", "max_items: 2"),
        ('items: "abc"', "expression.not_a_condition", "{{"),
    ],
)
def test_wrong_fields(fields: str, code: str, hint: str) -> None:
    source = text("start -> each", "each.item -> a", "each.done -> end")
    source = source.replace('items: "{{ inputs.xs }}"', fields)
    (problem,) = validate(load(source)).problems
    assert problem.code == code
    assert hint in problem.hint


def test_bodies_in_bodies_have_a_limit() -> None:
    def deep(count: int) -> list[str]:
        nodes = "".join(f"  e{n}: {{type: iterate, items: [1]}}\n" for n in range(count))
        edges = [f"e{n}.item -> e{n + 1}" for n in range(count - 1)]
        edges += ["start -> e0", f"e{count - 1}.item -> a", "e0.done -> end"]
        lines = "".join(f"  - {edge}\n" for edge in edges)
        source = f"version: 1\nname: x\nnodes:\n{nodes}  a: {{type: template, template: x}}\n"
        report = validate(load(f"{source}edges:\n{lines}"))
        return [f"{p.code} {p.node_id}" for p in report.problems]

    assert deep(20) == []
    assert deep(21) == deep(300) == ["limit.iterate_depth e20"]


def test_a_drawing_frames_what_runs_for_each_item() -> None:
    lines = mermaid(
        load_workflow(text("start -> each", "each.item -> inner", "inner.item -> a",
                           "inner.done -> b", "each.done -> c -> end"))
    ).splitlines()  # fmt: skip
    start = lines.index('  subgraph b_each["each item of each"]')
    inner = lines.index('    subgraph b_inner["each item of inner"]')
    assert lines[inner + 1].strip().startswith("n_a[")
    assert lines[inner + 2] == "    end"
    assert start < inner < lines.index("  end")
    assert any(line.startswith("  n_c[") for line in lines)
    assert any(line.startswith("    n_b[") for line in lines[start : lines.index("  end")])
