"""Level 2: what is fused, what is not, and what the Tasks of groups look like."""

from __future__ import annotations

from typing import Any

import pytest
from kit.engines import compiled_run, interpreted
from kit.models import Says
from kit.workflows import condition, loop, workflow

from joinery import limits
from joinery.compiler.build import build_plan
from joinery.compiler.compile import Compiled, compile_workflow
from joinery.compiler.fuse import fuse
from joinery.compiler.plan import Plan, PlanNode
from joinery.compiler.times import worst_of

BOOL = {"x": {"type": "boolean", "required": True}}


def llm(*names: str, **more: Any) -> dict[str, Any]:
    return {name: {"type": "llm", "prompt": name, **more} for name in names}


def compiled(edges: list[str], nodes: dict[str, Any], opt: int = 2, **more: Any) -> Compiled:
    return compile_workflow(workflow(edges, nodes, **more), opt=opt)


def groups(*args: Any, **more: Any) -> list[tuple[str, ...]]:
    return list(compiled(*args, **more).plan.groups.values())


def retyped(plan: Plan, **types: str) -> Plan:
    """Returns the plan with other node types, such as this release does not make yet."""
    nodes = tuple(
        PlanNode(**{**{f: getattr(n, f) for f in n.__slots__}, "type": types.get(n.id, n.type)})
        for n in plan.nodes
    )
    return Plan(**{**{f: getattr(plan, f) for f in Plan.__dataclass_fields__}, "nodes": nodes})


def test_the_reference_graph_takes_six_transitions() -> None:
    graph = (
        ["start -> a -> b, c, d -> e -> s", "s.f -> f", "s.default -> g", "f, g -> h -> i -> l",
         "l.repeat -> i", "l.done -> j -> end"],
        {
            **llm(*"abcdefghij"),
            "s": {"type": "switch", "value": "{{ nodes.e.text }}", "cases": {"f": "x"}},
            "l": {"type": "loop", "max_rounds": 3},
        },
    )  # fmt: skip
    most = [compiled(*graph, opt=opt).report.transitions.max for opt in (0, 1, 2)]
    assert most == [21, 17, 6]
    calls = [compiled(*graph, opt=opt).report.model_calls for opt in (0, 2)]
    assert calls[0] == calls[1]
    assert groups(*graph) == [("e", "s", "f", "g", "h", "i", "l", "j", "end")]


def test_nothing_that_could_run_side_by_side_runs_in_a_row() -> None:
    found = compiled(
        ["start -> a -> b, c", "b -> b2 -> d", "c -> c2 -> d", "d -> end"],
        llm("a", "b", "b2", "c", "c2", "d"),
    )
    assert found.plan.groups == {"b": ("b", "b2"), "c": ("c", "c2"), "d": ("d", "end")}
    assert found.definition["States"]["fork b + c"]["Type"] == "Map"
    assert found.report.transitions.max == 1 + 3 + 1


def test_a_group_may_end_in_a_node_that_decides() -> None:
    found = compiled(
        ["start -> a -> ask", "ask.true -> b, c", "ask.false -> d", "b, c -> d -> end"],
        {**llm("a", "b", "c", "d"), "ask": condition("x")},
        inputs=BOOL,
    )
    assert found.plan.groups == {"a": ("a", "ask"), "d": ("d", "end")}
    assert "after ask" in found.definition["States"]


def test_branches_that_exclude_each_other_are_fused_up_to_where_they_meet() -> None:
    edges = ["start -> ask", "ask.true -> b -> b2 -> d", "ask.false -> c -> d", "d -> end"]
    nodes = {**llm("b", "b2", "c", "d"), "ask": condition("x")}
    (group,) = groups(edges, nodes, inputs=BOOL)
    assert set(group) == {"ask", "b", "b2", "c", "d", "end"}
    report = compiled(edges, nodes, inputs=BOOL).report
    assert (report.model_calls.min, report.model_calls.max) == (2, 3)


def test_a_loop_is_fused_whole_or_its_body_from_inside() -> None:
    edges = ["start -> z -> a -> b -> l", "l.repeat -> a", "l.done -> y -> end"]
    short = compiled(edges, {**llm("a", "b", "z", "y"), "l": loop(2, 3)})
    assert short.plan.groups == {"z": ("z", "a", "b", "l", "y", "end")}
    assert short.plan.whole == ("l",)
    assert short.plan.task_scope("a") == ()
    long = compiled(edges, {**llm("a", "b", "z", "y"), "l": {"type": "loop", "max_rounds": 20}})
    assert long.plan.groups == {"a": ("a", "b", "l"), "y": ("y", "end")}
    assert long.plan.whole == ()
    assert long.plan.task_scope("a") == ("l",)
    assert Plan.from_dict(short.plan.to_dict()) == short.plan


def test_a_loop_with_a_fork_keeps_its_states_and_fuses_around_them() -> None:
    found = compiled(
        ["start -> a, b", "a, b -> c -> d -> l", "l.repeat -> a, b", "l.done -> end"],
        {**llm("a", "b", "c", "d"), "l": loop(2)},
    )
    assert found.plan.groups == {"c": ("c", "d", "l")}


def test_the_path_of_a_whole_loop_never_leaves_its_task() -> None:
    found = compiled(
        ["start -> a -> l", "l.repeat -> a", "l.done -> end"], {**llm("a"), "l": loop(2)}
    )
    assert "path_" not in found.definition_json()
    machine = compiled_run(found, {}, Says(lambda r, c: "x"))
    assert machine.nodes() == interpreted(found.plan, {}, Says(lambda r, c: "x")).nodes()


