"""Workers die around every write: one child run all the same, and the node ends once."""

from __future__ import annotations

from typing import Any

import pytest
from kit.children import Crash, Crashes, StepFunctions, known, plans_of
from kit.models import Says
from kit.workflows import workflow

from joinery.errors import Unavailable
from joinery.model_errors import PermanentModelAuth
from joinery.runs.cancel import cancel_and_stop
from joinery.runs.end import close_failed
from joinery.runs.start import create_run

TALK = workflow(
    ["start -> talk -> end"],
    {"talk": {"type": "llm", "prompt": "hi", "retry": {"attempts": 6}}},
    name="talk",
    outputs={"said": "{{ nodes.talk.text }}"},
)

CALLS = {
    "append": 4, "claim": 4, "finish": 3, "release": 3, "close_run": 3, "create_run": 2,
    "put_token": 2, "mark_started": 2, "start": 2, "answer": 1, "refuse": 1,
}  # fmt: skip
"""How often a run with two children makes each call; with one child some are not reached."""

POINTS = [
    (name, nth, when)
    for name, most in CALLS.items()
    for nth in range(1, most + 1)
    for when in ("before", "after")
]

ALWAYS = {"release", "create_run", "put_token", "start", "mark_started", "close_run", "answer"}
"""Each is called at least once whatever happens."""


def world(
    point: tuple[str, int, str] | None = None, answer: Any = None, **node: Any
) -> tuple[StepFunctions, Any, str]:
    """Returns a started parent; the workers of its execution die at that point."""
    described = {"type": "workflow", "workflow": "talk", "retry": {"attempts": 6}, **node}
    graph = workflow(
        ["start -> a -> b -> end"],
        {"a": described, "b": {"type": "template", "template": "{{ nodes.a.text ?? 'none' }}"}},
        outputs={"x": "{{ nodes.b.text }}"},
    )
    machines = StepFunctions(plans_of(graph, a=known(TALK)), Crashes())
    deps = machines.world(Says(answer or (lambda r, c: "hello")))
    run, _ = create_run(
        deps, machines.plans["wf/1"], owner="me", workflow_id="wf", version=1, given={}
    )
    machines.start(deps, run, within_s=1.0)
    machines.crashes.seen.clear()
    machines.crashes.at = point
    return machines, deps, run.run_id


def below(deps: Any) -> list[Any]:
    return [held.record for held in deps.store._runs.values() if held.record.parent]


def names(deps: Any, run_id: str) -> list[str]:
    return [event["event"] for event in deps.store.events(run_id, 0, 100)]


@pytest.mark.parametrize("point", POINTS, ids=lambda p: "-".join(map(str, p)))
def test_a_crash_makes_no_second_child_and_loses_no_result(point: Any) -> None:
    machines, deps, run_id = world(point)
    machines.work()
    assert machines.crashes.at is None or point[:2] not in {(name, 1) for name in ALWAYS}
    run = deps.store.get_run(run_id)
    assert (run.status, deps.store.outputs(run_id)) == ("completed", {"x": "hello"})
    (made,) = below(deps)
    assert made.status == "completed"
    assert machines.started == [run_id, made.run_id]
    told = names(deps, run_id)
    assert (told.count("child.started"), told.count("run.completed")) == (1, 1)
    ended = [e["node_id"] for e in deps.store.events(run_id, 0, 100)
             if e["event"] == "node.completed"]  # fmt: skip
    assert ended == ["a", "b"]
    assert [node for node, _ in machines.answered] == ["a"]


@pytest.mark.parametrize("point", POINTS, ids=lambda p: "-".join(map(str, p)))
def test_a_crash_changes_nothing_for_a_child_that_fails(point: Any) -> None:
    def fails(_request: Any, _call: Any) -> Any:
        raise PermanentModelAuth("no key")

    machines, deps, run_id = world(point, fails, on_error="continue")
    machines.work()
    assert deps.store.get_run(run_id).status == "completed"
    assert deps.store.outputs(run_id) == {"x": "none"}
    (made,) = below(deps)
    assert made.status == "failed"
    assert names(deps, run_id).count("node.failed") == 1


