"""Items: how many run at once, what they give, and what a failure of one does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from kit.engines import Ended, compiled_run, interpreted
from kit.models import Says
from kit.workflows import condition, loop, workflow

from joinery.compiler.compile import compile_workflow
from joinery.workflow.model import Workflow

XS: dict[str, Any] = {"xs": {"type": "array"}}


def each(items: Any = "{{ inputs.xs }}", **fields: Any) -> dict[str, Any]:
    return {"type": "iterate", "items": items, "max_items": 5, **fields}


def both(graph: Workflow, inputs: dict[str, Any]) -> Ended:
    """Runs it in both engines at every level; they must come to the same."""
    reference = interpreted(compile_workflow(graph).plan, inputs)
    for opt in (0, 1):
        machine = compiled_run(compile_workflow(graph, opt=opt), inputs)
        assert (machine.status, machine.outputs) == (reference.status, reference.outputs)
        if reference.status == "completed":
            assert machine.nodes() == reference.nodes()
    return reference


SIMPLE = ["start -> each", "each.item -> a", "each.done -> end"]


def simple(**fields: Any) -> Workflow:
    nodes = {"each": each(**fields), "a": {"type": "template", "template": "{{ item }}"}}
    return workflow(SIMPLE, nodes, inputs=XS, outputs={"a": "{{ nodes.a.text }}"})


# -- the items -----------------------------------------------------------------------------


@pytest.mark.parametrize("xs", [[], ["one"], ["one", 2, {"three": 3}]])
def test_results_are_a_list_in_the_order_of_the_items(xs: list[Any]) -> None:
    ended = both(simple(), {"xs": xs})
    assert ended.outputs == {"a": ["one", "2", '{"three":3}'][: len(xs)]}
    (done,) = [e for e in ended.listener.named("node.completed") if e["node_id"] == "each"]
    assert done["data"]["items"] == len(xs)
    assert {path for node, path in ended.nodes() if node == "a"} == {str(i) for i in range(len(xs))}


@pytest.mark.parametrize("given", ["text", 3, {"a": 1}, True])
def test_what_is_no_list_fails_the_node_by_name(given: Any) -> None:
    graph = workflow(SIMPLE, {"each": each("{{ inputs.x.y }}")}, inputs={"x": {"type": "object"}})
    ended = both(graph, {"x": {"y": given}})
    assert ended.status == "failed"
    assert (ended.run.error or {})["code"] == "iterate.not_a_list"
    assert "not a list but" in (ended.run.error or {})["message"]


def test_too_many_items_fail_the_node_by_name() -> None:
    ended = both(simple(), {"xs": list(range(6))})
    error = ended.run.error or {}
    assert (error["code"], error["details"]) == (
        "iterate.too_many_items",
        {"limit": 5, "actual": 6},
    )
    assert [key for key in ended.nodes() if key[0] == "a"] == []


def test_items_may_be_written_out() -> None:
    nodes = {"each": each(["{{ inputs.x }}", 2]), "a": {"type": "transform", "value": "{{ item }}"}}
    graph = workflow(SIMPLE, nodes, inputs={"x": {"default": "hi"}},
                     outputs={"a": "{{ nodes.a.output }}"})  # fmt: skip
    assert both(graph, {}).outputs == {"a": ["hi", 2]}


@pytest.mark.parametrize(
    ("policy", "after"),
    [("continue", "completed"), ("route", "skipped"), ({"default": ["x"]}, "completed")],
)
def test_a_failed_iterate_node_goes_on_as_it_says(policy: Any, after: str) -> None:
    edges = ["start -> each", "each.item -> a -> b", "each.done -> c -> end"]
    edges += ["each.error -> d -> end"] if policy == "route" else []
    nodes = {"each": each("{{ run.id }}", on_error=policy)}
    graph = workflow(edges, nodes, outputs={"a": "{{ nodes.a.text }}", "b": "{{ nodes.b }}"})
    ended = both(graph, {})
    assert ended.outputs == {"a": [], "b": []}
    assert ended.nodes()[("c", "")][0] == after
    assert not any(node in ("a", "b") for node, _ in ended.nodes())
    assert (("d", "") in ended.nodes()) == (policy == "route")


def test_of_a_skipped_iterate_node_nothing_is_recorded() -> None:
    edges = ["start -> ask", "ask.true -> each", "each.item -> a", "each.done -> b", "b -> end",
             "ask.false -> end"]  # fmt: skip
    graph = workflow(
        edges,
        {"ask": condition("go"), "each": each([1, 2])},
        inputs={"go": {"type": "boolean"}},
        outputs={"a": "{{ nodes.a }}"},
    )
    ended = both(graph, {"go": False})
    assert ended.outputs == {"a": []}
    assert set(ended.nodes()) == {("ask", ""), ("each", ""), ("b", "")}


# -- at once -------------------------------------------------------------------------------


class Gauge:
    """A model that notes how many of its calls are under way."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.lock = threading.Lock()

    def __call__(self, request: Any, call: Any) -> Iterator[str]:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.03)
        with self.lock:
            self.now -= 1
        yield call.path


