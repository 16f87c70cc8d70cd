"""Runs that are paused, resumed and forked: what has ended is not run again."""

from __future__ import annotations

from typing import Any

import pytest
from kit.engines import Ended, begin
from kit.workflows import workflow

from joinery.compiler.compile import compile_workflow
from joinery.errors import Conflict, InvalidInput, InvalidRequest, JoineryError, Unavailable
from joinery.events.make import Event
from joinery.runs.control import execution_name, pause, resume
from joinery.runs.fork import fork
from joinery.runs.interpreter import run_inline
from joinery.runs.lifecycle import close_ended

CHAIN = compile_workflow(
    workflow(
        ["start -> a -> b -> c -> end"],
        {
            "a": {"type": "template", "template": "{{ inputs.who }}"},
            "b": {"type": "template", "template": "{{ nodes.a.text }}{{ inputs.more ?? '' }}"},
            "c": {"type": "template", "template": "{{ nodes.b.text }}!"},
        },
        inputs={"who": {"type": "string", "default": "you"}, "more": {"type": "string"}},
        outputs={"text": "{{ nodes.c.text }}"},
    )
).plan

LOOPED = compile_workflow(
    workflow(
        ["start -> h -> x -> l", "l.repeat -> h", "l.done -> z -> end"],
        {"l": {"type": "loop", "max_rounds": 3}},
    )
).plan


def go_on(ended: Ended, plan: Any = CHAIN) -> Ended:
    run_inline(ended.deps, plan, ended.store.get_run(ended.run.run_id), sleep=lambda _: None)
    ended.run = ended.store.get_run(ended.run.run_id)
    return ended


def pausing_after(ended: Ended, node_id: str) -> None:
    publish = ended.listener.publish

    def watch(run_id: str, messages: list[Event]) -> None:
        publish(run_id, messages)
        if "run.paused" in names(ended):
            return  # what had ended is told again when the run goes on
        if any(m["event"] == "node.completed" and m.get("node_id") == node_id for m in messages):
            pause(ended.deps, ended.store.get_run(run_id), lambda arn, cause: None)

    ended.listener.publish = watch  # type: ignore[method-assign]


def attempts(ended: Ended) -> dict[str, int]:
    return {r.node_id: r.attempt for r in ended.store.nodes(ended.run.run_id)}


def names(ended: Ended) -> list[str]:
    return [m["event"] for m in ended.store.events(ended.run.run_id, 0, 100)]


def launch(run: Any) -> str:
    return f"arn:{execution_name(run)}"


# -- pause and resume -------------------------------------------------------------------


def test_a_paused_run_goes_on_where_it_stood_and_runs_nothing_twice() -> None:
    ended = begin(CHAIN, {})
    pausing_after(ended, "a")
    go_on(ended)
    assert ended.status == "paused"
    assert attempts(ended) == {"a": 1}

    now = resume(ended.deps, ended.run, launch)
    assert (now.status, now.incarnation) == ("running", 2)
    assert now.execution_arn == f"arn:{now.run_id}-2"
    go_on(ended)
    assert ended.status == "completed"
    assert attempts(ended) == {"a": 1, "b": 1, "c": 1}
    assert names(ended).count("run.paused") == names(ended).count("run.resumed") == 1
    assert names(ended)[-1] == "run.completed"


def test_a_pause_stops_the_execution_and_its_end_closes_nothing() -> None:
    ended = begin(CHAIN, {})
    ended.store.mark_started(ended.run.run_id, "arn:1", 1.0)
    stopped: list[str] = []
    pause(
        ended.deps,
        ended.store.get_run(ended.run.run_id),
        lambda arn, cause: stopped.append(arn),
    )
    assert stopped == ["arn:1"]
    detail = {"name": ended.run.run_id, "status": "ABORTED"}
    assert close_ended(ended.deps, detail) == "paused"
    resume(ended.deps, ended.store.get_run(ended.run.run_id), launch)
    assert close_ended(ended.deps, detail) == "superseded"


