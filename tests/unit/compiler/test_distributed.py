"""Items as executions of their own: when, what the machine looks like, what it costs."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from kit.engines import Ended, compiled_run, interpreted
from kit.workflows import condition, loop, workflow

from joinery import limits
from joinery.compiler.compile import Compiled, compile_workflow
from joinery.compiler.distributed import is_distributed
from joinery.compiler.opt import OPT_LEVELS
from joinery.compiler.plan import Plan
from joinery.compiler.predict import history_events_of, states_of_run, transitions_of
from joinery.errors import (
    InvalidWorkflow,
    PermanentAttemptsExhausted,
    PermanentInternal,
    QuorumDecided,
    RunCancelled,
)
from joinery.runs.task import run_task

XS: dict[str, Any] = {"xs": {"type": "array"}, "x": {"type": "boolean"}}
FAILS = {"type": "transform", "value": "{{ 10 / item.n }}"}


def each(**fields: Any) -> dict[str, Any]:
    node = {"type": "iterate", "items": "{{ inputs.xs }}", "max_items": 1000, "concurrency": 1000}
    return {**node, **fields}


def compiled(edges: list[str], nodes: dict[str, Any] | None = None, **more: Any) -> Compiled:
    described = {"each": each(), **(nodes or {})}
    return compile_workflow(workflow(edges, described, inputs=XS), **more)


def run(made: Compiled, items: list[Any]) -> Ended:
    given = {"xs": items, "x": True}
    machine, reference = compiled_run(made, given), interpreted(made.plan, given)
    assert machine.status == reference.status
    if machine.status == "completed":
        assert machine.nodes() == reference.nodes()
        assert machine.outputs == reference.outputs
    records = machine.store.nodes(machine.run.run_id)
    assert machine.transitions == transitions_of(made.plan, made.emitted, records)
    assert sorted(machine.states) == sorted(states_of_run(made.plan, made.emitted, records))
    return machine


BODY = ["start -> each", "each.item -> a -> b -> c", "each.done -> d -> end"]


# -- when ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "apart"),
    [
        ({"concurrency": 40}, False),
        ({"concurrency": 41}, True),
        ({"concurrency": 41, "max_items": 40}, False),
        ({"concurrency": 1000}, True),
    ],
)
def test_more_items_at_once_than_an_inline_map_runs(fields: Any, apart: bool) -> None:
    made = compiled(BODY, {"each": each(**fields)})
    assert made.plan.iterate_of["each"].distributed is apart
    box = made.definition["States"]["each each"]
    assert is_distributed(box) is apart
    assert box["MaxConcurrency"] == min(fields["concurrency"], 1000 if apart else 40)


def test_one_that_would_fill_the_history() -> None:
    llm = {"type": "llm", "prompt": "x"}
    body = dict.fromkeys("abc", llm)
    small = compiled(BODY, {"each": each(concurrency=10, max_items=800), **body}, opt=1)
    assert not small.plan.iterate_of["each"].distributed
    assert small.report.history_events.max < 15_000
    large = compiled(BODY, {"each": each(concurrency=10), **body}, opt=1)
    assert large.plan.iterate_of["each"].distributed
    assert large.report.history_events.max == 2 + 3 * 5 + 4
    assert large.report.items_apart["each"].max == 2 + 3 * 5


def test_of_two_the_one_that_takes_most_of_the_history() -> None:
    edges = ["start -> each -> end", "each.item -> a -> b", "each.done -> more", "more.item -> c",
             "more.done -> end"]  # fmt: skip
    llm = {"type": "llm", "prompt": "x"}
    nodes = {"each": each(concurrency=9), "more": each(concurrency=9), **dict.fromkeys("abc", llm)}
    made = compiled(
        [e for e in edges if e != "start -> each -> end"] + ["start -> each"], nodes, opt=1
    )
    apart = {e.iterate for e in made.plan.iterates if e.distributed}
    assert apart == {"each"}


def test_an_item_has_a_history_of_its_own_and_it_is_held_against_the_limit() -> None:
    edges = ["start -> each", "each.item -> a -> l", "l.repeat -> a", "each.done -> end"]
    many = {"type": "loop", "max_rounds": 100}
    inner = {"a": {"type": "llm", "prompt": "x"}, "l": many}
    made = compiled(edges, inner)
    assert made.report.items_apart["each"].max == 2 + 2 + 100 * (5 + 2) + 2
    edges = ["start -> each", "each.item -> a -> l", "l.repeat -> a", "l.done -> m",
             "m.repeat -> a", "each.done -> end"]  # fmt: skip
    with pytest.raises(InvalidWorkflow) as caught:
        compiled(edges, {**inner, "m": many})
    (problem,) = caught.value.problems
    assert problem.code == "limit.history"
    assert "the longest item of 'each' would make" in problem.message


def test_items_in_items_are_apart_each_for_itself() -> None:
    edges = ["start -> each", "each.item -> inner", "inner.item -> a", "each.done -> end"]
    inner = {"type": "iterate", "items": "{{ item }}", "max_items": 50, "concurrency": 50}
    made = compiled(edges, {"each": each(concurrency=5, max_items=10), "inner": inner})
    assert [e.distributed for e in made.plan.iterates] == [False, True]
    ended = run(made, [[1, 2], [], [3]])
    assert ended.status == "completed"
    both = compiled(edges, {"inner": inner})
    assert [e.distributed for e in both.plan.iterates] == [True, True]
    assert run(both, [[1, 2], [], [3]]).transitions == 2 + 1 + 3 * (1 + 2) + 3 * 2


def test_more_map_runs_than_an_account_has_are_warned_of() -> None:
    edges = ["start -> each", "each.item -> in1", "in1.item -> in2", "in2.item -> a",
             "each.done -> end"]  # fmt: skip
    inner = {"type": "iterate", "items": "{{ item }}", "max_items": 50, "concurrency": 50}
    made = compiled(edges, {"each": each(), "in1": inner, "in2": inner})
    (problem,) = [p for p in made.report.problems if p.code == "limit.map_runs"]
    assert (problem.severity, problem.node_id) == ("warning", "in2")
    assert "50,000 items around it" in problem.message


# -- the machine ---------------------------------------------------------------------------


def test_an_item_reads_all_from_its_own_input() -> None:
    """It sees no variable from outside, and the context of its own execution."""
    edges = ["start -> a -> each", "each.item -> b -> c", "each.done -> l", "l.repeat -> a",
             "l.done -> end"]  # fmt: skip
    made = compiled(edges, {"l": loop(2)}, opt=0)
    box = made.definition["States"]["each each"]
    assert box["ItemSelector"] == {
        "run_id": "{% $states.context.Execution.Input.run_id %}",
        "plan": "{% $states.context.Execution.Input.plan %}",
        "path": "{% $states.context.Map.Item.Value %}",
    }
    body = box["ItemProcessor"]
    assert body["ProcessorConfig"] == {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    assert "path_l" not in str(body)
    first, second = body["States"]["b"], body["States"]["c"]
    assert first["Arguments"]["path"] == "{% $states.context.Execution.Input.path %}"
    assert first["Assign"] == {"path_each": "{% $states.context.Execution.Input.path %}"}
    assert second["Arguments"]["path"] == "{% $path_each %}"
    assert run(made, [1, 2]).nodes()[("c", "2.1")] == ("completed", "")


def test_a_failed_item_leads_to_a_state_that_says_why() -> None:
    made = compiled(BODY)
    states = made.definition["States"]
    (catcher,) = states["each each"]["Catch"]
    assert catcher["ErrorEquals"] == ["States.ExceedToleratedFailureThreshold"]
    why = states[catcher["Next"]]
    assert (why["Arguments"]["node"], why["Arguments"]["failed"], why["End"]) == (
        "each",
        True,
        True,
    )


def test_the_plan_survives_being_stored() -> None:
    plan = compiled(BODY).plan
    assert Plan.from_dict(plan.to_dict()) == plan
    row = compiled(BODY, {"each": each(concurrency=4)}).plan.iterates[0].to_row()
    assert len(row) == 7, "what is inline is stored as ever"


# -- what it does --------------------------------------------------------------------------


@pytest.mark.parametrize("opt", OPT_LEVELS)
@pytest.mark.parametrize("count", [0, 1, 40, 41])
def test_few_items_and_none(count: int, opt: int) -> None:
    edges = ["start -> each", "each.item -> a -> b", "b.true -> c", "b.false -> d",
             "each.done -> e -> end"]  # fmt: skip
    made = compiled(edges, {"b": condition("x")}, opt=opt)
    ended = run(made, list(range(count)))
    assert ended.status == "completed"
    assert len([key for key in ended.nodes() if key[0] == "a"]) == count


def test_a_thousand_items_of_several_nodes() -> None:
    made = compiled(BODY)
    ended = run(made, list(range(1000)))
    assert ended.status == "completed"
    report = made.report.transitions
    # iterate, Map, d with the end; for each item its start, and one Task for a, b and c.
    assert ended.transitions == report.max == 3 + 1000 * 2
    records = ended.store.nodes(ended.run.run_id)
    events = history_events_of(made.plan, made.emitted, records)
    assert events + limits.SFN_EVENTS_EXECUTION == made.report.history_events.max == 16


def test_one_failed_item_fails_the_run_by_its_own_error() -> None:
    made = compiled(["start -> each", "each.item -> a", "each.done -> end"], {"a": FAILS})
    ended = run(made, [{"n": 1}, {"n": "x"}, {"n": 2}])
    assert ended.status == "failed"
    assert (ended.run.error or {})["node_id"] == "a"
    assert (ended.run.error or {})["path"] == "1"
    assert (ended.run.error or {})["code"] == "expression"
    assert "failed each" in ended.states


def test_a_failed_item_stays_alone_where_items_go_on() -> None:
    nodes = {"each": each(on_item_error="continue"), "a": FAILS}
    made = compiled(["start -> each", "each.item -> a -> b", "each.done -> end"], nodes, opt=0)
    ended = run(made, [{"n": 1}, {"n": "x"}, {"n": 2}])
    assert ended.status == "completed"
    assert ended.nodes()[("a", "1")][0] == "failed"
    assert ended.nodes()[("b", "1")][0] == "skipped"
    assert "failed each" not in ended.states


JOINED = ["start -> f", "f -> each, z", "each.item -> a", "each.done -> k -> j", "z -> j",
          "j -> end"]  # fmt: skip


def test_a_decided_join_is_told_on_behind_a_map_that_lost_its_name() -> None:
    node = {"type": "template", "template": "x"}
    nodes = {"a": FAILS, "f": node, "z": node, "k": node, "j": {**node, "join": "any"}}
    made = compiled(JOINED, nodes, opt=0)
    why = made.definition["States"]["fork each + z"]["Branches"][0]["States"]["failed each"]
    assert why["Arguments"]["quorum"] == ["j"]
    assert "Quorum_j" in why["Retry"][0]["ErrorEquals"]
    ended = compiled_run(made, {"xs": [{"n": "x"}], "x": True})
    assert ended.status == "completed"
    with pytest.raises(QuorumDecided) as caught:
        run_task(ended.deps, made.plan, ended.run, "each", "", deadline=0.0, failed=True,
                 quorum=["j"])  # fmt: skip
    assert type(caught.value).__name__ == "Quorum_j"


def test_why_an_item_stopped_is_what_the_table_says() -> None:
    made = compiled(["start -> each", "each.item -> a", "each.done -> end"], {"a": FAILS})
    ended = compiled_run(made, {"xs": [{"n": "x"}], "x": True})

    def why() -> None:
        run_task(ended.deps, made.plan, ended.run, "each", "", deadline=0.0, failed=True)

    with pytest.raises(PermanentAttemptsExhausted, match="node 'a' at 0: "):
        why()
    for record in ended.store.nodes(ended.run.run_id):
        ended.store.reset_node(ended.run.run_id, record)
    with pytest.raises(PermanentInternal, match="an item of 'each' stopped without a word"):
        why()
    ended.store.request_cancel(ended.run.run_id)
    with pytest.raises(RunCancelled):
        why()


def test_starting_an_item_costs_a_transition() -> None:
    inline = compiled(BODY, {"each": each(concurrency=40, max_items=300)}, opt=0).report
    apart = compiled(BODY, {"each": each(max_items=300)}, opt=0).report
    assert apart.transitions.max == inline.transitions.max + 300
    more = apart.price_by_service["states"].max - inline.price_by_service["states"].max
    assert more == pytest.approx(300 * limits.SFN_USD_PER_TRANSITION)
    (note,) = [n for n in apart.notes if "execution of its own" in n]
    assert "300 at once" in note
    assert list(apart.to_dict()["items_apart"]) == ["each"]


@pytest.mark.parametrize("opt", OPT_LEVELS)
@pytest.mark.parametrize("apart", [False, True])
def test_items_in_items_as_deep_as_they_may_be(apart: bool, opt: int) -> None:
    deepest = limits.ITERATE_DEPTH_MAX
    names = [f"e{depth}" for depth in range(deepest)]
    wide = {"concurrency": 41, "max_items": 41} if apart else {"max_items": 1}
    # One of many items: the most of 41 to the 20th is beyond any figure, so only the last is wide.
    nodes: dict[str, Any] = {name: each(items=[7], max_items=1) for name in names}
    nodes[names[-1]] = each(items=[7], **wide)
    edges = [f"{outer}.item -> {inner}" for outer, inner in pairwise(names)]
    edges += ["start -> e0", f"{names[-1]}.item -> a", "e0.done -> end"]
    made = compile_workflow(workflow(edges, nodes, inputs=XS), opt=opt)
    assert made.plan.iterate_of[names[-1]].distributed is apart
    ended = run(made, [])
    assert ended.status == "completed"
    assert ended.nodes()[("a", ".".join(["0"] * deepest))] == ("completed", "")


@pytest.mark.parametrize("opt", OPT_LEVELS)
def test_a_join_that_takes_the_list_itself_leaves_its_items(opt: int) -> None:
    """The items lose: their Map ends as failed, and what asks why goes on at the join."""
    edges = ["start -> each", "each.item -> a", "each.done -> b, j", "b -> j -> end"]
    made = compiled(edges, {"j": {"type": "template", "template": "on", "join": "any"}}, opt=opt)
    assert made.plan.iterate_of["each"].distributed
    machine = compiled_run(made, {"xs": [1, 2], "x": True})
    reference = interpreted(made.plan, {"xs": [1, 2], "x": True})
    assert machine.status == reference.status == "completed"
    assert "failed each" in machine.states
    report = made.report.transitions
    assert report.min <= machine.transitions <= report.max
