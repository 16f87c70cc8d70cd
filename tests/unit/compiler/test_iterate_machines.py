"""The Map of an iterate node, its price, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from kit.engines import compiled_run
from kit.workflows import condition, loop, workflow

from joinery.compiler.compile import Compiled, compile_workflow
from joinery.compiler.plan import Plan
from joinery.errors import InvalidWorkflow

XS: dict[str, Any] = {"xs": {"type": "array"}, "x": {"type": "boolean"}}


def each(**fields: Any) -> dict[str, Any]:
    return {"type": "iterate", "items": "{{ inputs.xs }}", "max_items": 4, **fields}


def compiled(edges: list[str], nodes: dict[str, Any] | None = None, **more: Any) -> Compiled:
    described = {"each": each(), **(nodes or {})}
    return compile_workflow(workflow(edges, described, inputs=XS), **more)


def states(made: Compiled, *path: str) -> dict[str, Any]:
    """Returns the states of a scope: the machine's own, or those inside the Maps named."""
    scope = made.definition
    for name in path:
        scope = scope["States"][name]["ItemProcessor"]
    return scope["States"]


def test_a_map_takes_the_paths_that_the_task_returns() -> None:
    made = compiled(["start -> each", "each.item -> a -> b", "each.done -> c -> end"], opt=0)
    own = states(made)
    assert list(own) == ["each", "each each", "c", "end"]
    assert own["each"]["Next"] == "each each"
    box = own["each each"]
    assert (box["Items"], box["MaxConcurrency"]) == ("{% $states.input.items %}", 10)
    assert (box["Output"], box["Next"]) == ({}, "c")
    body = states(made, "each each")
    assert body["a"]["Arguments"]["path"] == "{% $states.input %}"
    assert body["a"]["Assign"] == {"path_each": "{% $states.input %}"}
    assert body["b"]["Arguments"]["path"] == "{% $path_each %}"
    assert body["b"]["End"] is True


def test_a_body_of_one_task_assigns_nothing() -> None:
    made = compiled(["start -> each", "each.item -> a -> b", "each.done -> end"])
    (only,) = states(made, "each each").values()
    assert "Assign" not in only
    assert only["Comment"] == "runs a, b"


def test_it_is_folded_into_the_task_before_as_its_last() -> None:
    made = compiled(["start -> a -> each", "each.item -> b", "each.done -> c -> end"], opt=1)
    assert made.plan.groups == {"a": ("a", "each")}
    assert list(states(made)) == ["a", "each each", "c", "end"]


@pytest.mark.parametrize(
    ("edges", "first"),
    [
        (["each.item -> a -> l", "l.repeat -> a"], "enter l"),
        (["each.item -> a, b -> c"], "enter each"),
    ],
)
def test_a_pass_keeps_the_path_where_no_task_can(edges: list[str], first: str) -> None:
    made = compiled(["start -> each", *edges, "each.done -> end"], {"l": loop(2)}, opt=1)
    scope = made.definition["States"]["each each"]["ItemProcessor"]
    assert scope["StartAt"] == first
    assert scope["States"][first]["Assign"]["path_each"] == "{% $states.input %}"


def test_what_one_assign_sets_is_not_read_by_it() -> None:
    edges = ["start -> each", "each.item -> a -> b -> l", "l.repeat -> b", "each.done -> end"]
    made = compiled(edges, {"l": loop(2)}, opt=0)
    assert states(made, "each each")["a"]["Assign"] == {
        "path_each": "{% $states.input %}",
        "path_l": "{% $states.input & '.1' %}",
    }
    ended = compiled_run(made, {"xs": [1], "x": True})
    assert ended.nodes()[("b", "0.2")] == ("completed", "")


def test_only_a_port_error_costs_a_choice() -> None:
    edges = ["start -> each", "each.item -> a", "each.done -> b -> end"]
    assert not [s for s in states(compiled(edges)).values() if s["Type"] == "Choice"]
    more = compiled([*edges, "each.error -> d -> end"], {"each": each(on_error="route")}, opt=0)
    choice = states(more)["after each"]
    assert choice["Choices"] == [
        {"Condition": "{% $states.input.port = 'done' %}", "Next": "each each"}
    ]
    assert choice["Default"] == "d"