@pytest.mark.parametrize(("width", "count"), [(1, 4), (3, 5), (40, 5)])
def test_no_more_items_run_at_once_than_allowed(width: int, count: int) -> None:
    nodes = {"each": each(concurrency=width), "a": {"type": "llm", "prompt": "{{ item }}"}}
    graph = workflow(SIMPLE, nodes, inputs=XS, outputs={"a": "{{ nodes.a.text }}"})
    gauge = Gauge()
    plan = compile_workflow(graph).plan
    ended = interpreted(plan, {"xs": list(range(count))}, Says(gauge))
    assert ended.outputs == {"a": [str(i) for i in range(count)]}
    assert gauge.most == min(width, count)


def test_what_follows_waits_for_the_slowest_item() -> None:
    def slowly(request: Any, call: Any) -> Iterator[str]:
        time.sleep(0.1 if call.path == "0" else 0)
        yield call.path

    nodes = {"each": each(), "a": {"type": "llm", "prompt": "x"},
             "b": {"type": "transform", "value": "{{ nodes.a.text }}"}}  # fmt: skip
    edges = ["start -> each", "each.item -> a", "each.done -> b -> end"]
    graph = workflow(edges, nodes, inputs=XS, outputs={"b": "{{ nodes.b.output }}"})
    ended = interpreted(compile_workflow(graph).plan, {"xs": [1, 2]}, Says(slowly))
    assert ended.outputs == {"b": ["0", "1"]}


# -- nesting -------------------------------------------------------------------------------


def test_items_in_items_in_items() -> None:
    depth = 6
    nodes: dict[str, Any] = {}
    edges = ["start -> each0", "each0.done -> end"]
    for level in range(depth):
        nodes[f"each{level}"] = each("{{ inputs.xs }}" if not level else "{{ item }}", max_items=2)
        following = f"each{level + 1}" if level + 1 < depth else "a"
        edges.append(f"each{level}.item -> {following}")
    shown = " ".join(f"{{{{ nodes.each{level}.index }}}}" for level in range(depth))
    nodes["a"] = {"type": "template", "template": f"{{{{ item }}}}: {shown}"}
    xs: Any = ["p", "q"]
    for _ in range(depth - 1):
        xs = [xs]
    graph = workflow(edges, nodes, inputs=XS,
                     outputs={"a": "{{ nodes.a.text }}", "n": "{{ nodes.a }}"})  # fmt: skip
    ended = both(graph, {"xs": xs})
    assert ended.outputs["a"] == ["p: 0 0 0 0 0 0", "q: 0 0 0 0 0 1"]
    inner = ended.outputs["n"]
    for _ in range(depth - 1):
        (inner,) = inner
    assert [one["status"] for one in inner] == ["completed"] * 2
    assert ("a", "0.0.0.0.0.1") in ended.nodes()


def test_an_iterate_in_a_loop_is_seen_as_its_last_round() -> None:
    """The last round has fewer items than the one before."""
    edges = ["start -> r -> each", "each.item -> a", "each.done -> b -> l", "l.repeat -> r",
             "l.done -> end"]  # fmt: skip
    nodes = {
        "r": {"type": "transform",
              "value": "{{ loop.round = 1 ? ['x', 'y', 'z'] : loop.round = 2 ? ['w'] : [] }}"},
        "each": each("{{ nodes.r.output }}"),
        "a": {"type": "template",
              "template": "{{ item }}{{ loop.round }}{{ $count(loop.previous.a ?? []) }}"},
        "b": {"type": "transform",
              "value": {"now": "{{ nodes.a.text }}", "then": "{{ loop.previous.a.text ?? 'no' }}"}},
        "l": loop(2),
    }  # fmt: skip
    for rounds, seen in ((1, ["x10", "y10", "z10"]), (2, ["w23"]), (3, [])):
        outputs = {"a": "{{ nodes.a.text }}", "b": "{{ nodes.b.output }}"}
        graph = workflow(edges, {**nodes, "l": loop(rounds)}, outputs=outputs)
        ended = both(graph, {})
        assert ended.outputs["a"] == ended.outputs["b"]["now"] == seen
        before = {1: "no", 2: ["x10", "y10", "z10"], 3: ["w23"]}
        assert ended.outputs["b"]["then"] == before[rounds]


def test_a_loop_in_a_body_gives_its_last_round_for_each_item() -> None:
    edges = ["start -> each", "each.item -> a -> l", "l.repeat -> a", "each.done -> end"]
    until = {"type": "loop", "until": "{{ loop.round >= item }}", "max_rounds": 5}
    growing = {"type": "template", "template": "{{ loop.previous.a.text ?? item }}."}
    nodes = {"each": each(), "l": until, "a": growing}
    outputs = {"a": "{{ nodes.a.text }}", "l": "{{ nodes.l.output.rounds }}"}
    graph = workflow(edges, nodes, inputs=XS, outputs=outputs)
    ended = both(graph, {"xs": [1, 3, 2]})
    assert ended.outputs == {"a": ["1.", "3...", "2.."], "l": [1, 3, 2]}


