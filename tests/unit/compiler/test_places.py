"""Where a workflow runs: what each place costs, what rules one out, and what `auto` takes."""

from __future__ import annotations

from typing import Any

import pytest
from kit.engines import compiled_run, interpreted
from kit.models import Says
from kit.workflows import loop, workflow

from joinery.compiler.build import build_plan
from joinery.compiler.compile import Compiled, compile_workflow
from joinery.compiler.places import INLINE, STANDARD, longest_way, places_of
from joinery.compiler.plan import Plan, PlanNode
from joinery.errors import InvalidWorkflow
from joinery.model_errors import PermanentModelAuth
from joinery.workflow.model import Workflow

MODEL_CALL_S = 10.0


def llm(*names: str, **more: Any) -> dict[str, Any]:
    return {name: {"type": "llm", "prompt": name, **more} for name in names}


def fan(width: int, **more: Any) -> Workflow:
    names = [f"b{i}" for i in range(width)]
    edges = [f"start -> {', '.join(names)}", f"{', '.join(names)} -> j -> end"]
    return workflow(edges, llm(*names, "j"), **more)


def codes(refused: pytest.ExceptionInfo[InvalidWorkflow]) -> list[tuple[str, str | None]]:
    return [(problem.code, problem.node_id) for problem in refused.value.problems]


def test_inline_is_one_task_and_pays_for_the_longest_way_only() -> None:
    places = places_of(build_plan(fan(4)), "arn")
    inline, standard = places[INLINE].compiled, places[STANDARD].compiled
    assert inline is not None
    assert standard is not None
    assert list(inline.definition["States"]) == ["all nodes"]
    task = inline.definition["States"]["all nodes"]
    assert (task["Arguments"]["node"], task["Arguments"]["path"]) == ("start", "")
    assert inline.report.transitions.max == 1
    assert inline.report.model_calls == standard.report.model_calls
    for service in ("dynamodb", "apigateway"):
        assert inline.report.price_by_service[service] == standard.report.price_by_service[service]
    # Five model calls of 10 s each: four of them at the same time.
    seconds = longest_way(inline.plan)
    assert seconds.expected == pytest.approx(2 * MODEL_CALL_S, abs=0.2)
    shares = inline.report.price_by_service["lambda"].expected
    assert shares < standard.report.price_by_service["lambda"].expected / 2
    assert not places[INLINE].ruled_out
    assert not places[STANDARD].ruled_out


def test_the_longest_way_counts_rounds_and_chances() -> None:
    graph = workflow(
        ["start -> a -> s", "s.x -> b -> c", "s.default -> c", "c -> l", "l.repeat -> c",
         "l.done -> end"],
        {
            **llm("a", "b", "c"),
            "s": {"type": "switch", "value": "x", "cases": {"x": "x"}},
            "l": {"type": "loop", "until": "{{ true }}", "max_rounds": 3, "expected_rounds": 2},
        },
    )  # fmt: skip
    seconds = longest_way(build_plan(graph))
    assert seconds.min == pytest.approx(2 * MODEL_CALL_S, abs=0.5)
    assert seconds.expected == pytest.approx(3.5 * MODEL_CALL_S, abs=0.5)
    assert seconds.max == pytest.approx(5 * MODEL_CALL_S, abs=0.5)


def test_the_longest_way_counts_items_beyond_those_at_once() -> None:
    graph = workflow(
        ["start -> each", "each.item -> a", "each.done -> b -> end"],
        {
            **llm("a", "b"),
            "each": {"type": "iterate", "items": "{{ inputs.x }}", "concurrency": 4,
                     "max_items": 12, "expected_items": 8},
        },
        inputs={"x": {"type": "array", "required": True}},
    )  # fmt: skip
    seconds = longest_way(build_plan(graph))
    assert seconds.expected == pytest.approx((2 + 1) * MODEL_CALL_S, abs=0.5)
    assert seconds.max == pytest.approx((3 + 1) * MODEL_CALL_S, abs=0.5)
    assert places_of(build_plan(graph), "arn")[INLINE].ruled_out == ()


def test_standard_is_what_is_meant_when_nothing_is_said() -> None:
    compiled = compile_workflow(fan(2))
    assert compiled.plan.run_on == "standard"
    assert Plan.from_dict(compiled.plan.to_dict()) == compiled.plan


def test_auto_takes_the_cheaper_place_and_standard_where_they_cost_the_same() -> None:
    assert compile_workflow(fan(3, run_on="auto")).plan.run_on == "inline"
    chain = workflow(["start -> a -> b -> end"], llm("a", "b"), run_on="auto")
    assert compile_workflow(chain, opt=1).plan.run_on == "inline"
    fused = compile_workflow(chain, opt=2)
    assert (fused.plan.run_on, fused.report.transitions.max) == ("standard", 1)


