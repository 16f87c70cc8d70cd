"""How many nodes may be at work at once, read from the machine that runs them."""

from __future__ import annotations

from typing import Any

import pytest
from kit.workflows import condition, loop, workflow

from joinery.compiler.compile import compile_workflow
from joinery.compiler.plan import Plan
from joinery.compiler.width import width_of

TALK = {"type": "llm", "prompt": "hi"}


def test_a_chain_has_one_at_a_time() -> None:
    compiled = compile_workflow(workflow(["start -> a -> b -> end"], {"a": TALK, "b": TALK}))
    assert compiled.plan.width == 1


@pytest.mark.parametrize("opt", [0, 1])
def test_a_fork_has_all_its_branches(opt: int) -> None:
    names = ["a", "b", "c", "d"]
    edges = ["start -> a, b, c, d", "a, b, c, d -> e", "e -> end"]
    compiled = compile_workflow(workflow(edges, dict.fromkeys([*names, "e"], TALK)), opt=opt)
    assert compiled.plan.width == 4


def test_branches_that_exclude_each_other_are_one() -> None:
    compiled = compile_workflow(
        workflow(
            ["start -> c", "c.true -> a", "c.false -> b", "a, b -> end"],
            {"c": condition("yes"), "a": TALK, "b": TALK},
            inputs={"yes": {"type": "boolean", "default": True}},
        )
    )
    assert compiled.plan.width == 1


def test_rounds_of_a_loop_follow_each_other() -> None:
    edges = ["start -> a, b", "a, b -> l", "l.repeat -> a, b", "l.done -> end"]
    compiled = compile_workflow(workflow(edges, {"a": TALK, "b": TALK, "l": loop(2)}))
    assert compiled.plan.width == 2


def task() -> dict[str, Any]:
    return {"Type": "Task"}


def machine(*states: dict[str, Any]) -> dict[str, Any]:
    return {"States": {str(number): state for number, state in enumerate(states)}}


def test_boxes_inside_boxes_multiply_and_add() -> None:
    two = {"Type": "Parallel", "Branches": [machine(task(), task()), machine(task())]}
    three = {"Type": "Map", "MaxConcurrency": 3, "ItemProcessor": machine(two)}
    any_number = {"Type": "Map", "ItemProcessor": machine(task())}
    computed = {"Type": "Map", "MaxConcurrency": "{% $n %}", "ItemProcessor": machine(task())}
    assert width_of(machine(task(), {"Type": "Choice"})) == 1
    assert width_of(machine(two, task())) == 2
    assert width_of(machine(three)) == 6
    assert width_of(machine(any_number)) == width_of(machine(computed)) == 40
    assert width_of(machine({"Type": "Succeed"})) == 0


def test_a_plan_keeps_it_and_older_ones_have_one() -> None:
    plan = compile_workflow(workflow(["start -> a, b", "a, b -> end"], {"a": TALK, "b": TALK})).plan
    data = plan.to_dict()
    assert Plan.from_dict(data).width == plan.width == 2
    del data["width"]
    assert Plan.from_dict(data).width == 1