def test_the_plan_survives_being_stored() -> None:
    edges = ["start -> each", "each.item -> a -> l", "l.repeat -> a", "each.done -> end"]
    fields = {"expected_items": 2, "concurrency": 3, "on_item_error": "continue"}
    plan = compiled(edges, {"each": each(**fields), "l": loop(2)}).plan
    assert Plan.from_dict(plan.to_dict()) == plan
    (kept,) = plan.iterates
    assert (kept.iterate, kept.body, kept.entries) == ("each", ("a", "l"), ("a",))
    assert (kept.max_items, kept.concurrency, kept.expected_items) == (4, 3, 2)
    assert plan.by_id["a"].scope == ("each", "l")
    assert (plan.by_id["a"].iterates, plan.by_id["a"].contained) == (("each",), "each")


def test_plans_from_before_have_no_iterate_nodes() -> None:
    data = compiled(["start -> a -> end"], {"each": {"type": "template", "template": "x"}},
                    opt=0).plan.to_dict()  # fmt: skip
    del data["iterates"]
    for node in data["nodes"]:
        del node["iterates"], node["contained"]
    assert Plan.from_dict(data).iterates == ()


# -- figures -------------------------------------------------------------------------------


@pytest.mark.parametrize(("fields", "items"), [({}, 2), ({"expected_items": 3}, 3)])
def test_items_are_reckoned_between_none_and_the_most(fields: Any, items: int) -> None:
    edges = ["start -> each", "each.item -> a -> b", "each.done -> end"]
    report = compiled(edges, {"each": each(**fields)}, opt=0).report
    figures = report.transitions
    assert (figures.min, figures.expected, figures.max) == (3, 3 + 2 * items, 3 + 2 * 4)
    # Tasks of 5 events, a Map of 4 and 2 an item, 2 for the execution.
    assert report.history_events.max == 2 + 2 * 5 + (4 + 2 * 4) + 4 * 2 * 5


def test_nested_items_multiply() -> None:
    edges = ["start -> each", "each.item -> inner", "inner.item -> m", "each.done -> end"]
    nodes = {"inner": {"type": "iterate", "items": "{{ item }}", "max_items": 3},
             "m": {"type": "llm", "prompt": "x"}}  # fmt: skip
    report = compiled(edges, nodes, opt=0).report
    assert (report.model_calls.min, report.model_calls.max) == (0, 12)
    assert report.model_calls.expected == 2 * 1.5


@pytest.mark.parametrize("count", [0, 1, 4])
def test_a_run_has_the_transitions_of_the_figures(count: int) -> None:
    edges = ["start -> each", "each.item -> a -> b", "each.done -> end"]
    made = compiled(edges, opt=0)
    ended = compiled_run(made, {"xs": list(range(count)), "x": True})
    assert ended.transitions == 3 + 2 * count


# -- what is refused -----------------------------------------------------------------------


def refused(edges: list[str], nodes: dict[str, Any], **more: Any) -> Any:
    with pytest.raises(InvalidWorkflow) as caught:
        compile_workflow(workflow(edges, nodes, inputs=XS, **more))
    (problem,) = caught.value.problems
    return problem


def test_a_thousand_items_of_one_node_fit() -> None:
    edges = ["start -> each", "each.item -> a", "each.done -> end"]
    made = compiled(edges, {"each": each(max_items=1000, concurrency=40)})
    assert made.report.history_events.max == 2 + 10 + 4 + 1000 * 7
    ended = compiled_run(made, {"xs": list(range(1000)), "x": True})
    assert (ended.status, ended.nodes()[("a", "999")]) == ("completed", ("completed", ""))


def test_a_condition_on_the_edge_that_begins_an_item() -> None:
    problem = refused(
        ["start -> each", "each.done -> end"],
        {"each": each(), "a": {"type": "template", "template": "x"}},
        more=[{"from": "each", "port": "item", "to": "a", "when": "{{ item > 1 }}"}],
    )
    assert problem.code == "plan.when_not_available"


# -- size ----------------------------------------------------------------------------------


def test_the_same_graph_gives_the_same_bytes() -> None:
    edges = ["start -> ask", "ask.true -> each", "ask.false -> d", "each.item -> a, b -> c",
             "each.done -> d", "d -> end"]  # fmt: skip
    made = [compiled(edges, {"ask": condition("x")}).definition_json() for _ in range(2)]
    assert made[0] == made[1]