def test_auto_takes_standard_where_inline_is_ruled_out() -> None:
    compiled = compile_workflow(fan(41, run_on="auto"))
    assert compiled.plan.run_on == "standard"


def test_auto_takes_inline_where_standard_is_ruled_out() -> None:
    body = " -> ".join(f"n{i}" for i in range(60))
    graph = workflow(
        [f"start -> {body} -> l", "l.repeat -> n0", "l.done -> end"],
        {
            **llm(*[f"n{i}" for i in range(60)]),
            "l": {"type": "loop", "max_rounds": 100, "until": "{{ true }}", "expected_rounds": 1},
        },
    )
    with pytest.raises(InvalidWorkflow) as refused:
        compile_workflow(graph, opt=1)
    assert codes(refused)[0][0] == "limit.history"
    compiled = compile_workflow(graph.model_copy(update={"run_on": "auto"}), opt=1)
    assert compiled.plan.run_on == "inline"


@pytest.mark.parametrize(
    ("fields", "fits"),
    [((40, 1000), True), ((41, 41), False), ((1000, 40), True), ((1000, 1000), False)],
)
def test_too_many_items_at_once_are_refused(fields: tuple[int, int], fits: bool) -> None:
    each = {"type": "iterate", "items": "{{ inputs.xs }}"}
    each |= {"concurrency": fields[0], "max_items": fields[1]}
    graph = workflow(
        ["start -> each", "each.item -> a", "each.done -> end"],
        {"each": each},
        inputs={"xs": {"type": "array"}},
        run_on="inline",
    )
    if fits:
        assert compile_workflow(graph).plan.run_on == "inline"
        return
    with pytest.raises(InvalidWorkflow) as refused:
        compile_workflow(graph)
    assert codes(refused) == [("plan.inline_width", "each")]


def test_too_many_branches_at_once_are_refused() -> None:
    with pytest.raises(InvalidWorkflow) as refused:
        compile_workflow(fan(41, run_on="inline"))
    assert codes(refused) == [("plan.inline_width", "b0")]
    assert compile_workflow(fan(40, run_on="inline")).plan.run_on == "inline"


def test_a_workflow_that_takes_too_long_is_refused_by_its_slowest_nodes() -> None:
    graph = workflow(
        ["start -> a -> l", "l.repeat -> a", "l.done -> b -> end"],
        {**llm("a", "b"), "l": {"type": "loop", "max_rounds": 100}},
        run_on="inline",
    )
    with pytest.raises(InvalidWorkflow) as refused:
        compile_workflow(graph)
    assert codes(refused) == [("plan.inline_time", "a")]
    assert "'a' 1,000 s" in refused.value.problems[0].message


def test_a_node_that_waits_rules_inline_out() -> None:
    plan = build_plan(fan(2))
    waits = PlanNode(**{**{n: getattr(plan.by_id["b1"], n) for n in PlanNode.__slots__},
                        "type": "review"})  # fmt: skip
    nodes = tuple(waits if node.id == "b1" else node for node in plan.nodes)
    fields = {name: getattr(plan, name) for name in Plan.__dataclass_fields__}
    place = places_of(Plan(**{**fields, "nodes": nodes}), "arn")[INLINE]
    assert [(p.code, p.node_id) for p in place.ruled_out] == [("plan.inline_waits", "b1")]


def inline(*args: Any, **more: Any) -> Compiled:
    return compile_workflow(workflow(*args, run_on="inline", **more))


def test_a_failure_ends_the_task_with_the_error_of_its_node() -> None:
    def fails(request: Any, call: Any) -> str:
        if call.node_id == "b":
            raise PermanentModelAuth("no key")
        return "x"

    compiled = inline(["start -> a, b", "a, b -> c -> end"], llm("a", "b", "c"))
    machine = compiled_run(compiled, {}, Says(fails))
    reference = interpreted(compiled.plan, {}, Says(fails))
    assert machine.status == reference.status == "failed"
    assert machine.run.error is not None
    assert (machine.run.error["node_id"], machine.run.error["code"]) == ("b", "model_auth")
    assert machine.nodes() == reference.nodes()


def test_loops_and_forks_are_walked_in_one_invocation() -> None:
    compiled = inline(
        ["start -> a, b", "a, b -> c -> l", "l.repeat -> a, b", "l.done -> end"],
        {**llm("a", "b", "c"), "l": loop(2)},
        outputs={"x": "{{ nodes.c.text }}"},
    )
    says = Says(lambda r, c: c.path)
    machine = compiled_run(compiled, {}, says)
    assert machine.status == "completed"
    assert machine.outputs == {"x": "2"}
    assert sorted(place[:2] for place in says.calls) == [
        (name, path) for name in "abc" for path in ("1", "2")
    ]
