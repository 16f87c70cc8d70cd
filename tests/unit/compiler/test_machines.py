"""Each region kind: what it compiles to, and that it runs as the interpreter does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kit.engines import compiled_run, interpreted
from kit.workflows import condition, loop, workflow
from statelint.config import Config
from statelint.linter import Linter

from joinery.compiler.compile import compile_workflow
from joinery.compiler.cost import expected_rounds
from joinery.compiler.predict import transitions_of
from joinery.errors import InvalidWorkflow
from joinery.workflow.model import Workflow

BOOL = {"type": "boolean", "required": True}

GRAPHS: dict[str, tuple[Workflow, dict[str, Any]]] = {
    "chain": (workflow(["start -> a -> b -> c -> end"]), {}),
    "fork": (workflow(["start -> a -> b, c, d", "b, c, d -> e -> end"]), {}),
    "fork at start": (workflow(["start -> a, b", "a, b -> end"]), {}),
    "uneven fork": (workflow(["start -> a -> b, c", "b -> d", "c, d -> e -> end"]), {}),
    "fork in fork": (
        workflow(["start -> a -> b, c", "b -> d, e", "d, e -> f", "f, c -> g -> end"]),
        {},
    ),
    "bypass edge": (workflow(["start -> a -> b, c", "b -> c", "c -> end"]), {}),
    "condition": (
        workflow(
            ["start -> ask", "ask.true -> a", "ask.false -> b", "a, b -> c -> end"],
            {"ask": condition("x")},
            inputs={"x": BOOL},
        ),
        {"x": True},
    ),
    "condition with nothing to do": (
        workflow(
            ["start -> ask", "ask.true -> a -> b", "ask.false -> b", "b -> end"],
            {"ask": condition("x")},
            inputs={"x": BOOL},
        ),
        {"x": False},
    ),
    "condition in a branch": (
        workflow(
            ["start -> ask, c", "ask.true -> a", "ask.false -> b", "a, b, c -> d -> end"],
            {"ask": condition("x")},
            inputs={"x": BOOL},
        ),
        {"x": False},
    ),
    "branch that may be empty": (
        workflow(
            ["start -> ask, c", "ask.true -> a -> d", "ask.false -> d", "c -> d -> end"],
            {"ask": condition("x")},
            inputs={"x": BOOL},
        ),
        {"x": False},
    ),
    "chain of conditions skips on": (
        workflow(
            [
                "start -> p",
                "p.true -> a -> q",
                "p.false -> z",
                "q.true -> b -> z",
                "q.false -> z",
                "z -> end",
            ],
            {"p": condition("x"), "q": condition("y")},
            inputs={"x": BOOL, "y": BOOL},
        ),
        {"x": False, "y": True},
    ),
    "loop": (workflow(["start -> a -> l", "l.repeat -> a", "l.done -> end"], {"l": loop(3)}), {}),
    "loop after a task": (
        workflow(
            ["start -> z -> a -> b -> l", "l.repeat -> a", "l.done -> y -> end"], {"l": loop(2)}
        ),
        {},
    ),
    "loop that begins at a fork": (
        workflow(
            ["start -> a, b", "a, b -> c -> l", "l.repeat -> a, b", "l.done -> end"],
            {"l": loop(2)},
        ),
        {},
    ),
    "loop in loop": (
        workflow(
            [
                "start -> a -> b -> i",
                "i.repeat -> b",
                "i.done -> o",
                "o.repeat -> a",
                "o.done -> end",
            ],
            {"i": loop(2), "o": loop(3)},
        ),
        {},
    ),
    "loop in a branch": (
        workflow(
            ["start -> a, b", "a -> l", "l.repeat -> a", "l.done -> c", "b -> c -> end"],
            {"l": loop(2)},
        ),
        {},
    ),
    "loop after loop": (
        workflow(
            [
                "start -> a -> l",
                "l.repeat -> a",
                "l.done -> b -> m",
                "m.repeat -> b",
                "m.done -> end",
            ],
            {"l": loop(2), "m": loop(3)},
        ),
        {},
    ),
    "condition in a loop": (
        workflow(
            [
                "start -> h -> ask",
                "ask.true -> a -> l",
                "ask.false -> b -> l",
                "l.repeat -> h",
                "l.done -> end",
            ],
            {"ask": {"type": "condition", "if": "{{ loop.round = 1 }}"}, "l": loop(3)},
        ),
        {},
    ),
    "a way out of a loop": (
        workflow(
            [
                "start -> h -> ask",
                "ask.true -> out -> end",
                "ask.false -> a -> l",
                "l.repeat -> h",
                "l.done -> fine -> end",
            ],
            {"ask": {"type": "condition", "if": "{{ loop.round = 2 }}"}, "l": loop(4)},
        ),
        {},
    ),
    "N shape": (workflow(["start -> a, b", "a -> c, d", "b -> d", "c, d -> end"]), {}),
    "layers": (
        workflow(["start -> a, b", "a, b -> c, d", "c, d -> e, f", "e, f -> end"]),
        {},
    ),
    "shared parent in branches of several nodes": (
        workflow(
            [
                "start -> s -> a, b, c",
                "a -> d",
                "b -> d, e",
                "c -> f -> g",
                "e -> g",
                "d, g -> j -> end",
            ]
        ),
        {},
    ),
    "condition in an N shape": (
        workflow(
            ["start -> a, ask", "a -> c, d", "ask.true -> d", "ask.false -> e", "c, d, e -> end"],
            {"ask": condition("x")},
            inputs={"x": BOOL},
        ),
        {"x": False},
    ),
    "loop in an N shape": (
        workflow(
            [
                "start -> a, b",
                "a -> c, h",
                "b -> h",
                "h -> l",
                "l.repeat -> h",
                "l.done -> d",
                "c -> d -> end",
            ],
            {"l": loop(2)},
        ),
        {},
    ),
    "dead loop in an N shape": (
        workflow(
            [
                "start -> a, ask",
                "a -> c",
                "ask.true -> c, h",
                "ask.false -> c",
                "h -> l",
                "l.repeat -> h",
                "l.done -> d",
                "c -> d -> end",
            ],
            {"l": loop(2), "ask": condition("x")},
            inputs={"x": BOOL},
        ),
        {"x": False},
    ),
    "conditions on edges": (
        workflow(
            ["start -> a", "b, c -> d -> end"],
            inputs={"x": BOOL},
            more=[
                {"from": "a", "to": "b", "when": "{{ inputs.x }}"},
                {"from": "a", "to": "c", "when": "{{ nodes.a.text = 'a' }}"},
            ],
        ),
        {"x": False},
    ),
    "conditions on edges that all fail": (
        workflow(
            ["start -> a", "b -> e -> end", "c -> end"],
            inputs={"x": BOOL},
            more=[
                {"from": "a", "to": "b", "when": "{{ inputs.x }}"},
                {"from": "a", "to": "c", "when": "{{ inputs.x }}"},
            ],
        ),
        {"x": False},
    ),
    "a condition on an edge that cannot be evaluated": (
        workflow(
            ["start -> a", "b -> end"],
            inputs={"s": {"type": "string"}},
            more=[{"from": "a", "to": "b", "when": "{{ inputs.s }}"}],
        ),
        {"s": "no boolean"},
    ),
    "a failed node continues": (
        workflow(
            ["start -> a -> b -> end"],
            {"a": {"type": "template", "template": "{{ inputs.none }}", "on_error": "continue"}},
            inputs={"none": {"type": "string"}},
        ),
        {},
    ),
    "a failed node takes its error port": (
        workflow(
            ["start -> a", "a -> b", "a.error -> c", "b, c -> d -> end"],
            {"a": {"type": "template", "template": "{{ inputs.none }}", "on_error": "route"}},
            inputs={"none": {"type": "string"}},
        ),
        {},
    ),
    "a failed node fails the run": (
        workflow(
            ["start -> a -> b -> end"],
            {"a": {"type": "template", "template": "{{ inputs.none }}"}},
            inputs={"none": {"type": "string"}},
        ),
        {},
    ),
}


@pytest.mark.parametrize("opt", [0, 1, 2])
@pytest.mark.parametrize("name", list(GRAPHS))
def test_machine_does_what_the_interpreter_does(name: str, opt: int) -> None:
    graph, given = GRAPHS[name]
    compiled = compile_workflow(graph, opt=opt)

    machine = compiled_run(compiled, given)
    reference = interpreted(compiled.plan, given)

    assert machine.nodes() == reference.nodes()
    assert machine.status == reference.status
    assert machine.outputs == reference.outputs
    skips = [sorted(map(str, e["data"]["nodes"])) for e in machine.listener.named("nodes.skipped")]
    assert skips == [
        sorted(map(str, e["data"]["nodes"])) for e in reference.listener.named("nodes.skipped")
    ]


@pytest.mark.parametrize("opt", [0, 1, 2])
@pytest.mark.parametrize("name", list(GRAPHS))
def test_machine_is_clean_and_within_its_price(name: str, opt: int) -> None:
    graph, given = GRAPHS[name]
    compiled = compile_workflow(graph, opt=opt)

    text = compiled.definition_json()
    assert Linter.validate(text, Config([], False, True)) == []
    assert text == compile_workflow(graph, opt=opt).definition_json()
    report = compiled.report.transitions
    machine = compiled_run(compiled, given)
    assert machine.transitions <= report.max
    if machine.status == "completed":
        assert report.min <= machine.transitions
    assert report.min <= report.expected <= report.max
    records = machine.store.nodes(machine.run.run_id)
    assert machine.transitions == transitions_of(compiled.plan, compiled.emitted, records)


def states(graph: Workflow, opt: int) -> dict[str, Any]:
    found: dict[str, Any] = compile_workflow(graph, opt=opt).definition["States"]
    return found


def test_alike_branches_become_a_map_and_uneven_ones_a_parallel() -> None:
    even, _ = GRAPHS["fork"]
    assert states(even, 0)["fork b + c + d"]["Items"] == ["b", "c", "d"]
    uneven, _ = GRAPHS["uneven fork"]
    # Folding makes `b, d` one Task, and then the branches are alike.
    assert states(uneven, 0)["fork b + c"]["Type"] == "Parallel"
    assert states(uneven, 1)["fork b + c"]["Type"] == "Map"


def test_transitions_of_the_reference_graph() -> None:
    graph = workflow(
        [
            "start -> a -> b, c, d",
            "b, c, d -> e -> s",
            "s.f -> f",
            "s.default -> g",
            "f, g -> h -> i -> l",
            "l.repeat -> i",
            "l.done -> j -> end",
        ],
        {
            **{n: {"type": "llm", "prompt": n} for n in "abcdefghij"},
            "s": {"type": "switch", "value": "{{ nodes.e.text }}", "cases": {"f": "x"}},
            "l": {"type": "loop", "max_rounds": 3},
        },
    )
    # Every step wrapped in Pass and Choice states would take about 51.
    assert compile_workflow(graph, opt=0).report.transitions.max == 21
    assert compile_workflow(graph, opt=1).report.transitions.max == 17


def test_no_transition_is_spent_before_a_loop_that_a_task_leads_to() -> None:
    graph, _ = GRAPHS["loop after a task"]
    assert not [s for s in states(graph, 0).values() if s["Type"] == "Pass"]


def test_an_n_shape_takes_two_levels() -> None:
    n_shape, _ = GRAPHS["N shape"]
    found = states(n_shape, 0)
    assert found["fork a + b"]["Items"] == ["a", "b"]
    assert found["then c + d"]["Items"] == ["c", "d"]
    assert compile_workflow(n_shape, opt=0).report.transitions.max == 2 + 4 + 1


def test_a_branch_that_leaves_its_loop_waits_for_its_end() -> None:
    graph = workflow(
        ["start -> h -> x, l", "x -> end", "l.repeat -> h", "l.done -> end"], {"l": loop(2)}
    )
    found = states(graph, 0)
    # Nothing leads back from x, so it runs once, after the last round.
    assert found["h"]["Next"] == "l"
    assert found["after l"]["Default"] == "x"


def test_loops_that_begin_at_the_same_node_nest() -> None:
    graph = workflow(
        ["start -> h -> i", "i.repeat -> h", "i.done -> x -> o", "o.repeat -> h", "o.done -> end"],
        {"i": loop(1, 2), "o": loop(1, 3)},
    )
    found = states(graph, 0)
    assert found["enter o"]["Assign"] == {"path_o": "1", "path_i": "1.1"}
    (again,) = found["after o"]["Choices"]
    assert again["Assign"] == {
        "path_o": "{% $states.input.path %}",
        "path_i": "{% $states.input.path & '.1' %}",
    }
    # Rounds times (h, i and its Choice), and per outer round x, o and its Choice.
    assert compile_workflow(graph, opt=0).report.transitions.max == 1 + 3 * (2 * 3 + 3) + 1


def test_history_beyond_the_limit_is_refused() -> None:
    body = " -> ".join(f"n{i}" for i in range(60))
    graph = workflow(
        [f"start -> {body} -> l", "l.repeat -> n0", "l.done -> end"],
        {
            **{f"n{i}": {"type": "llm", "prompt": "x"} for i in range(60)},
            "l": {"type": "loop", "max_rounds": 100},
        },
    )
    with pytest.raises(InvalidWorkflow) as refused:
        compile_workflow(graph, opt=1)
    assert [p.code for p in refused.value.problems] == ["limit.history"]


def test_expected_rounds_of_a_loop_that_ends_by_half() -> None:
    assert expected_rounds(1) == 1.0
    assert expected_rounds(2) == 1.5
    assert expected_rounds(3) == 1.75


def test_names_fit_and_stay_unique() -> None:
    ids = [f"a_rather_long_name_for_a_node_number_{i}" for i in range(6)]
    graph = workflow(["start -> " + ", ".join(ids), ", ".join(ids) + " -> end"])
    compiled = compile_workflow(graph)
    names = list(compiled.emitted.info)
    assert max(map(len, names)) <= 80
    assert len(set(names)) == len(names)


def test_definition_is_json_of_the_same_bytes_after_a_round_trip() -> None:
    graph, _ = GRAPHS["loop in loop"]
    text = compile_workflow(graph).definition_json()
    assert json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False) == text
