"""Tokens of Tasks that wait, and child runs that have executions of their own."""

from __future__ import annotations

from typing import Any

import pytest
from kit.engines import begin
from kit.installation import Catalog, Executions
from kit.workflows import workflow
from unit.aws.faults import refusal
from unit.aws.test_aws_states import FakeStates

from joinery.aws.task_tokens import StepFunctionsTokens
from joinery.catalog.child_runs import PLANS_KEPT, PublishedChildRuns
from joinery.catalog.ports import Version
from joinery.compiler.compile import compile_workflow
from joinery.errors import NotFound, PermanentInternal, TransientStore

PLAN = compile_workflow(workflow(["start -> a -> end"])).plan


def test_what_is_sent_with_a_token() -> None:
    client = FakeStates(send_task_success={}, send_task_failure={})
    tokens = StepFunctionsTokens(client)
    tokens.succeed("t", '{"port":""}')
    tokens.fail("t", "PermanentChildFailed", "x" * 40_000)
    (_, success), (_, failure) = client.asked
    assert success == {"taskToken": "t", "output": '{"port":""}'}
    assert (failure["error"], len(failure["cause"])) == ("PermanentChildFailed", 32_768)


@pytest.mark.parametrize("code", ["TaskDoesNotExist", "TaskTimedOut", "InvalidToken"])
def test_a_task_that_waits_no_more_is_left_alone(code: str) -> None:
    tokens = StepFunctionsTokens(
        FakeStates(send_task_success=refusal(code), send_task_failure=refusal(code))
    )
    tokens.succeed("t", "{}")
    tokens.fail("t", "E", "c")


@pytest.mark.parametrize(
    ("code", "kind"),
    [("AccessDeniedException", PermanentInternal), ("ThrottlingException", TransientStore)],
)
def test_anything_else_is_told(code: str, kind: type[Exception]) -> None:
    tokens = StepFunctionsTokens(
        FakeStates(send_task_success=refusal(code), send_task_failure=refusal(code))
    )
    with pytest.raises(kind):
        tokens.succeed("t", "{}")
    with pytest.raises(kind):
        tokens.fail("t", "E", "c")


def published() -> tuple[PublishedChildRuns, Executions]:
    catalog, executions = Catalog(), Executions()
    for number in range(1, PLANS_KEPT + 3):
        catalog.add_version(
            Version("wf", number, "me", "test", "", f"arn:stateMachine:m{number}", 1, 0.0,
                    PLAN.to_dict())
        )  # fmt: skip
    return PublishedChildRuns(catalog, executions, None), executions


def test_a_child_run_has_the_machine_of_its_version() -> None:
    runs, executions = published()
    ended = begin(PLAN, {})
    runs.start(ended.deps, ended.run, within_s=5.0)
    run_id = ended.run.run_id
    assert executions.started == [
        ("arn:stateMachine:m1", run_id, {"run_id": run_id, "plan": "wf/1"})
    ]
    run = ended.store.get_run(run_id)
    assert (run.status, run.execution_arn) == ("running", f"arn:execution:m1:{run_id}")
    runs.stop(ended.run, "why")
    runs.stop(run, "why")
    assert executions.stopped == [run.execution_arn]


def test_plans_are_read_once_and_only_so_many_are_kept(monkeypatch: Any) -> None:
    runs, _ = published()
    assert runs.plan("wf/1") == PLAN
    assert runs.plan("wf/1") is runs.plan("wf/1")
    for number in range(2, PLANS_KEPT + 3):
        runs.plan(f"wf/{number}")
    assert len(runs._plans) == PLANS_KEPT
    with pytest.raises(NotFound):
        runs.plan("wf/999")