def test_a_budget_of_expected_time_bounds_a_group() -> None:
    names = [f"n{i}" for i in range(70)]
    found = groups(["start -> " + " -> ".join(names) + " -> end"], llm(*names))
    most = int(limits.FUSE_BUDGET_S / limits.ASSUMED_MODEL_CALL_S)
    assert [len(group) for group in found] == [most, most, 70 - 2 * most + 1]


def test_a_node_that_an_invocation_could_not_hold_any_more_begins_a_group() -> None:
    names = [f"n{i}" for i in range(20)]
    nodes = llm(*names, timeout="12m")
    found = groups(["start -> " + " -> ".join(names) + " -> end"], nodes)
    room = limits.INVOCATION_S - 720
    assert len(found[0]) == int(room / limits.ASSUMED_MODEL_CALL_S) + 1


def test_nodes_with_effects_outside_are_never_fused_with_each_other() -> None:
    plan = build_plan(workflow(["start -> a -> t -> b -> c -> end"], llm("a", "b", "c")))
    made, _ = fuse(retyped(plan, a="http", b="made_later"))
    assert made == {"a": ("a", "t"), "b": ("b", "c", "end")}


def test_nodes_that_wait_are_never_fused_and_iterates_are_the_last() -> None:
    plan = build_plan(workflow(["start -> a -> b -> c -> d -> end"], llm(*"abcd")))
    made, _ = fuse(retyped(plan, b="review"))
    assert made == {"c": ("c", "d", "end")}
    made, _ = fuse(retyped(plan, b="iterate"))
    assert made == {"a": ("a", "b"), "c": ("c", "d", "end")}


def test_an_iterate_ends_a_group_and_its_body_is_fused_from_inside() -> None:
    found = compiled(
        ["start -> a -> each", "each.item -> b -> c", "each.done -> d -> end"],
        {**llm("a", "b", "c", "d"), "each": {"type": "iterate", "items": "{{ inputs.x }}"}},
        inputs={"x": {"type": "array", "required": True}},
    )
    assert found.plan.groups == {"a": ("a", "each"), "b": ("b", "c"), "d": ("d", "end")}
    machine = compiled_run(found, {"x": [1, 2]}, Says(lambda r, c: "x"))
    assert machine.status == "completed"
    assert machine.states == ("a", "each each", "b", "b", "d")
    reference = interpreted(found.plan, {"x": [1, 2]}, Says(lambda r, c: "x"))
    assert machine.nodes() == reference.nodes()


def test_a_loop_that_ends_an_item_leads_out_like_any_other_way() -> None:
    found = compiled(
        ["start -> each", "each.item -> ask", "ask.true -> a -> l", "l.repeat -> a",
         "ask.false -> b, c", "each.done -> end"],
        {
            **llm("a", "b", "c"),
            "l": loop(2),
            "ask": {"type": "condition", "if": "{{ item = 1 }}"},
            "each": {"type": "iterate", "items": "{{ inputs.x }}"},
        },
        inputs={"x": {"type": "array", "required": True}},
    )  # fmt: skip
    machine = compiled_run(found, {"x": [1, 2]}, Says(lambda r, c: "x"))
    reference = interpreted(found.plan, {"x": [1, 2]}, Says(lambda r, c: "x"))
    assert ("b", "1") in reference.nodes()
    assert machine.nodes() == reference.nodes()


def test_a_loop_around_an_effect_is_fused_from_inside_only() -> None:
    edges = ["start -> a -> b -> l", "l.repeat -> a", "l.done -> end"]
    plan = build_plan(workflow(edges, {**llm("a", "b"), "l": loop(2)}))
    made, whole = fuse(retyped(plan, b="http"))
    assert (made, whole) == ({"a": ("a", "b", "l")}, ())


@pytest.mark.parametrize(("count", "short"), [(2, 0), (3, 2)])
def test_only_tasks_that_may_run_short_of_time_say_so(count: int, short: int) -> None:
    names = [f"n{i}" for i in range(count)]
    found = compiled(["start -> " + " -> ".join(names) + " -> end"], llm(*names))
    (state,) = found.definition["States"].values()
    rules = [r for r in state["Retry"] if r["ErrorEquals"] == ["DeadlineNear"]]
    assert [rule["MaxAttempts"] for rule in rules] == ([short] if short else [])
    assert all(rule["BackoffRate"] == 1.0 for rule in rules)
    assert "States.ALL" in state["Retry"][-1]["ErrorEquals"]


def test_the_worst_case_counts_rounds_and_attempts() -> None:
    plan = compiled(
        ["start -> a -> l", "l.repeat -> a", "l.done -> end"],
        {**llm("a", timeout="10s", retry={"attempts": 4}), "l": loop(2, 5)},
    ).plan
    worst = worst_of(plan, plan.group("a"), 0)
    assert worst.seconds == 5 * 10 + 60
    assert worst.attempts == 1 + 5 * 3
    assert worst.short == 0


def test_two_thousand_nodes_are_fused_in_no_time() -> None:
    import time

    names = [f"n{i}" for i in range(1990)]
    edges = ["start -> " + " -> ".join(names) + " -> end"]
    plan = build_plan(workflow(edges, llm(*names)))
    begun = time.perf_counter()
    made, _ = fuse(plan)
    assert time.perf_counter() - begun < 2.0
    assert sum(len(group) for group in made.values()) == 1991
