"""Expected values: from probabilities, rounds and conditions on edges; limits name their node."""

from __future__ import annotations

from typing import Any

import pytest
from kit.workflows import condition, loop, workflow

from joinery.compiler.chances import run_chances
from joinery.compiler.compile import compile_workflow
from joinery.compiler.cost import Range, Report
from joinery.compiler.plan import Plan
from joinery.errors import InvalidWorkflow
from joinery.workflow.model import Workflow

BOOL = {"type": "boolean", "required": True}
INPUTS = {"x": BOOL, "y": BOOL}


def llm(*names: str) -> dict[str, Any]:
    return {name: {"type": "llm", "prompt": name} for name in names}


def figures(graph: Workflow, opt: int = 1) -> Report:
    return compile_workflow(graph, opt=opt).report


def chances(graph: Workflow) -> dict[str, float]:
    return {name: round(p, 6) for name, p in run_chances(compile_workflow(graph).plan).items()}


# -- how likely a node runs ------------------------------------------------------------------


def test_ports_are_taken_evenly_unless_the_file_says_more() -> None:
    edges = ["start -> s", "s.a -> a", "s.b -> b", "s.default -> c", "a, b, c -> j -> end"]
    cases = {"type": "switch", "value": "{{ inputs.x }}", "cases": {"a": True, "b": False}}
    even = chances(workflow(edges, {"s": cases}, inputs=INPUTS))
    assert even == {
        "s": 1.0, "a": pytest.approx(1 / 3, abs=1e-5), "b": pytest.approx(1 / 3, abs=1e-5),
        "c": pytest.approx(1 / 3, abs=1e-5), "j": 1.0, "end": 1.0,
    }  # fmt: skip
    said = {**cases, "probabilities": {"a": 0.7}}
    found = chances(workflow(edges, {"s": said}, inputs=INPUTS))
    assert (found["a"], found["b"], found["c"], found["j"]) == (0.7, 0.15, 0.15, 1.0)


def test_a_fork_behind_a_port_is_one_decision_and_two_conditions_are_two() -> None:
    fork = workflow(
        ["start -> p", "p.true -> a, b", "a, b -> c -> end", "p.false -> end"],
        {"p": condition("x")},
        inputs=INPUTS,
    )
    assert chances(fork)["c"] == 0.5
    two = workflow(
        ["start -> p, q", "p.true -> c", "q.true -> c", "c -> end", "p.false, q.false -> end"],
        {"p": condition("x"), "q": condition("y")},
        inputs=INPUTS,
    )
    assert chances(two)["c"] == 0.75


def test_an_error_port_is_not_expected_unless_it_is_named() -> None:
    edges = ["start -> a -> b -> end", "a.error -> c -> end"]
    routed = {"type": "template", "template": "x", "on_error": "route"}
    found = chances(workflow(edges, {"a": routed}))
    assert (found["b"], found["c"]) == (1.0, 0.0)
    named = chances(workflow(edges, {"a": {**routed, "probabilities": {"error": 0.02}}}))
    assert (named["b"], named["c"]) == (0.98, 0.02)


# -- figures ---------------------------------------------------------------------------------


def test_probabilities_weigh_transitions_calls_and_price() -> None:
    edges = ["start -> p", "p.true -> a -> b -> end", "p.false -> end"]
    nodes = {**llm("a", "b"), "p": {**condition("x"), "probabilities": {"true": 0.1}}}
    report = figures(workflow(edges, nodes, inputs=INPUTS))
    assert report.transitions == Range(3, pytest.approx(3.2), 5)
    assert report.model_calls == Range(0, pytest.approx(0.2), 2)
    assert report.price_usd.min < report.price_usd.expected < report.price_usd.max
    lambdas = report.price_by_service["lambda"]
    assert lambdas.expected == pytest.approx(
        lambdas.min + 0.1 * (lambdas.max - lambdas.min), rel=1e-9
    )


def test_rounds_are_those_that_the_file_expects() -> None:
    edges = ["start -> a -> l", "l.repeat -> a", "l.done -> end"]
    nodes = {**llm("a"), "l": {**loop(3, 4), "expected_rounds": 2.5}}
    report = figures(workflow(edges, nodes))
    assert report.model_calls == Range(1, 2.5, 4)
    assert report.transitions == Range(4, 7, 10)


def test_a_loop_without_until_runs_all_its_rounds() -> None:
    edges = ["start -> a -> l", "l.repeat -> a", "l.done -> end"]
    report = figures(workflow(edges, {**llm("a"), "l": {"type": "loop", "max_rounds": 4}}))
    assert report.model_calls == Range(4, 4, 4)
    early = workflow(
        ["start -> p", "p.true -> end", "p.false -> a -> l", "l.repeat -> p", "l.done -> end"],
        {**llm("a"), "p": condition("x"), "l": {"type": "loop", "max_rounds": 4}},
        inputs=INPUTS,
    )
    assert figures(early).model_calls.min == 0


