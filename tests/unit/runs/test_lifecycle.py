"""Runs that did not close themselves are closed by what Step Functions tells."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from kit.engines import Ended, begin
from kit.workflows import workflow

from joinery.compiler.compile import compile_workflow
from joinery.errors import NodeError
from joinery.model_errors import PermanentModelAuth
from joinery.runs.end import close_failed
from joinery.runs.lifecycle import close_ended


@pytest.fixture
def begun() -> Ended:
    ended = begin(compile_workflow(workflow(["start -> a", "a -> end"])).plan, {})
    ended.store.mark_started(ended.run.run_id, "arn", 1.0)
    return ended


def detail(begun: Ended, status: str, **more: Any) -> dict[str, Any]:
    return {"name": begun.run.run_id, "status": status, **more}


def closed(begun: Ended) -> Any:
    return begun.store.get_run(begun.run.run_id)


@pytest.mark.parametrize(
    ("status", "expected", "code"),
    [
        ("FAILED", "failed", "execution_failed"),
        ("TIMED_OUT", "timed_out", "execution_timed_out"),
        ("ABORTED", "failed", "execution_aborted"),
    ],
)
def test_an_execution_that_ended_badly_closes_its_run(
    begun: Ended, status: str, expected: str, code: str
) -> None:
    assert close_ended(begun.deps, detail(begun, status)) == "closed"
    assert closed(begun).status == expected
    assert closed(begun).error["code"] == code
    assert [m["event"] for m in begun.listener.messages][-1] == f"run.{expected}"
    assert close_ended(begun.deps, detail(begun, status)) == "was_closed"
    # Whoever closed it may have died before anybody was told: the same event goes out again.
    assert begun.listener.messages[2:] == begun.listener.messages[1:2]


def test_a_cancelled_run_ends_as_cancelled_whatever_is_reported(begun: Ended) -> None:
    begun.store.request_cancel(begun.run.run_id)
    assert close_ended(begun.deps, detail(begun, "FAILED", error="RunCancelled")) == "closed"
    assert closed(begun).status == "cancelled"
    assert closed(begun).error is None


def test_who_closed_the_run_first_is_right(begun: Ended) -> None:
    close_failed(begun.deps, begun.run, NodeError("mine"))
    assert close_ended(begun.deps, detail(begun, "TIMED_OUT")) == "was_closed"
    assert closed(begun).error["message"] == "mine"


@pytest.mark.parametrize("status", ["SUCCEEDED", "RUNNING", ""])
def test_an_execution_that_goes_on_or_succeeded_is_left_alone(begun: Ended, status: str) -> None:
    assert close_ended(begun.deps, detail(begun, status)) == "open"
    assert closed(begun).status == "running"


@pytest.mark.parametrize("name", ["", "other", "run_x", "run_" + "0" * 26, "run_" + "0" * 27])
def test_other_peoples_executions_are_none_of_ours(begun: Ended, name: str) -> None:
    assert close_ended(begun.deps, {"name": name, "status": "FAILED"}) == "unknown"


def test_an_execution_that_was_followed_by_another_closes_nothing(begun: Ended) -> None:
    held = begun.store._runs[begun.run.run_id]
    held.record = replace(held.record, incarnation=2)
    assert close_ended(begun.deps, detail(begun, "ABORTED")) == "superseded"
    again = {"name": f"{begun.run.run_id}-2", "status": "FAILED"}
    assert close_ended(begun.deps, again) == "closed"


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        (json.dumps({"errorMessage": "it broke", "errorType": "X"}), "it broke"),
        ("plain words", "plain words"),
        ("", "the execution failed"),
        ("[]", "the execution failed"),
        ("x" * 9_000, "x" * 2_000),
    ],
)
def test_the_cause_is_told(begun: Ended, cause: str, message: str) -> None:
    close_ended(begun.deps, detail(begun, "FAILED", cause=cause, error="Runtime.ExitError"))
    assert closed(begun).error == {
        "code": "execution_failed",
        "message": message,
        "retryable": False,
        "details": {"error": "Runtime.ExitError"},
    }


def test_the_exact_class_of_an_error_is_told(begun: Ended) -> None:
    told = PermanentModelAuth("the key was refused").for_machine()
    cause = json.dumps({"errorMessage": told.message, "errorType": type(told).__name__})
    close_ended(begun.deps, detail(begun, "FAILED", cause=cause, error="Permanent"))
    error = closed(begun).error
    assert error is not None
    assert error["message"] == "the key was refused"
    assert error["details"] == {"error": "PermanentModelAuth"}