@pytest.mark.parametrize("point", POINTS, ids=lambda p: "-".join(map(str, p)))
def test_a_crash_makes_no_more_children_than_are_asked_for(point: Any) -> None:
    answers = iter([False, True])

    def once(_request: Any, call: Any) -> Any:
        if not results.setdefault(call.node_id + str(len(below(deps))), next(answers, True)):
            raise PermanentModelAuth("no key")
        return "second"

    results: dict[str, bool] = {}
    retry = {"attempts": 8, "errors": ["workflow.child_failed"]}
    machines, deps, run_id = world(point, once, retry=retry)
    machines.work()
    assert deps.store.outputs(run_id) == {"x": "second"}
    assert [made.status for made in below(deps)] == ["failed", "completed"]
    assert names(deps, run_id).count("child.started") == 2


def test_a_child_that_is_closed_before_the_token_is_stored_ends_the_node_at_once() -> None:
    machines, deps, run_id = world()
    start = machines.start

    def at_once(deps: Any, run: Any, *, within_s: float) -> None:
        start(deps, run, within_s=within_s)
        machines.work()

    machines.start = at_once  # the child ends inside the parent's call
    machines.work()
    assert deps.store.get_run(run_id).status == "completed"


def test_closing_a_child_again_wakes_a_task_that_was_not_woken() -> None:
    machines, deps, run_id = world()
    answer = machines.answer

    def dies(token: str, output: Any) -> None:
        raise Crash("answer")

    machines.answer = dies
    machines.work()
    assert machines.waits
    assert deps.store.get_run(run_id).status == "running"
    machines.answer = answer  # it works again
    (made,) = below(deps)
    close_failed(deps, made, {"code": "late", "message": "late", "retryable": False})
    machines.work()
    assert deps.store.get_run(run_id).status == "completed"


def test_a_run_that_cannot_be_started_fails_its_node_or_is_tried_again() -> None:
    machines, deps, run_id = world(retry={"attempts": 2})
    start, tries = machines.start, []

    def busy(deps: Any, run: Any, *, within_s: float) -> None:
        tries.append(run.run_id)
        if len(tries) == 1:
            raise Unavailable("throttled")
        start(deps, run, within_s=within_s)

    machines.start = busy  # the first start is refused
    machines.work()
    assert deps.store.get_run(run_id).status == "completed"
    first, second = below(deps)
    assert first.error["code"] == "not_started"
    assert (first.status, second.status) == ("failed", "completed")


def test_who_may_wake_nobody_leaves_that_to_others() -> None:
    machines, deps, run_id = world()
    machines.ready.clear()
    machines.ready.append((run_id, "a", 0))
    work, machines.start = machines.work, lambda *_, **__: None  # it hangs
    work()
    (made,) = below(deps)
    machines.settles = False
    cancel_and_stop(deps, made, lambda arn, cause: None)
    assert deps.store.get_run(run_id).status == "running"
    machines.settles = True
    close_failed(deps, deps.store.get_run(made.run_id), {}, status="cancelled")
    assert machines.answered == [("a", "Permanent")]
    assert deps.store.get_run(run_id).status == "failed"


def test_a_parent_that_ends_while_its_child_is_made_takes_the_child_with_it() -> None:
    machines, deps, run_id = world()
    machines.crashes.at = ("create_run", 1, "before")
    machines.crashes.act = lambda: close_failed(
        deps, deps.store.get_run(run_id), {}, status="cancelled"
    )
    machines.work()
    (made,) = below(deps)
    assert made.status == "cancelled"
    assert machines.started == [run_id]


def test_time_runs_out_while_the_task_waits() -> None:
    machines, deps, run_id = world(timeout="1h", on_error="continue")
    machines.start = lambda *_, **__: None  # it hangs
    machines.work()
    [place] = machines.waits.values()
    machines.now += 3_700
    machines.waits.clear()
    machines.ready.append((*place, 1))  # States.Timeout, and Retry
    machines.work()
    (record, *_) = deps.store.nodes(run_id)
    assert record.error["code"] == "node_timeout"
    (made,) = below(deps)
    assert (made.status, machines.stopped) == ("cancelled", [made.run_id])
    assert deps.store.get_run(run_id).status == "completed"
