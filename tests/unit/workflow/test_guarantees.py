"""What a node can rely on: by examples, and against every way a random graph can run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joinery.workflow.checks.edges import RawEdge, RawGraph, RawNode
from joinery.workflow.checks.guarantees import Guarantees, compute
from joinery.workflow.graph import END, START, Link, analyse
from joinery.workflow.source import load
from joinery.workflow.validation import validate

HEAD = """\
version: 1
name: x
inputs: {go: {type: boolean, required: true}}
nodes:
  a: {type: template, template: "%s"}
  b: {type: template, template: "%s"}
  c: {type: template, template: "%s"}
  d: {type: template, template: "%s"}
  e: {type: template, template: "%s"}
  if1: {type: condition, if: "{{ inputs.go }}"}
  l: {type: loop, max_rounds: 3, until: "%s"}
"""


def problems(edges: str, on_error: str = "fail", **texts: str) -> list[tuple[str, str | None]]:
    """Returns code and node of reference problems in a graph of nodes a to e, if1 and l."""
    filled = HEAD % tuple(
        texts.get(name, "{{ 1 = 1 }}" if name == "l" else "x") for name in "abcdel"
    )
    if on_error != "fail":
        filled = filled.replace("  a: {", f"  a: {{on_error: {on_error}, ")
    words = set("".join(c if c.isalnum() else " " for c in edges).split())
    lines = [
        line
        for line in filled.splitlines()
        if not line.startswith("  ") or line.split(":")[0].strip() in words
    ]
    outputs = f'outputs: {{x: "{texts["out"]}"}}\n' if "out" in texts else ""
    report = validate(load("\n".join(lines) + f"\nedges: [{edges}]\n{outputs}"))
    return [(p.code, p.node_id) for p in report.problems]


def ref(name: str) -> str:
    return f"{{{{ nodes.{name}.text }}}}"


GONE = "reference.may_not_have_run"
FORK = '"start -> a -> b, c", "b, c -> d -> end"'
SWITCH = 'start -> if1, if1.true -> a, if1.false -> b, "a, b -> c -> end"'


@pytest.mark.parametrize(
    ("edges", "texts", "expected"),
    [
        ("start -> a -> b -> end", {"b": ref("a"), "out": ref("a")}, []),
        (FORK, {"d": ref("a") + ref("b") + ref("c")}, []),
        (FORK, {"c": ref("b")}, [(GONE, "c")]),
        (FORK, {"a": ref("d")}, [(GONE, "a")]),
        (FORK, {"a": ref("a")}, [(GONE, "a")]),
        (SWITCH, {"c": ref("a")}, [(GONE, "c")]),
        (SWITCH, {"c": "{{ nodes.a.text ?? nodes.b.text ?? '' }}"}, []),
        (SWITCH, {"c": "{{ nodes.a.text ?? nodes.b.text }}"}, [(GONE, "c")]),
        (SWITCH, {"c": "{{ nodes.if1.output }}{{ nodes.a.status }}"}, []),
        (SWITCH, {"out": ref("c")}, []),
        (SWITCH, {"out": ref("a")}, [(GONE, None)]),
        # Both ways lead through d.
        ('start -> if1, if1.true -> a -> d, if1.false -> d, d -> end', {"out": ref("d")}, []),
        # A fork behind the condition: reached by one port, both branches run.
        ('start -> if1, "if1.true -> a, b", "a, b -> c -> end", if1.false -> end',
         {"c": ref("a") + ref("b")}, []),
        # An edge that passes by.
        ('start -> a -> b -> c, a -> c, c -> end', {"c": ref("b")}, []),
        ('start -> if1, if1.true -> a -> c, if1.false -> c, c -> end',
         {"c": ref("a")}, [(GONE, "c")]),
    ],
)  # fmt: skip
def test_references(
    edges: str, texts: dict[str, str], expected: list[tuple[str, str | None]]
) -> None:
    assert problems(edges, **texts) == expected


LOOP = "start -> a -> b -> c -> l, l.repeat -> b, l.done -> d -> end"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({"b": ref("a"), "c": ref("b"), "d": ref("c") + ref("b")}, []),
        ({"b": "{{ loop.round }}{{ loop.previous.c.text ?? '' }}"}, []),
        ({"l": "{{ loop.round >= 2 }}", "d": "{{ nodes.l.output.rounds }}"}, []),
        ({"b": ref("c")}, [(GONE, "b")]),
        ({"b": "{{ loop.previous.c.text }}"}, [(GONE, "b")]),
        ({"b": "{{ nodes.c.text ?? '' }}"}, [("reference.not_before", "b")]),
        ({"d": "{{ loop.round }}"}, [("reference.outside_loop", "d")]),
        ({"b": "{{ loop.previous.a.text ?? '' }}"}, [("reference.outside_loop", "b")]),
        ({"b": "{{ loop.previous.zz.text ?? '' }}"}, [("reference.unknown_node", "b")]),
        ({"b": "{{ loop.rounds }}"}, [("reference.unknown_field", "b")]),
        ({"b": "{{ loop.previous.c.txt ?? '' }}"}, [("reference.unknown_field", "b")]),
    ],
)
def test_references_in_loops(texts: dict[str, str], expected: list[tuple[str, str | None]]) -> None:
    assert problems(LOOP, **texts) == expected


def test_hints_for_the_round_before() -> None:
    text = HEAD % ("x", ref("c"), "x", "x", "x", "{{ 1 = 1 }}")
    text = text.replace('  e: {type: template, template: "x"}\n', "")
    text = text.replace('  if1: {type: condition, if: "{{ inputs.go }}"}\n', "")
    (problem,) = validate(load(text + f"edges: [{LOOP}]\n")).problems
    assert "{{ loop.previous.c.text ?? '' }}" in problem.hint


ROUTE = 'start -> a -> b, a.error -> c, "b, c -> d -> end"'


@pytest.mark.parametrize(
    ("on_error", "edges", "texts", "expected"),
    [
        ("continue", "start -> a -> b -> end", {"b": ref("a")}, [(GONE, "b")]),
        ("continue", "start -> a -> b -> end", {"b": "{{ nodes.a.text ?? '' }}"}, []),
        ("continue", "start -> a -> b -> end", {"b": "{{ nodes.a.status }}"}, []),
        ("continue", "start -> a -> b -> end", {"b": "{{ nodes.a.error.message }}"}, [(GONE, "b")]),
        ("{default: y}", "start -> a -> b -> end", {"b": ref("a")}, []),
        ("{default: {k: 1}}", "start -> a -> b -> end", {"b": "{{ nodes.a.output.k }}"}, []),
        ("route", ROUTE, {"b": ref("a")}, []),
        ("route", ROUTE, {"c": "{{ nodes.a.error.message }}"}, []),
        ("route", ROUTE, {"b": "{{ nodes.a.error.message }}"}, [(GONE, "b")]),
        ("route", ROUTE, {"c": ref("a")}, [(GONE, "c")]),
        ("route", ROUTE, {"d": ref("a")}, [(GONE, "d")]),
        ("route", ROUTE, {"d": ref("b")}, [(GONE, "d")]),
    ],
)
def test_references_to_what_may_fail(
    on_error: str, edges: str, texts: dict[str, str], expected: list[tuple[str, str | None]]
) -> None:
    assert problems(edges, on_error, **texts) == expected


def test_when_is_evaluated_after_its_source() -> None:
    def when(expression: str) -> list[tuple[str, str | None]]:
        edge = f'{{from: a, to: b, when: "{{{{ {expression} }}}}"}}'
        return problems(f"start -> a, {edge}, b -> end, a -> c -> end")

    assert when("nodes.a.text = 'x'") == []
    assert when("inputs.go") == []
    assert when("nodes.b.text = 'x'") == [(GONE, "a")]
    assert when("nodes.a.error.code = 'x'") == [(GONE, "a")]


def test_an_edge_with_when_promises_nothing() -> None:
    edge = '{from: a, to: b, when: "{{ inputs.go }}"}'
    assert problems(f"start -> a, {edge}, b -> c, a -> c -> end", c=ref("b")) == [(GONE, "c")]


def test_a_join_that_does_not_wait_promises_only_what_all_parents_had() -> None:
    text = HEAD % ("x", "x", "x", ref("a") + ref("b"), "x", "{{ 1 = 1 }}")
    text = text.replace("  d: {", "  d: {join: any, ")
    for name in ("e", "l", "if1"):
        text = "\n".join(line for line in text.splitlines() if not line.startswith(f"  {name}:"))
    found = validate(load(text + '\nedges: ["start -> a -> b, c", "b, c -> d -> end"]\n')).problems
    assert [(p.code, p.node_id) for p in found] == [(GONE, "d")]
    assert "nodes.b.text" in found[0].message


# -- against every way a graph can run ------------------------------------------------------------


@st.composite
def graphs(draw: st.DrawFn) -> tuple[RawGraph, Guarantees]:
    count = draw(st.integers(2, 7))
    names = [f"n{i}" for i in range(count)]
    graph = RawGraph()
    for name in names:
        ports = draw(st.sampled_from([("",), ("",), ("true", "false")]))
        join = draw(st.sampled_from(["all", "all", "all", "any"]))
        kind = "condition" if len(ports) == 2 else "template"
        graph.nodes[name] = RawNode(name, kind, ports, {"join": join})
    places = [START, *names, END]
    for here, source in enumerate(places[:-1]):
        ports = graph.nodes[source].ports or ("",) if source in graph.nodes else ("",)
        for port in ports:
            later = places[here + 1 :]
            for target in draw(
                st.lists(st.sampled_from(later), min_size=1, max_size=3, unique=True)
            ):
                when = draw(st.sampled_from([None, None, None, "{{ x }}"]))
                graph.edges.append(RawEdge(Link(source, port, target, when), ""))
    structure = analyse(graph.names, graph.links, [])
    return graph, compute(graph, structure)


def ways(graph: RawGraph) -> Iterator[dict[str, set[str]]]:
    """Yields every way to run: what has ended before each node that runs."""
    conditions = [node.id for node in graph.nodes.values() if len(node.ports or ()) == 2]
    guarded = [index for index, edge in enumerate(graph.edges) if edge.link.when is not None]
    first_come = [node.id for node in graph.nodes.values() if not node.waits_for_all]
    for decided in itertools.product(("true", "false"), repeat=len(conditions)):
        port_of = dict(zip(conditions, decided, strict=True))
        for open_edges in itertools.product((True, False), repeat=len(guarded)):
            closed = {i for i, is_open in zip(guarded, open_edges, strict=True) if not is_open}
            for choice in itertools.product(range(3), repeat=len(first_come)):
                yield _run(graph, port_of, closed, dict(zip(first_come, choice, strict=True)))


def _run(
    graph: RawGraph, port_of: dict[str, str], closed: set[int], choice: dict[str, int]
) -> dict[str, set[str]]:
    ran = {START}
    # What has ended when a node is decided; a node that is skipped was waited for as well.
    ended: dict[str, set[str]] = {START: set()}
    for name in [*graph.nodes, END]:
        parents = {e.link.source for e in graph.edges if e.link.target == name}
        came = [
            edge.link.source
            for index, edge in enumerate(graph.edges)
            if edge.link.target == name
            and edge.link.source in ran
            and index not in closed
            and edge.link.port == port_of.get(edge.link.source, "")
        ]
        if came:
            ran.add(name)
            if name in choice:
                parents = {came[choice[name] % len(came)]}
        ended[name] = set().union(*(ended[parent] | ({parent} & ran) for parent in parents))
    return {name: ended[name] for name in ran}


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_what_is_promised_holds_on_every_way(made: tuple[RawGraph, Guarantees]) -> None:
    graph, promised = made
    if sum(len(node.ports or ()) == 2 for node in graph.nodes.values()) > 3:
        return
    if sum(edge.link.when is not None for edge in graph.edges) > 4:
        return
    for past in ways(graph):
        for node in past:
            for other in graph.nodes:
                if promised.has_run(node, other):
                    assert other in past[node], (node, other, graph.links)


@settings(max_examples=100, deadline=None)
@given(graphs())
def test_what_lies_on_every_way_is_promised(made: tuple[RawGraph, Guarantees]) -> None:
    graph, promised = made
    for node in graph.nodes:
        for other in graph.nodes:
            if other == node or not promised.is_before(node, other):
                continue
            without = [link for link in graph.links if other not in (link.source, link.target)]
            reached = {START}
            for _ in graph.nodes:
                reached |= {link.target for link in without if link.source in reached}
            if node not in reached:
                assert promised.has_run(node, other)


# -- behind joins that do not wait for all -------------------------------------------------------

RACE = """\
version: 1
name: race
inputs: {go: {type: boolean, default: true}}
nodes:
  a: {type: template, template: x}
  b: {type: template, template: x}
  c: {type: template, template: x}
  d: {type: template, template: x}
  e: {type: template, template: "READ"}
  j: {type: template, join: JOIN, template: "SEES"}
