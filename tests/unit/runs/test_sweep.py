"""What the sweeper does with runs that are due."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from kit.engines import Ended, begin
from kit.workflows import workflow

from joinery.compiler.compile import compile_workflow
from joinery.errors import NodeError, TransientStore
from joinery.runs.control import pause
from joinery.runs.end import close_failed
from joinery.runs.model import RunRecord
from joinery.runs.sweep import FIRST_LOOK_S, LOOK_AGAIN_MAX_S, sweep

PLAN = compile_workflow(workflow(["start -> a", "a -> end"])).plan


@dataclass
class Due:
    rows: list[tuple[str, bool]]
    looked: list[float] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    def due(self, now: float) -> Iterable[tuple[str, bool]]:
        return self.rows

    def look_again(self, run: RunRecord, at: float) -> None:
        self.looked.append(at)

    def settled(self, run: RunRecord) -> None:
        self.done.append(run.status)

    def delete_run(self, run_id: str) -> bool:
        self.deleted.append(run_id)
        return True


def begun(age: float = 0.0) -> Ended:
    ended = begin(PLAN, {})
    deps = replace(ended.deps, clock=lambda: ended.run.created_at + age)
    ended.deps = deps
    ended.store.mark_started(ended.run.run_id, "arn", ended.run.created_at)
    return ended


def swept(ended: Ended, found: Any, *, old: bool = False) -> tuple[dict[str, int], Due, Any]:
    due = Due([(ended.run.run_id, old)])
    done = sweep(ended.deps, due, lambda arn: found, more=lambda: True)
    return done, due, ended.store.get_run(ended.run.run_id)


def test_a_run_whose_execution_ended_without_a_word_is_closed() -> None:
    ended = begun()
    found = {"name": ended.run.run_id, "status": "FAILED", "error": "States.Runtime"}
    done, _, run = swept(ended, found)
    assert (done, run.status) == ({"closed": 1}, "failed")
    assert run.error["details"] == {"error": "States.Runtime"}


def test_an_execution_that_is_gone_or_forgot_to_close_its_run_fails_it() -> None:
    for found in (None, {"name": "", "status": "SUCCEEDED"}):
        done, _, run = swept(begun(), found)
        assert (done, run.status, run.error["code"]) == ({"closed": 1}, "failed", "execution_lost")


def test_a_run_that_goes_on_is_looked_at_again_ever_more_rarely() -> None:
    for age, wait in ((60, FIRST_LOOK_S), (3600, 3600), (1e6, LOOK_AGAIN_MAX_S)):
        ended = begun(age)
        done, due, run = swept(ended, {"status": "RUNNING"})
        assert (done, run.status) == ({"open": 1}, "running")
        assert due.looked == [ended.deps.clock() + wait]


def test_a_run_that_was_never_begun_is_closed_and_says_so() -> None:
    ended = begin(PLAN, {})
    done, _, run = swept(ended, None)
    assert (done, run.status, run.error["code"]) == ({"not_started": 1}, "failed", "not_started")


@pytest.mark.parametrize("begins", [False, True])
def test_a_run_whose_canceller_has_died_is_cancelled(begins: bool) -> None:
    ended = begun() if begins else begin(PLAN, {})
    ended.store.request_cancel(ended.run.run_id)
    done, _, run = swept(ended, {"status": "RUNNING"})
    assert (done, run.status, run.error) == ({"closed": 1}, "cancelled", None)
    told = [event["event"] for event in ended.store.events(ended.run.run_id, 0, 50)]
    assert told == ["run.started", "run.cancelled"]


def test_a_run_that_stands_still_is_cancelled_too() -> None:
    ended = begun()
    pause(ended.deps, ended.store.get_run(ended.run.run_id), lambda arn, cause: None)
    ended.store.request_cancel(ended.run.run_id)
    assert swept(ended, None)[2].status == "cancelled"


def test_what_is_paused_closed_or_deleted_is_left_alone() -> None:
    ended = begun()
    pause(ended.deps, ended.store.get_run(ended.run.run_id), lambda arn, cause: None)
    _, due, run = swept(ended, None)
    assert (run.status, due.done) == ("paused", ["paused"])
    ended = begun()
    close_failed(ended.deps, ended.store.get_run(ended.run.run_id), NodeError("mine"))
    assert swept(ended, None)[2].error["message"] == "mine"
    due = Due([("run_" + "0" * 26, False)])
    assert sweep(ended.deps, due, lambda arn: None, more=lambda: True) == {"closed": 1}


def test_an_old_run_is_deleted() -> None:
    ended = begun()
    done, due, _ = swept(ended, None, old=True)
    assert (done, due.deleted) == ({"deleted": 1}, [ended.run.run_id])


def test_one_run_that_cannot_be_swept_does_not_stop_the_others() -> None:
    first, second = begun(), begun()
    second.store._runs.update(first.store._runs)

    def describe(arn: str) -> Any:
        if not calls:
            calls.append(arn)
            raise TransientStore("busy")
        return {"name": second.run.run_id, "status": "TIMED_OUT"}

    calls: list[str] = []
    due = Due([(first.run.run_id, False), (second.run.run_id, False)])
    done = sweep(second.deps, due, describe, more=lambda: True)
    assert done == {"failed": 1, "closed": 1}
    assert second.store.get_run(second.run.run_id).status == "timed_out"


def test_it_stops_when_there_is_no_time_left() -> None:
    ended = begun()
    due = Due([(ended.run.run_id, False)])
    assert sweep(ended.deps, due, lambda arn: None, more=lambda: False) == {}