def test_a_pause_is_kept_when_the_execution_cannot_be_stopped() -> None:
    ended = begin(CHAIN, {})
    ended.store.mark_started(ended.run.run_id, "arn:1", 1.0)

    def stop(arn: str, cause: str) -> None:
        raise Unavailable("Step Functions is busy")

    run = pause(ended.deps, ended.store.get_run(ended.run.run_id), stop)
    assert run.status == "paused"


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "timed_out"])
def test_only_what_goes_on_can_be_paused(status: str) -> None:
    ended = begin(CHAIN, {})
    move(ended, status)
    with pytest.raises(Conflict) as refused:
        pause(ended.deps, ended.store.get_run(ended.run.run_id), lambda arn, cause: None)
    assert refused.value.details["status"] == status


@pytest.mark.parametrize("status", ["completed", "cancelled", "running"])
def test_only_what_is_paused_or_failed_can_be_resumed(status: str) -> None:
    ended = begin(CHAIN, {})
    move(ended, status)
    with pytest.raises(Conflict):
        resume(ended.deps, ended.store.get_run(ended.run.run_id), launch)


def move(ended: Ended, status: str) -> None:
    run_id = ended.run.run_id
    ended.store.mark_started(run_id, "arn", 1.0)
    run = ended.store.get_run(run_id)
    if status == "paused":
        pause(ended.deps, run, lambda arn, cause: None)
    elif status != "running":
        event: Event = {"event": f"run.{status}"}
        ended.store.close_run(run, status=status, at=2.0, event=event)


def test_of_two_who_resume_one_goes_on() -> None:
    ended = begin(CHAIN, {})
    move(ended, "paused")
    seen = ended.store.get_run(ended.run.run_id)
    for _ in range(2):
        run = resume(ended.deps, seen, launch)
        assert (run.incarnation, run.execution_arn) == (2, f"arn:{run.run_id}-2")
    assert resume(ended.deps, run, launch) == run
    assert names(ended).count("run.resumed") == 1


def test_pausing_twice_is_pausing_once() -> None:
    ended = begin(CHAIN, {})
    for _ in range(2):
        run = ended.store.get_run(ended.run.run_id)
        assert pause(ended.deps, run, lambda arn, cause: None).status == "paused"
    assert names(ended).count("run.paused") == 1


def test_a_resume_that_died_before_its_execution_is_made_good() -> None:
    ended = begin(CHAIN, {})
    move(ended, "paused")

    def die(run: Any) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        resume(ended.deps, ended.store.get_run(ended.run.run_id), die)
    run = resume(ended.deps, ended.store.get_run(ended.run.run_id), launch)
    assert (run.incarnation, run.execution_arn) == (2, f"arn:{run.run_id}-2")


def test_a_resume_that_is_not_started_fails_the_run_which_can_be_resumed_again() -> None:
    ended = begin(CHAIN, {})
    move(ended, "paused")

    def refuse(run: Any) -> str:
        raise Unavailable("Step Functions is busy")

    with pytest.raises(JoineryError, match="could not be started again"):
        resume(ended.deps, ended.store.get_run(ended.run.run_id), refuse)
    run = ended.store.get_run(ended.run.run_id)
    assert (run.status, (run.error or {})["code"]) == ("failed", "not_started")
    assert resume(ended.deps, run, launch).status == "running"


FAILING = compile_workflow(
    workflow(
        ["start -> a -> b -> end"],
        {"b": {"type": "template", "template": "{{ inputs.who }}"}},
        inputs={"who": {"type": "string"}},
    )
).plan


