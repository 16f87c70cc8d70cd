"""Bad input ends a run alike on both engines: by a named error, and at the same node."""

from __future__ import annotations

from typing import Any

import pytest
from kit.engines import Ended, compiled_run, interpreted
from kit.workflows import workflow

from joinery.compiler.compile import Compiled, compile_workflow
from joinery.compiler.opt import OPT_LEVELS
from joinery.compiler.predict import transitions_of

INPUTS: dict[str, Any] = {"given": {"type": "object"}, "x": {"type": "boolean"}}

UNDECIDED = {
    "no truth": ("{{ inputs.given.n }}", {"n": 3}),
    "nothing there": ("{{ inputs.given.gone }}", {}),
    "two kinds compared": ("{{ inputs.given.n > 'a' }}", {"n": 3}),
    "null": ("{{ inputs.given.n }}", {"n": None}),
}


def both(made: Compiled, given: Any) -> Ended:
    machine, reference = compiled_run(made, given), interpreted(made.plan, given)
    assert machine.status == reference.status
    assert machine.nodes() == reference.nodes()
    records = machine.store.nodes(machine.run.run_id)
    assert machine.transitions == transitions_of(made.plan, made.emitted, records)
    for ended in (machine, reference):
        ended.run = ended.store.get_run(ended.run.run_id)
    assert (machine.run.error or {}).get("node_id") == (reference.run.error or {}).get("node_id")
    assert (machine.run.error or {}).get("code") == (reference.run.error or {}).get("code")
    return machine


@pytest.mark.parametrize("opt", OPT_LEVELS)
@pytest.mark.parametrize("kind", UNDECIDED)
def test_a_condition_that_cannot_be_evaluated_fails_the_run(kind: str, opt: int) -> None:
    test, given = UNDECIDED[kind]
    edges = ["start -> a -> ask", "ask.true -> b -> end", "ask.false -> end"]
    made = compile_workflow(
        workflow(edges, {"ask": {"type": "condition", "if": test}}, inputs=INPUTS), opt=opt
    )
    ended = both(made, {"given": given})
    error: Any = ended.run.error
    assert (ended.status, error["node_id"], error["code"]) == ("failed", "ask", "expression")
    assert error["message"]


@pytest.mark.parametrize("opt", OPT_LEVELS)
def test_or_takes_its_port_error(opt: int) -> None:
    test, given = UNDECIDED["nothing there"]
    ask = {"type": "condition", "if": test, "on_error": "route"}
    edges = ["start -> ask", "ask.true -> a -> end", "ask.false -> end", "ask.error -> b -> end"]
    made = compile_workflow(workflow(edges, {"ask": ask}, inputs=INPUTS), opt=opt)
    ended = both(made, {"given": given})
    assert ended.status == "completed"
    assert {n: status for (n, _), (status, _) in ended.nodes().items()} == {
        "ask": "failed", "a": "skipped", "b": "completed",
    }  # fmt: skip


@pytest.mark.parametrize("opt", OPT_LEVELS)
@pytest.mark.parametrize("kind", UNDECIDED)
def test_an_edge_that_cannot_be_decided_fails_the_run(kind: str, opt: int) -> None:
    test, given = UNDECIDED[kind]
    made = compile_workflow(
        workflow(
            ["start -> a", "b -> end"],
            more=[{"from": "a", "to": "b", "when": test}],
            inputs=INPUTS,
        ),
        opt=opt,
    )
    ended = both(made, {"given": given})
    assert (ended.status, (ended.run.error or {})["node_id"]) == ("failed", "a")
    assert (ended.run.error or {})["code"] == "expression"


@pytest.mark.parametrize("wide", [10, 50])
@pytest.mark.parametrize("items", ["text", 3, {"a": 1}, None, True])
def test_items_that_are_no_list_fail_the_node(items: Any, wide: int) -> None:
    each = {
        "type": "iterate",
        "items": "{{ inputs.given.items }}",
        "concurrency": wide,
        "max_items": 50,
    }
    edges = ["start -> each", "each.item -> a", "each.done -> end"]
    made = compile_workflow(workflow(edges, {"each": each}, inputs=INPUTS))
    assert made.plan.iterate_of["each"].distributed is (wide > 40)
    ended = both(made, {"given": {"items": items}})
    error: Any = ended.run.error
    assert (ended.status, error["node_id"]) == ("failed", "each")
    assert error["code"] == "iterate.not_a_list"


@pytest.mark.parametrize("wide", [10, 50])
def test_an_empty_list_has_no_items(wide: int) -> None:
    each = {
        "type": "iterate",
        "items": "{{ inputs.given.items }}",
        "concurrency": wide,
        "max_items": 50,
    }
    edges = ["start -> each", "each.item -> a", "each.done -> b -> end"]
    graph = workflow(edges, {"each": each}, inputs=INPUTS, outputs={"a": "{{ nodes.a.text }}"})
    ended = both(compile_workflow(graph), {"given": {"items": []}})
    assert (ended.status, ended.outputs) == ("completed", {"a": []})


@pytest.mark.parametrize("opt", OPT_LEVELS)
def test_a_graph_of_one_node(opt: int) -> None:
    made = compile_workflow(workflow(["start -> a -> end"]), opt=opt)
    assert both(made, {}).status == "completed"