def test_a_body_may_begin_with_a_fork_and_hold_a_decision() -> None:
    edges = ["start -> each", "each.item -> a, b -> j -> ask", "ask.true -> t", "ask.false -> f",
             "each.done -> end"]  # fmt: skip
    nodes = {"each": each(), "ask": {"type": "condition", "if": "{{ item > 1 }}"},
             "t": {"type": "template", "template": "{{ nodes.j.text }}{{ item }}"}}  # fmt: skip
    graph = workflow(edges, nodes, inputs=XS,
                     outputs={"t": "{{ nodes.t.text }}", "f": "{{ nodes.f.status }}"})  # fmt: skip
    ended = both(graph, {"xs": [1, 2, 3]})
    assert ended.outputs == {"t": ["j2", "j3"], "f": ["completed", "skipped", "skipped"]}


def test_items_beside_each_other_in_a_rigid_region() -> None:
    edges = ["start -> e1, e2, a", "e1.item -> x", "e2.item -> y", "e1.done -> b, c",
             "e2.done -> c", "a -> b", "b -> d", "c -> d", "d -> end"]  # fmt: skip
    graph = workflow(edges, {"e1": each([1, 2]), "e2": each([3])},
                     outputs={"x": "{{ nodes.x.text }}", "y": "{{ nodes.y.text }}"})  # fmt: skip
    assert both(graph, {}).outputs == {"x": ["x", "x"], "y": ["y"]}


# -- failures ------------------------------------------------------------------------------


def failing(**fields: Any) -> Workflow:
    return workflow(
        ["start -> each", "each.item -> a -> b", "each.item -> c", "each.done -> d -> end"],
        {"each": each(**fields), "a": {"type": "transform", "value": "{{ item.x }}"}},
        inputs=XS,
        outputs={"a": "{{ nodes.a.output }}", "b": "{{ nodes.b.status }}",
                 "c": "{{ nodes.c.status }}", "why": "{{ nodes.a.error.code }}"},
    )  # fmt: skip


ITEMS = [{"x": 1}, {}, {"x": 3}]


def test_a_failure_of_one_item_fails_the_run() -> None:
    ended = both(failing(), {"xs": ITEMS})
    assert ended.status == "failed"
    assert ((ended.run.error or {})["node_id"], (ended.run.error or {})["path"]) == ("a", "1")


def test_or_it_stays_in_its_item() -> None:
    ended = both(failing(on_item_error="continue"), {"xs": ITEMS})
    assert ended.outputs == {
        "a": [1, 3],
        "b": ["completed", "skipped", "completed"],
        "c": ["completed"] * 3,
        "why": ["expression"],
    }
    (failed,) = ended.listener.named("node.failed")
    assert failed["data"]["on_error"] == "contained"
    assert ended.nodes()[("a", "1")] == ("failed", "")


def test_a_failure_in_an_inner_body_is_contained_by_the_nearest_that_goes_on() -> None:
    edges = ["start -> each", "each.item -> inner", "inner.item -> a -> b", "inner.done -> c",
             "each.done -> end"]  # fmt: skip
    nodes = {
        "each": each(on_item_error="continue"),
        "inner": each("{{ item }}"),
        "a": {"type": "transform", "value": "{{ item.x }}"},
    }
    outputs = {"a": "{{ nodes.a.status }}", "c": "{{ nodes.c.status }}"}
    graph = workflow(edges, nodes, inputs=XS, outputs=outputs)
    plan = compile_workflow(graph).plan
    assert plan.by_id["a"].contained == plan.by_id["inner"].contained == "each"
    assert plan.by_id["each"].contained == ""
    ended = both(graph, {"xs": [[{"x": 1}, {}], "no list"]})
    assert ended.outputs == {"a": ["completed", "failed"], "c": ["completed", "skipped"]}


def test_a_nodes_own_policy_comes_first() -> None:
    edges = [*SIMPLE, "a -> b"]
    nodes = {
        "each": each(on_item_error="continue"),
        "a": {"type": "transform", "value": "{{ item.x }}", "on_error": "continue"},
    }
    graph = workflow(edges, nodes, inputs=XS, outputs={"b": "{{ nodes.b.status }}"})
    assert both(graph, {"xs": ITEMS}).outputs == {"b": ["completed"] * 3}


def test_an_edge_that_cannot_be_decided_stays_in_its_item_as_well() -> None:
    graph = workflow(
        ["start -> each", "each.item -> a", "b -> c", "each.done -> end"],
        {"each": each(on_item_error="continue")},
        more=[{"from": "a", "to": "b", "when": "{{ item.x > 2 }}"}],
        inputs=XS,
        outputs={"a": "{{ nodes.a.status }}", "c": "{{ nodes.c.status }}"},
    )
    assert both(graph, {"xs": ITEMS}).outputs == {
        "a": ["completed", "failed", "completed"],
        "c": ["skipped", "skipped", "completed"],
    }
