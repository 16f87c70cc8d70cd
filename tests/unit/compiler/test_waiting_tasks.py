"""Tasks that wait for a token, wherever a machine may have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from kit.children import known
from kit.workflows import loop, workflow
from statelint.config import Config
from statelint.linter import Linter

from joinery.compiler.build import build_plan
from joinery.compiler.catchers import tasks_in
from joinery.compiler.compile import Compiled, compile_workflow
from joinery.compiler.opt import OPT_LEVELS
from joinery.compiler.places import INLINE, places_of
from joinery.compiler.predict import history_events_of, states_of_run
from joinery.compiler.states import CALLBACK, payload_of
from joinery.errors import InvalidWorkflow
from joinery.runs.model import NodeKey, NodeRecord

CALL = {"type": "workflow", "workflow": "talk"}


def machine(edges: list[str], nodes: dict[str, Any], opt: int) -> Compiled:
    compiled = compile_workflow(workflow(edges, nodes), opt=opt)
    assert Linter.validate(compiled.definition_json(), Config([], False, True)) == []
    return compiled


def waiting(compiled: Compiled) -> Iterator[dict[str, Any]]:
    box: Mapping[str, Any] = {"Type": "Parallel", "Branches": [compiled.definition]}
    for task in tasks_in(box):
        if task["Resource"] == CALLBACK:
            assert payload_of(task)["token"] == "{% $states.context.Task.Token %}"
            assert set(task["Arguments"]) == {"FunctionName", "Payload"}
            yield task


@pytest.mark.parametrize("opt", OPT_LEVELS)
def test_in_a_race_its_payload_names_the_joins(opt: int) -> None:
    nodes = {"a": CALL, "q": {"type": "llm", "prompt": "x"},
             "j": {"type": "template", "template": "x", "join": "any"}}  # fmt: skip
    (task,) = waiting(machine(["start -> a, q -> j -> end"], nodes, opt))
    assert payload_of(task)["quorum"] == ["j"]
    assert "Quorum_j" in task["Retry"][0]["ErrorEquals"]


@pytest.mark.parametrize("opt", OPT_LEVELS)
def test_as_the_first_of_an_item_it_takes_the_path_from_its_input(opt: int) -> None:
    nodes = {"each": {"type": "iterate", "items": [1, 2]}, "a": CALL}
    edges = ["start -> each", "each.item -> a -> t", "each.done -> end"]
    (task,) = waiting(machine(edges, nodes, opt))
    assert payload_of(task)["path"] == "{% $states.input %}"
    assert task["Assign"] == {"path_each": "{% $states.input %}"}


@pytest.mark.parametrize("opt", OPT_LEVELS)
def test_it_shares_its_task_with_nobody(opt: int) -> None:
    edges = ["start -> t -> a -> u -> end"]
    compiled = machine(edges, {"a": CALL}, opt)
    (task,) = waiting(compiled)
    assert payload_of(task)["node"] == "a"
    assert all("a" not in group for group in compiled.plan.groups.values())


@pytest.mark.parametrize("opt", OPT_LEVELS)
def test_a_run_is_foretold_with_it(opt: int) -> None:
    compiled = machine(["start -> a -> l", "l.repeat -> a", "l.done -> end"],
                       {"a": CALL, "l": loop(2)}, opt)  # fmt: skip
    plan = compiled.plan
    records = [
        NodeRecord(NodeKey(plan.by_id["a"].ord, "1"), "a", "completed"),
        NodeRecord(NodeKey(plan.by_id["l"].ord, "1"), "l", "completed", port="repeat",
                   next_path="2"),
        NodeRecord(NodeKey(plan.by_id["a"].ord, "2"), "a", "completed"),
        NodeRecord(NodeKey(plan.by_id["l"].ord, "2"), "l", "completed", port="done"),
    ]  # fmt: skip
    entered = states_of_run(plan, compiled.emitted, records)
    assert entered.count("a") == 2
    assert entered[-1] == "end"
    events = history_events_of(plan, compiled.emitted, records)
    # 6 for what waits, 5 for what does not, 2 for each of the others.
    others = [name for name in entered if compiled.emitted.info[name].kind != "task"]
    tasks = len(entered) - len(others) - 2
    assert events == 2 * 6 + tasks * 5 + 2 * len(others)


def test_it_rules_inline_out() -> None:
    plan = build_plan(workflow(["start -> a -> end"], {"a": CALL}))
    ruled_out = places_of(plan, "arn")[INLINE].ruled_out
    assert [(p.code, p.node_id) for p in ruled_out] == [("plan.inline_waits", "a")]
    assert compile_workflow(
        workflow(["start -> a -> end"], {"a": CALL}, run_on="auto")
    ).plan.run_on == "standard"  # fmt: skip


def test_a_child_that_runs_inline_is_priced_as_one_task() -> None:
    many = workflow(["start -> x, y, z -> end"], {n: {"type": "llm", "prompt": n} for n in "xyz"},
                    name="talk", run_on="inline")  # fmt: skip
    published = known(many)
    assert published.plan is not None
    plan = {**published.plan, "run_on": "inline"}
    graph = workflow(["start -> a -> end"], {"a": CALL})
    whole = compile_workflow(graph, children={"a": replace(published, plan=plan)}).report
    alone = compile_workflow(graph).report
    assert whole.transitions.max - alone.transitions.max == 1
    assert whole.model_calls.max == 3


def test_a_child_that_cannot_be_compiled_is_told_at_the_node_that_runs_it() -> None:
    long = workflow(["start -> x -> y, z -> l", "l.repeat -> x", "l.done -> end"],
                    {**{key: {"type": "llm", "prompt": "x"} for key in "xyz"},
                     "l": loop(2, most=100), "m": loop(2, most=100)}, name="talk",
                    more=[{"from": "l", "port": "done", "to": "m"},
                          {"from": "m", "port": "repeat", "to": "x"},
                          {"from": "m", "port": "done", "to": "end"}])  # fmt: skip
    with pytest.raises(InvalidWorkflow) as refused:
        compile_workflow(
            workflow(["start -> a -> end"], {"a": CALL}), opt=1, children={"a": known(long)}
        )
    (problem,) = refused.value.problems
    assert (problem.code, problem.node_id, problem.pointer) == (
        "child.invalid", "a", "/nodes/a/workflow",
    )  # fmt: skip
