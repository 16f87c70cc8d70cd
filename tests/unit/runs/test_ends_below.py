"""What is below a run ends with it: child runs, and runs that tools of agents have begun."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from kit.agents import Caller, call
from kit.children import begin_inline, known, plans_of
from kit.engines import Ended
from kit.workflows import workflow

from joinery.errors import Conflict, RunCancelled
from joinery.runs.cancel import cancel_and_stop
from joinery.runs.control import resume
from joinery.runs.end import close_failed, finish
from joinery.runs.ids import tool_run_id
from joinery.runs.interpreter import run_inline
from joinery.runs.invocation import Invocation
from joinery.runs.model import NodeKey, RunRecord
from joinery.runs.start import cancel_run
from joinery.runs.sweep import sweep
from joinery.runs.tool_runs import ToolRuns
from joinery.tools.base import ToolUse
from joinery.workflow.children import child_of_tool
from joinery.workflow.model import Workflow

MODEL = {"provider": "script", "name": "script-1", "max_tokens": 200}
ASK = {"type": "llm", "prompt": "Well?", "model": MODEL}
BUDGET = {"tokens": 214 + 2 * 15 - 1}
"""The first call below fits beside what the agent has used, the second one does not."""

BELOW = workflow(
    ["start -> first -> second -> end"], {"first": ASK, "second": ASK},
    name="below", outputs={"said": "{{ nodes.second.text }}"},
)  # fmt: skip


def above(node: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """An agent whose tool is a workflow."""
    one = {"persona": "You ask.", "tools": ["below"], "max_rounds": 4,
           "model": {**MODEL, "max_tokens": 50}}  # fmt: skip
    flow = Workflow.model_validate(
        {
            "version": 1,
            "name": "above",
            "agents": {"one": one},
            "tools": {"below": {"kind": "workflow", "workflow": "below", "description": "Asks."}},
            "nodes": {"a": {"type": "agent", "agent": "one", "prompt": "Ask.", **(node or {})}},
            "edges": ["start -> a -> end"],
            "outputs": {"text": "{{ nodes.a.text ?? '' }}"},
            **fields,
        }
    )
    return plans_of(flow, **{child_of_tool("below"): known(BELOW)})


def go(ended: Ended, held: Mapping[str, Any]) -> Ended:
    run = ended.store.get_run(ended.run.run_id)
    run_inline(ended.deps, held["wf/1"], run, sleep=lambda _: None)
    ended.run = ended.store.get_run(ended.run.run_id)
    return ended


STEPS: list[Any] = [[call("below", {}, "c1")], "one", "two", "done"]


def suspended(held: Mapping[str, Any] | None = None) -> Ended:
    """A run that is out of budget, and with it what is below it."""
    held = held or above(budget=BUDGET)
    ended = go(begin_inline(held, {}, Caller(STEPS)), held)
    assert ended.status == "suspended"
    assert {run.status for run in below(ended)} == {"suspended"}
    return ended


def below(ended: Ended) -> list[RunRecord]:
    return [held.record for held in ended.store._runs.values() if held.record.parent]


def endings(ended: Ended, run_id: str) -> list[str]:
    told = [event["event"] for event in ended.store.events(run_id, 0, 1_000)]
    names = {"run.completed", "run.failed", "run.cancelled", "run.timed_out"}
    return [name for name in told if name in names]


def cancelled_once(ended: Ended) -> None:
    for run in (ended.store.get_run(ended.run.run_id), *below(ended)):
        assert (run.status, endings(ended, run.run_id)) == ("cancelled", ["run.cancelled"])


def stop(arn: str, cause: str) -> None:
    """No execution to stop."""


class Due:
    """Runs that are due."""

    def __init__(self, *run_ids: str) -> None:
        self.rows = [(run_id, False) for run_id in run_ids]

    def due(self, now: float) -> Iterable[tuple[str, bool]]:
        return self.rows

    def look_again(self, run: RunRecord, at: float) -> None:
        raise AssertionError("it has ended")

    def settled(self, run: RunRecord) -> None:
        raise AssertionError("it is to be ended")

    def delete_run(self, run_id: str) -> bool:
        raise AssertionError("it is kept")


# -- cancelled -------------------------------------------------------------------------------


def test_cancelling_a_suspended_run_ends_the_runs_of_its_tools() -> None:
    ended = suspended()
    assert ended.store.below(ended.run.run_id) == [run.run_id for run in below(ended)]
    cancel_and_stop(ended.deps, ended.run, stop)
    cancelled_once(ended)
    assert ended.store.below(ended.run.run_id) == []
    cancel_and_stop(ended.deps, ended.store.get_run(ended.run.run_id), stop)  # once more
    cancelled_once(ended)


def test_it_ends_child_runs_also_those_of_items_and_what_is_below_them() -> None:
    outer = workflow(
        ["start -> each", "each.item -> a", "each.done -> end"],
        {
            "each": {"type": "iterate", "items": "{{ [1, 2, 3] }}", "concurrency": 3},
            "a": {"type": "workflow", "workflow": "middle"},
        },
        budget={"tokens": 100},
    )
    middle = known(workflow(["start -> b -> end"], {"b": {"type": "workflow", "workflow": "below"}},
                            name="middle"), b=known(BELOW))  # fmt: skip
    model = Caller(lambda place, request: "one")
    held = plans_of(outer, a=middle)
    ended = go(begin_inline(held, {}, model), held)
    assert ended.status == "suspended"
    depths = sorted(run.depth for run in below(ended))
    assert depths[0] == 1
    assert depths[-1] == 2
    cancel_and_stop(ended.deps, ended.run, stop)
    cancelled_once(ended)


class Died(BaseException):
    """Whoever cancels is gone."""


WRITES = ("look_at", "request_cancel", "close_run", "drop_below", "settled")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("name", WRITES)
def test_whoever_cancels_may_die_anywhere(
    name: str, nth: int, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = suspended()
    real, count = getattr(ended.store, name), 0

    def dying(*given: Any, **more: Any) -> Any:
        nonlocal count
        count += 1
        if (count, when) == (nth, "before"):
            raise Died
        answer = real(*given, **more)
        if (count, when) == (nth, "after"):
            raise Died
        return answer

    marked: list[str] = []
    look_at = ended.store.look_at
    monkeypatch.setattr(ended.store, "look_at", lambda run, at: marked.append(run.run_id))
    monkeypatch.setattr(ended.store, name, dying)
    try:
        cancel_and_stop(ended.deps, ended.run, stop)
    except Died:
        pass
    else:
        assert (name, nth) == ("drop_below", 2)  # there is only one
    monkeypatch.setattr(ended.store, name, real)
    monkeypatch.setattr(ended.store, "look_at", look_at)
    now = ended.store.get_run(ended.run.run_id)
    if not (now.closed or ended.store.control(now.run_id).cancel):
        assert now.status == "suspended"  # nothing has happened: they ask again
        cancel_and_stop(ended.deps, now, stop)
    else:
        # Either the end is stored, which makes it due, or it was made due before the flag.
        assert now.closed or name == "look_at" or marked == [now.run_id]
        sweep(ended.deps, Due(now.run_id), lambda arn: None, more=lambda: True)
    cancelled_once(ended)


def test_a_run_below_that_has_ended_stays_as_it_ended() -> None:
    held = above(budget={"tokens": 5_000})
    ended = begin_inline(held, {}, Caller(STEPS))
    go(ended, held)
    assert ended.status == "completed"
    (made,) = below(ended)
    ended.store.note_below(ended.run.run_id, made.run_id)
    finish(ended.deps, ended.run)
    assert endings(ended, made.run_id) == ["run.completed"]
    with pytest.raises(Conflict):
        cancel_and_stop(ended.deps, ended.run, stop)


# -- failed, and begun again -----------------------------------------------------------------


def test_a_run_that_fails_ends_the_runs_of_its_tools_and_begins_others_when_it_goes_on() -> None:
    held = above(budget=BUDGET)
    ended = suspended(held)
    (first,) = below(ended)
    close_failed(ended.deps, ended.run, {"code": "execution_aborted", "message": "stopped"})
    assert [run.status for run in below(ended)] == ["cancelled"]
    failed = ended.store.get_run(ended.run.run_id)
    resume(ended.deps, failed, lambda run: "arn", budget={"tokens": 5_000})
    model = Caller(["three", "four", "done"])
    ended.deps = replace(ended.deps, models=model)
    go(ended, held)
    assert (ended.status, ended.outputs) == ("completed", {"text": "done"})
    again = {run.run_id: run.status for run in below(ended)}
    assert again.pop(first.run_id) == "cancelled"
    assert list(again.values()) == ["completed"]
    assert "four" in str(model.last()[0].content)


def test_a_run_of_a_tool_that_somebody_cancels_is_told_to_the_model() -> None:
    held = above(budget=BUDGET)
    ended = suspended(held)
    resume(ended.deps, ended.run, lambda run: "arn", budget={"tokens": 5_000})
    (made,) = below(ended)
    cancel_run(ended.deps, made)
    model = Caller(["I see."])
    ended.deps = replace(ended.deps, models=model)
    go(ended, held)
    assert (ended.status, len(below(ended))) == ("completed", 1)
    assert "cancelled" in str(model.last()[0].content)


def test_what_an_agent_that_failed_has_left_ends_with_a_run_that_completes() -> None:
    held = above({"on_error": "continue", "timeout": "5m"}, budget=BUDGET)
    ended = suspended(held)
    resume(ended.deps, ended.run, lambda run: "arn", budget={"tokens": 5_000})
    late = time.time() + 600
    (record,) = ended.store.nodes(ended.run.run_id)
    ended.store._runs[ended.run.run_id].nodes[record.key] = record.with_(started_at=time.time())
    ended.deps = replace(ended.deps, clock=lambda: late)
    go(ended, held)
    assert ended.nodes() == {("a", ""): ("failed", "")}
    assert ended.status == "completed"
    assert [run.status for run in below(ended)] == ["cancelled"]


# -- while a tool waits ------------------------------------------------------------------------


def waiting(ended: Ended, attempt: int, use: ToolUse) -> Any:
    held = above()
    plan = held["wf/1"]
    inv = Invocation(ended.deps, plan, ended.run, plan.by_id["a"], "", time.monotonic() + 60, {})
    ref = next(ref for ref in held if ref != "wf/1")
    return ToolRuns(inv, attempt).run(ref, "below", {}, use)


def use_of(ended: Ended, *, cancelled: bool = False) -> ToolUse:
    return ToolUse({}, f"{ended.run.run_id}-0-_-1.0", time.monotonic() + 20, lambda: cancelled,
                   ended.run.run_id, "me")  # fmt: skip


def claimed(ended: Ended, times: int) -> None:
    key = NodeKey(above()["wf/1"].by_id["a"].ord, "")
    for _ in range(times):
        now = time.time()
        ended.store.claim(ended.run.run_id, key, "a", holder="h", now=now, until=now)


def test_an_attempt_that_was_overtaken_leaves_the_run_to_the_next_one() -> None:
    ended = begin_inline(above(), {}, Caller([]))
    ended.store.mark_started(ended.run.run_id, "arn", time.time())
    ended.deps = replace(ended.deps, children=Idle(ended.deps.children))
    claimed(ended, 2)
    with pytest.raises(RunCancelled, match="another attempt"):
        waiting(ended, 1, use_of(ended, cancelled=True))
    (made,) = below(ended)
    assert not made.closed
    waiting(ended, 2, use_of(ended, cancelled=True))
    assert [run.status for run in below(ended)] == ["cancelled"]


def test_a_tool_begins_no_run_below_one_that_has_just_ended() -> None:
    ended = begin_inline(above(), {}, Caller([]))
    real = ended.store.create_run

    def late(*given: Any) -> Any:
        close_failed(ended.deps, ended.run, {"code": "x", "message": "it failed"})
        return real(*given)

    ended.store.create_run = late  # type: ignore[method-assign]
    with pytest.raises(RunCancelled):
        waiting(ended, 1, use_of(ended))
    assert [run.status for run in below(ended)] == ["cancelled"]


def test_a_run_that_was_cancelled_with_the_one_around_it_is_no_result() -> None:
    ended = begin_inline(above(), {}, Caller([]))
    made = tool_run_id(use_of(ended).key)

    def close(run: RunRecord) -> None:
        close_failed(ended.deps, ended.run, {"code": "x", "message": "it failed"})

    ended.deps = replace(ended.deps, children=Idle(ended.deps.children, close))
    with pytest.raises(RunCancelled, match="has ended"):
        waiting(ended, 1, use_of(ended))
    assert ended.store.get_run(made).status == "cancelled"


class Idle:
    """Child runs that never begin."""

    settles = True

    def __init__(self, plans: Any, then: Any = lambda run: None) -> None:
        self.plan, self._then = plans.plan, then

    def start(self, deps: Any, run: RunRecord, *, within_s: float) -> None:
        deps.store.mark_started(run.run_id, "arn", deps.clock())
        self._then(run)

    def stop(self, run: RunRecord, cause: str) -> None:
        """Nothing runs it."""