def test_an_edge_with_when_costs_its_task_and_not_its_call() -> None:
    graph = workflow(
        ["start -> a", "b -> c -> end"],
        {**llm("b"), "c": {"type": "template", "template": "c"}},
        more=[
            {"from": "a", "to": "b", "when": "{{ nodes.a.text = 'a' }}"},
            {"from": "a", "to": "c"},
        ],
    )
    report = figures(graph, opt=0)
    # Least: the Task of b is entered, finds its node skipped, and calls no model.
    assert report.transitions == Range(4, 4, 4)
    assert report.model_calls == Range(0, 0.5, 1)
    assert report.history_events.min == report.history_events.max


def test_a_region_in_levels_counts_calls_by_chance() -> None:
    graph = workflow(
        ["start -> a, p", "a -> c, d", "p.true -> d", "p.false -> e", "c, d, e -> end"],
        {**llm("a", "c", "d", "e"), "p": condition("x")},
        inputs=INPUTS,
    )
    report = figures(graph)
    assert report.model_calls.expected == pytest.approx(3.5)
    assert (report.model_calls.min, report.model_calls.max) == (3, 4)


def test_least_expected_and_most_stand_in_order() -> None:
    graph = workflow(
        ["start -> a -> b -> l", "l.repeat -> a", "l.done -> p", "p.true -> c -> end",
         "p.false -> end"],
        {**llm("a", "b", "c"), "l": loop(2), "p": condition("x")}, inputs=INPUTS,
    )  # fmt: skip
    report = figures(graph)
    for figure in (
        report.transitions, report.history_events, report.model_calls, report.price_usd,
        *report.price_by_service.values(),
    ):  # fmt: skip
        assert 0 <= figure.min <= figure.expected <= figure.max


def test_a_plan_keeps_what_is_expected() -> None:
    edges = ["start -> p", "p.true -> a -> l", "p.false -> end", "l.repeat -> a", "l.done -> end"]
    nodes = {
        "p": {**condition("x"), "probabilities": {"true": 0.25}, "name": "Ist es so?"},
        "l": {**loop(2), "expected_rounds": 3},
    }
    plan = compile_workflow(workflow(edges, nodes, inputs=INPUTS)).plan
    kept = Plan.from_dict(plan.to_dict())
    assert kept == plan
    assert kept.by_id["p"].probabilities == {"true": 0.25}
    assert kept.by_id["p"].name == "Ist es so?"
    assert kept.loop_of["l"].expected_rounds == 3


# -- limits ----------------------------------------------------------------------------------


def looped(rounds: int, length: int, outer: int = 1) -> Workflow:
    names = [f"n{i}" for i in range(length)]
    return workflow(
        [
            "start -> first -> " + " -> ".join(names) + " -> inner",
            "inner.repeat -> n0",
            "inner.done -> outer",
            "outer.repeat -> first",
            "outer.done -> end",
        ],
        {
            **llm("first", *names),
            "inner": {"type": "loop", "max_rounds": rounds},
            "outer": {"type": "loop", "max_rounds": outer},
        },
    )


def test_a_history_that_is_near_its_limit_names_the_loop() -> None:
    report = figures(looped(50, 70))
    (problem,) = report.problems
    assert (problem.code, problem.severity) == ("limit.history", "warning")
    assert problem.node_id == "inner"
    assert "70% of" in problem.message
    assert "in the 50 rounds of loop 'inner'" in problem.message


def test_a_history_beyond_its_limit_names_the_loop() -> None:
    with pytest.raises(InvalidWorkflow) as refused:
        figures(looped(4, 70, outer=20))
    (problem,) = refused.value.problems
    assert (problem.code, problem.node_id) == ("limit.history", "outer")
    assert problem.hint == "fewer rounds of 'outer', or fewer nodes inside it"


def test_a_definition_beyond_its_limit_says_how_large_its_states_are() -> None:
    names = [f"a_name_that_is_longer_than_it_has_to_be_for_anybody_{i:04d}" for i in range(2_000)]
    graph = workflow(["start -> " + " -> ".join(names) + " -> end"], llm(*names))
    with pytest.raises(InvalidWorkflow) as refused:
        figures(graph)
    (problem,) = refused.value.problems
    assert problem.code == "limit.definition"
    assert problem.node_id in names
    assert "2,001 states" in problem.message


def test_a_plan_that_is_too_large_names_the_node_with_the_longest_texts() -> None:
    graph = workflow(
        ["start -> a -> b -> c -> end"],
        {
            **llm("b"),
            "a": {"type": "llm", "prompt": "x", "system": "y" * 3_000_000},
            "c": {"type": "llm", "prompt": "x", "system": "z" * 6_000_000},
        },
    )
    with pytest.raises(InvalidWorkflow) as refused:
        figures(graph)
    (problem,) = refused.value.problems
    assert (problem.code, problem.node_id) == ("limit.plan", "c")


def test_the_largest_payload_is_that_of_the_widest_map() -> None:
    names = [f"branch_number_{i}" for i in range(40)]
    graph = workflow(
        ["start -> a -> " + ", ".join(names), ", ".join(names) + " -> b -> end"], llm(*names)
    )
    report = figures(graph)
    assert report.payload.state.startswith("fork branch_number_0")
    assert 700 < report.payload.bytes < 1_200