def test_a_failed_run_goes_on_from_the_node_that_failed() -> None:
    ended = go_on(begin(FAILING, {}), FAILING)
    assert ended.status == "failed"
    resume(ended.deps, ended.run, launch)
    record = next(r for r in ended.store.nodes(ended.run.run_id) if r.node_id == "b")
    assert (record.status, record.tries, record.started_at) == ("pending", 0, 0.0)
    resumed = ended.listener.named("run.resumed")[0]["data"]
    assert resumed == {
        "incarnation": 2, "after": "failed", "nodes": [{"node_id": "b", "path": ""}]
    }  # fmt: skip

    ended.store._runs[ended.run.run_id].inputs = {"who": "me"}
    go_on(ended, FAILING)
    assert ended.status == "completed"
    assert attempts(ended) == {"a": 1, "b": 2}


# -- fork -------------------------------------------------------------------------------


def forked(
    ended: Ended, plan: Any, node_id: str | None, path: str | None = None, **inputs: Any
) -> tuple[Ended, set[tuple[str, str]]]:
    run, new = fork(ended.deps, plan, ended.run, node_id=node_id, path=path, inputs=inputs)
    assert new
    taken = {(r.node_id, r.key.path) for r in ended.store.nodes(run.run_id)}
    made = Ended(ended.deps, ended.store, run, ended.listener)
    return go_on(made, plan), taken


def test_a_fork_takes_over_what_came_before_and_runs_the_rest() -> None:
    ended = go_on(begin(CHAIN, {"who": "you"}))
    made, taken = forked(ended, CHAIN, "b", more=", too")
    assert taken == {("a", "")}
    assert made.outputs == {"text": "you, too!"}
    assert made.run.forked_from == ended.run.run_id
    assert ended.store.get_run(ended.run.run_id).status == "completed"
    started, reused = ended.store.events(made.run.run_id, 0, 2)
    assert started["data"]["forked_from"] == ended.run.run_id
    assert reused["data"]["nodes"] == [{"node_id": "a", "path": "", "status": "completed"}]


def test_a_fork_without_a_node_runs_everything_again() -> None:
    ended = go_on(begin(CHAIN, {"who": "you"}))
    made, taken = forked(ended, CHAIN, None, who="me")
    assert taken == set()
    assert made.outputs == {"text": "me!"}


def test_a_fork_from_a_round_keeps_the_rounds_before() -> None:
    ended = go_on(begin(LOOPED, {}), LOOPED)
    made, taken = forked(ended, LOOPED, "x", "2")
    assert taken == {("h", "1"), ("x", "1"), ("l", "1"), ("h", "2")}
    assert made.status == "completed"
    assert made.nodes() == ended.nodes()
    _, taken = forked(ended, LOOPED, "x")
    assert taken == {("h", "1")}
    _, taken = forked(ended, LOOPED, "z")
    assert len(taken) == 9


def test_what_cannot_be_forked_says_why() -> None:
    ended = begin(CHAIN, {})
    with pytest.raises(Conflict, match="queued"):
        fork(ended.deps, CHAIN, ended.run, node_id=None, path=None, inputs={})
    go_on(ended)
    for node_id, path in (("nobody", None), ("end", None), ("a", "7")):
        with pytest.raises(InvalidRequest):
            fork(ended.deps, CHAIN, ended.run, node_id=node_id, path=path, inputs={})
    with pytest.raises(InvalidInput):
        fork(ended.deps, CHAIN, ended.run, node_id=None, path=None, inputs={"who": 3, "x": 1})


EACH = compile_workflow(
    workflow(
        ["start -> each", "each.item -> x -> y", "each.done -> z -> end"],
        {"each": {"type": "iterate", "items": ["p", "q", "r"]}},
    )
).plan


def test_a_fork_from_an_item_keeps_the_other_items() -> None:
    ended = go_on(begin(EACH, {}), EACH)
    made, taken = forked(ended, EACH, "y", "1")
    assert {("x", "1"), ("y", "0"), ("y", "2"), ("each", "")} < taken
    assert not {("y", "1"), ("z", "")} & taken
    assert made.nodes() == ended.nodes()
