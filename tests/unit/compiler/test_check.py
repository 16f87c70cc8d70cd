"""Everything that is wrong with a file comes at once, with its place and what to write."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from joinery.compiler.check import check, check_file
from joinery.compiler.opt import DEFAULT_OPT
from joinery.workflow.report import Report
from joinery.workflow.source import load

DATA = Path(__file__).parents[2] / "data"


def checked(text: str, opt: int = DEFAULT_OPT) -> Report:
    return check(load("version: 1\nname: w\n" + text), opt=opt)


def test_eleven_mistakes_come_at_once_each_with_its_place() -> None:
    report = check_file(DATA / "many_mistakes.yaml")
    assert report.workflow is None
    assert [(p.line, p.code) for p in report.errors] == [
        (3, "limit.timeout"),
        (6, "reference.unknown_input"),
        (7, "reference.may_not_have_run"),
        (12, "graph.unreachable"),
        (13, "expression.not_a_condition"),
        (13, "node.probability_sum"),
        (16, "graph.join_never"),
        (18, "node.bad_id"),
        (29, "graph.irreducible"),
        (33, "graph.loop_no_exit"),
        (36, "edge.dangling"),
    ]
    assert all(p.column > 1 and p.message and p.pointer for p in report.errors)
    assert all(p.hint for p in report.errors if p.code != "edge.dangling")
    irreducible = next(p for p in report.errors if p.code == "graph.irreducible")
    assert "is entered at 'x' and 'y'" in irreducible.message


def test_what_only_compiling_finds_stands_beside_what_validation_found() -> None:
    names = ", ".join(f"n{i}: {{type: llm, prompt: hi}}" for i in range(60))
    chain = " -> ".join(f"n{i}" for i in range(60))
    report = checked(
        f"""nodes:
  {{first: {{type: template, template: "{{{{ inputs.x }}}}"}}, {names},
   again: {{type: loop, max_rounds: 90}}}}
edges: [start -> first -> {chain} -> again, again.repeat -> n0, again.done -> end]
""",
        opt=1,
    )
    codes = [(p.code, p.node_id, p.line) for p in report.errors]
    assert codes == [
        ("reference.unknown_input", "first", 4),
        ("limit.history", "again", 5),
    ]


def test_a_limit_that_is_near_is_a_warning_with_its_place() -> None:
    names = "\n".join(f"  n{i}: {{type: llm, prompt: hi}}" for i in range(60))
    chain = " -> ".join(f"n{i}" for i in range(60))
    report = checked(
        f"""nodes:
{names}
  again: {{type: loop, max_rounds: 55}}
edges: [start -> first -> {chain} -> again, again.repeat -> n0, again.done -> end]
""".replace("nodes:\n", "nodes:\n  first: {type: llm, prompt: hi}\n"),
        opt=1,
    )
    assert report.workflow is not None
    (problem,) = report.problems
    assert (problem.code, problem.severity) == ("limit.history", "warning")
    assert (problem.line, problem.node_id) == (65, "again")


# -- joins and conditions -------------------------------------------------------------------------


def codes(text: str) -> list[tuple[str, str | None]]:
    return [(p.code, p.node_id) for p in checked(text).problems if p.code.startswith("graph.")]


def nodes(*names: str) -> str:
    return "".join(f"  {name}: {{type: template, template: hi}}\n" for name in names)


@pytest.mark.parametrize(("wanted", "fine"), [(1, True), (2, True), (3, False)])
def test_a_join_can_wait_for_as_many_parents_as_run(wanted: int, fine: bool) -> None:
    found = codes(
        "inputs: {x: {type: boolean, required: true}}\n"
        "nodes:\n" + nodes("a", "b", "c") + '  ask: {type: condition, if: "{{ inputs.x }}"}\n'
        f"  j: {{type: template, template: hi, join: {{at_least: {wanted}}}}}\n"
        'edges: ["start -> a, ask", ask.true -> b, ask.false -> c, "a, b, c -> j", j -> end]\n'
    )
    assert found == ([] if fine else [("graph.join_never", "j")])


def test_a_join_cannot_wait_for_more_parents_than_there_are() -> None:
    report = checked(
        "nodes:\n" + nodes("a") + "  j: {type: template, template: hi, join: {at_least: 2}}\n"
        "edges: [start -> a -> j -> end]\n"
    )
    problem = next(p for p in report.errors if p.code == "graph.join_never")
    assert problem.message == "node 'j' waits for 2 parents and never runs: 1 node leads to it"


@pytest.mark.parametrize(
    ("ask", "lost"),
    [
        ('{type: condition, if: "{{ true }}"}', "no"),
        ('{type: condition, if: "{{false}}"}', "yes"),
        ('{type: switch, cases: {"true": "{{ true }}", "false": "{{ inputs.x }}"}}', "no"),
        ('{type: switch, value: "{{ inputs.x }}", cases: {"true": 1, "false": [1]}}', "no"),
    ],
)
def test_what_a_constant_decides_is_warned_of(ask: str, lost: str) -> None:
    found = codes(
        f"inputs: {{x: {{type: boolean, required: true}}}}\nnodes:\n{nodes('yes', 'no', 'more')}"
        f"  ask: {ask}\n"
        "edges: [start -> ask, ask.true -> yes, ask.false -> no -> more, yes -> end, more -> end"
        + (", ask.default -> end]\n" if "switch" in ask else "]\n")
    )
    assert found == [("graph.never_runs", lost)]


def test_a_node_that_another_way_leads_to_is_not_lost() -> None:
    found = codes(
        "nodes:\n" + nodes("a", "b") + '  ask: {type: condition, if: "{{ false }}"}\n'
        "edges: [start -> ask, ask.true -> a, ask.false -> a, a -> b -> end]\n"
    )
    assert found == []


def test_2000_nodes_are_checked_in_time() -> None:
    import time

    names = [f"n{i}" for i in range(2_000)]
    text = "nodes:\n" + nodes(*names) + "edges:\n  - start -> n0\n  - n1999 -> end\n"
    text += "".join(f"  - {a} -> {b}\n" for a, b in pairwise(names))
    begun = time.perf_counter()
    report = checked(text)
    assert report.problems == ()
    assert time.perf_counter() - begun < 10.0