edges: ["start -> a -> b, c", "b, c -> d", "b -> j", "d -> j -> e -> end"]
"""


def race(join: str, sees: str = "x", read: str = "x") -> list[tuple[str, str | None]]:
    text = RACE.replace("JOIN", join).replace("SEES", sees).replace("READ", read)
    return [(p.code, p.node_id) for p in validate(load(text)).problems]


def test_of_its_parents_such_a_join_needs_defaults() -> None:
    assert race("any", ref("b")) == [(GONE, "j")]
    assert race("any", ref("c")) == [(GONE, "j")]
    assert race("any", ref("a")) == []
    assert race("any", "{{ nodes.b.text ?? nodes.d.text ?? '' }}") == []
    assert race("all", ref("b") + ref("c") + ref("d")) == []


def test_what_comes_after_the_join_needs_them_too() -> None:
    assert race("any", read=ref("b")) == [(GONE, "e")]
    assert race("any", read=ref("a") + ref("j")) == []


def test_a_join_that_needs_every_edge_has_every_parent() -> None:
    assert race("{at_least: 2}", ref("b") + ref("d") + ref("a")) == []
    assert race("{at_least: 2}", read=ref("b") + ref("d")) == []


def test_what_may_fail_for_the_join_is_no_promise_to_its_neighbours() -> None:
    text = RACE.replace("JOIN", "any").replace("SEES", "x").replace("READ", "x")
    reads = f'  d: {{type: template, template: "{ref("c")}"}}'
    text = text.replace("  d: {type: template, template: x}", reads)
    assert [(p.code, p.node_id) for p in validate(load(text)).problems] == [(GONE, "d")]
    text = text.replace("join: any", "join: all")
    assert validate(load(text)).problems == ()


def test_waiting_for_more_edges_than_there_are() -> None:
    assert race("{at_least: 3}") == [("graph.join_never", "j")]
    assert race("{at_least: 2}") == []
