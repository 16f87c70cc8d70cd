"""Child runs: what nodes see of them, how they fail, and what is cancelled with them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from kit.children import begin_inline, inline, known, plans_of
from kit.engines import Ended
from kit.models import Says
from kit.workflows import loop, workflow

from joinery.model_errors import PermanentModelAuth
from joinery.runs.interpreter import run_inline
from joinery.runs.model import RunRecord
from joinery.runs.start import cancel_run
from joinery.runs.views import run_summary, run_view

TALK = workflow(
    ["start -> talk -> end"],
    {"talk": {"type": "llm", "prompt": "{{ inputs.topic }}"}},
    name="talk",
    inputs={"topic": {"required": True}, "times": {"type": "integer", "default": 2}},
    outputs={"said": "{{ nodes.talk.text }}", "times": "{{ inputs.times }}"},
)


def child(**more: Any) -> dict[str, Any]:
    return {"type": "workflow", "workflow": "talk", "inputs": {"topic": "tea"}, **more}


def one(**more: Any) -> Any:
    return plans_of(
        workflow(
            ["start -> a -> end"],
            {"a": child(**more)},
            outputs={"text": "{{ nodes.a.text ?? 'none' }}", "all": "{{ nodes.a.output ?? null }}"},
        ),
        a=known(TALK),
    )


def children(ended: Ended) -> list[RunRecord]:
    return [
        held.record
        for held in ended.store._runs.values()
        if held.record.parent and held.record.parent.run_id == ended.run.run_id
    ]


def fails(_request: Any, _call: Any) -> Any:
    raise PermanentModelAuth("no key")


def test_a_node_has_what_its_child_run_has_put_out() -> None:
    ended = inline(one(), {}, Says(lambda r, c: "hello"))
    assert ended.status == "completed"
    assert ended.outputs == {"text": "hello", "all": {"said": "hello", "times": 2}}
    (made,) = children(ended)
    assert made.parent is not None
    assert (made.parent.node_id, made.parent.depth, made.session_id) == ("a", 1, "s1")
    assert (made.owner, made.plan_ref, made.status) == ("me", "wf_talk/1", "completed")
    extra = ended.store.extra(made.run_id)
    assert extra["model"] == "x:y"
    assert extra["around"]["ledger"] == ended.run.run_id
    (record,) = ended.store.nodes(ended.run.run_id)
    assert record.usage == made.usage == ended.run.usage
    assert record.usage["model_calls"] == 1
    shown = run_summary(made)["parent"]
    assert shown == {"run_id": ended.run.run_id, "node_id": "a", "path": "", "depth": 1}
    assert run_view(ended.store, ended.run)["nodes"][0]["child_run_id"] == made.run_id


def test_watchers_of_both_runs_are_told() -> None:
    ended = inline(one(), {}, Says(lambda r, c: "hello"))
    (made,) = children(ended)
    own = [m for m in ended.listener.messages if m["run_id"] == ended.run.run_id]
    assert [m["event"] for m in own] == [
        "run.started", "node.started", "child.started", "usage.recorded", "node.completed",
        "run.completed",
    ]  # fmt: skip
    assert own[2]["data"] == {
        "child_run_id": made.run_id,
        "workflow": {"workflow_id": "wf_talk", "version": 1, "name": "talk"},
        "depth": 1,
    }
    below = [m for m in ended.listener.messages if m["run_id"] == made.run_id]
    assert below[0]["event"] == "run.started"
    assert below[0]["data"]["parent"]["run_id"] == ended.run.run_id


@pytest.mark.parametrize(
    ("outputs", "text"),
    [({}, None), ({"a": 1}, None), ({"a": "x", "b": 2}, "x"), ({"a": "x", "b": "y"}, None)],
)
def test_text_is_the_one_output_that_is_text(outputs: Any, text: Any) -> None:
    quiet = workflow(["start -> t -> end"], name="talk", outputs=outputs)
    plans = plans_of(workflow(["start -> a -> end"], {"a": child(inputs={})}), a=known(quiet))
    ended = inline(plans, {})
    (record,) = ended.store.nodes(ended.run.run_id)
    assert record.result == {"output": outputs, **({"text": text} if text else {})}
    assert record.usage == {}


def test_each_round_and_each_branch_has_a_run_of_its_own() -> None:
    graph = workflow(
        ["start -> a, b -> l", "l.repeat -> a, b", "l.done -> end"],
        {"a": child(), "b": child(inputs={"topic": "{{ loop.round }}!"}), "l": loop(2)},
    )
    ended = inline(plans_of(graph, a=known(TALK), b=known(TALK)), {}, Says(lambda r, c: "x"))
    assert ended.status == "completed"
    made = children(ended)
    assert {(c.parent.node_id, c.parent.path) for c in made if c.parent} == {
        ("a", "1"), ("b", "1"), ("a", "2"), ("b", "2"),
    }  # fmt: skip
    assert len({c.run_id for c in made}) == 4


# -- failures ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "status", "text"),
    [
        ("fail", "failed", None),
        ("continue", "completed", "none"),
        ({"default": "d"}, "completed", "d"),
    ],
)
def test_a_failed_child_is_a_failed_node(policy: Any, status: str, text: Any) -> None:
    ended = inline(one(on_error=policy), {}, Says(fails))
    assert ended.status == status
    (record,) = ended.store.nodes(ended.run.run_id)
    (made,) = children(ended)
    assert record.status == "failed"
    assert record.error is not None
    assert record.error["code"] == "workflow.child_failed"
    details = record.error["details"]
    assert (details["child_run_id"], details["status"]) == (made.run_id, "failed")
    assert details["cause"]["code"] == "model_auth"
    assert details["cause"]["node_id"] == "talk"
    assert (ended.outputs or {}).get("text") == text


def test_a_failed_child_takes_the_port_error() -> None:
    graph = workflow(
        ["start -> a -> b -> end", "a.error -> c -> end"], {"a": child(on_error="route")}
    )
    ended = inline(plans_of(graph, a=known(TALK)), {}, Says(fails))
    assert ended.nodes() == {
        ("a", ""): ("failed", "error"), ("b", ""): ("skipped", ""), ("c", ""): ("completed", ""),
    }  # fmt: skip


def test_another_run_is_made_only_where_retry_names_that_error() -> None:
    left = [fails, fails]
    says = Says(lambda r, c: left.pop()(r, c) if left else "third")
    retry = {"attempts": 3, "errors": ["workflow.child_failed"]}
    ended = inline(one(retry=retry), {}, says)
    assert ended.status == "completed"
    assert ended.outputs["text"] == "third"
    assert sorted(c.status for c in children(ended)) == ["completed", "failed", "failed"]
    (record,) = ended.store.nodes(ended.run.run_id)
    assert (record.attempt, record.children, record.usage["model_calls"]) == (3, 2, 3)
    assert len(ended.listener.named("node.retrying")) == 2
    assert len(ended.listener.named("child.started")) == 3

    ended = inline(one(retry={"attempts": 3}), {}, Says(fails))
    assert (ended.status, len(children(ended))) == ("failed", 1)


def test_what_a_child_does_not_take_is_the_nodes_error() -> None:
    ended = inline(one(inputs={"topic": "x", "times": "{{ 'many' }}", "more": 1}), {})
    assert ended.run.error is not None
    assert ended.run.error["code"] == "invalid_input"
    assert {e["code"] for e in ended.run.error["details"]["errors"]} == {"type", "unknown"}
    assert children(ended) == []


def test_runs_are_nested_only_so_deep() -> None:
    below = known(workflow(["start -> t -> end"], name="level0"))
    for level in range(1, 6):
        inner = {"type": "workflow", "workflow": below.name}
        below = known(workflow(["start -> a -> end"], {"a": inner}, name=f"level{level}"), a=below)
    for depth, status in ((below.children["a"], "completed"), (below, "failed")):
        top = workflow(["start -> a -> end"], {"a": {"type": "workflow", "workflow": "x"}})
        ended = inline(plans_of(top, a=depth), {})
        assert ended.status == status
    assert "6 runs deep; the limit is 5" in str(ended.run.error)


# -- ends from outside -----------------------------------------------------------------------


def test_a_cancelled_parent_cancels_all_below_it() -> None:
    box: dict[str, Ended] = {}

    def cancels(_request: Any, _call: Any) -> Iterator[str]:
        yield "one "
        cancel_run(box["e"].deps, box["e"].run)
        yield "two"

    middle = known(workflow(["start -> a -> end"], {"a": child()}, name="middle"), a=known(TALK))
    outer = workflow(["start -> a -> end"], {"a": {"type": "workflow", "workflow": "middle"}})
    plans = plans_of(outer, a=middle)
    ended = box["e"] = begin_inline(plans, {}, Says(cancels))
    run_inline(ended.deps, plans["wf/1"], ended.run)
    assert [held.record.status for held in ended.store._runs.values()] == ["cancelled"] * 3
    assert len(ended.listener.named("run.cancelled")) == 3
    assert ended.listener.named("node.failed") == []


def test_a_cancelled_child_fails_its_node() -> None:
    box: dict[str, Ended] = {}

    def cancels(_request: Any, _call: Any) -> Iterator[str]:
        yield "one "
        (made,) = children(box["e"])
        cancel_run(box["e"].deps, made)
        yield "two"

    plans = one()
    ended = box["e"] = begin_inline(plans, {}, Says(cancels))
    run_inline(ended.deps, plans["wf/1"], ended.run)
    error = ended.store.get_run(ended.run.run_id).error
    assert error is not None
    assert (error["code"], error["details"]["status"]) == ("workflow.child_failed", "cancelled")


def test_a_failed_parent_cancels_its_children_and_says_why_it_failed() -> None:
    def answer(_request: Any, call: Any) -> Iterator[str]:
        if call.node_id == "bad":
            time.sleep(0.1)
            raise PermanentModelAuth("no key")
        for _ in range(500):
            time.sleep(0.01)
            yield "x"

    graph = workflow(
        ["start -> a, bad -> end"], {"a": child(), "bad": {"type": "llm", "prompt": "x"}}
    )
    ended = inline(plans_of(graph, a=known(TALK)), {}, Says(answer))
    assert ended.run.error is not None
    assert (ended.status, ended.run.error["code"]) == ("failed", "model_auth")
    assert [c.status for c in children(ended)] == ["cancelled"]


def test_a_child_that_takes_too_long_is_cancelled() -> None:
    def slow(_request: Any, _call: Any) -> Iterator[str]:
        for _ in range(500):
            time.sleep(0.01)
            yield "x"

    ended = inline(one(timeout="250ms"), {}, Says(slow))
    assert ended.run.error is not None
    assert ended.run.error["code"] == "node_timeout"
    assert [c.status for c in children(ended)] == ["cancelled"]


def test_waiting_for_a_child_run_costs_no_function() -> None:
    from joinery.runs.cost import run_cost

    ended = inline(one(), {}, Says(lambda r, c: "hello"))
    (record,) = ended.store.nodes(ended.run.run_id)
    short, long = (
        run_cost(ended.run, [waited], 2, {}, predicted=2)["price_usd"]
        for waited in (record.with_(ended_at=record.started_at + s) for s in (1.0, 86_400.0))
    )
    assert short == long
