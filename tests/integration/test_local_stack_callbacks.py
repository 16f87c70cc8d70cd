"""Task tokens on the local stack do what they do on AWS."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from kit.probe import wait_for

if TYPE_CHECKING:
    from kit.probe import Probe

pytestmark = pytest.mark.stack

CALLBACK = "arn:aws:states:::lambda:invoke.waitForTaskToken"
TOKEN = "{% $states.context.Task.Token %}"


class Waiting:
    """A Task that waits for its token, and the tokens that it was given."""

    def __init__(self, probe: Probe, payload: Any = None, **fields: Any) -> None:
        self.probe, self.mark = probe, uuid.uuid4().hex
        task = probe.task({"token": TOKEN, "mark": self.mark, **(payload or {})}, **fields)
        self.state = {**task, "Resource": CALLBACK, "Output": "{% $states.result %}"}

    def tokens(self, count: int) -> list[str]:
        """Waits until the function was given so many tokens, and returns them in order."""
        client, found = self.probe.stack.client("logs"), []

        def given() -> bool:
            try:
                rows = client.filter_log_events(
                    logGroupName=self.probe.log_group, filterPattern=f'"{self.mark}"'
                )["events"]
            except client.exceptions.ResourceNotFoundException:
                return False  # nothing was printed yet
            found[:] = [json.loads(row["message"])["probe"]["token"] for row in rows]
            return len(found) >= count

        wait_for(given)
        return found


def test_a_token_ends_the_wait_with_what_was_sent(probe: Probe) -> None:
    task = Waiting(probe)
    execution = probe.start({"a": task.state}, "a")
    [token] = task.tokens(1)
    client = probe.stack.client("stepfunctions")
    client.send_task_success(taskToken=token, output='{"port": "yes"}')
    assert json.loads(probe.end_of(execution)["output"]) == {"port": "yes"}
    with pytest.raises(client.exceptions.TaskDoesNotExist):
        client.send_task_success(taskToken=token, output="{}")


def test_a_failure_is_matched_by_name_and_a_retry_gets_a_new_token(probe: Probe) -> None:
    retry = [{"ErrorEquals": ["TransientProbe"], "IntervalSeconds": 1, "MaxAttempts": 2}]
    task = Waiting(probe, Retry=retry)
    execution = probe.start({"a": task.state}, "a")
    [first] = task.tokens(1)
    client = probe.stack.client("stepfunctions")
    client.send_task_failure(taskToken=first, error="TransientProbe", cause="again")
    [_, second] = task.tokens(2)
    assert second != first
    client.send_task_failure(taskToken=second, error="PermanentProbe", cause="over")
    ended = probe.end_of(execution)
    assert (ended["status"], ended["error"], ended["cause"]) == ("FAILED", "PermanentProbe", "over")


@pytest.mark.parametrize(
    ("payload", "error"),
    [({"raise": "PermanentProbe"}, "PermanentProbe"), ({"kill": True}, "Runtime.ExitError")],
)
def test_what_the_function_raises_ends_the_wait(probe: Probe, payload: Any, error: str) -> None:
    ended = probe.run({"a": Waiting(probe, payload).state}, "a")
    assert (ended["status"], ended["error"]) == ("FAILED", error)


def test_the_wait_is_bounded(probe: Probe) -> None:
    ended = probe.run({"a": Waiting(probe, TimeoutSeconds=1).state}, "a")
    assert (ended["status"], ended["error"]) == ("FAILED", "States.Timeout")


def test_items_of_a_map_have_tokens_of_their_own_which_a_stop_ends(probe: Probe) -> None:
    task = Waiting(probe)
    processor = {
        "ProcessorConfig": {"Mode": "INLINE"},
        "StartAt": "a",
        "States": {"a": task.state},
    }
    box = {"Type": "Map", "Items": [1, 2], "ItemProcessor": processor, "End": True}
    execution = probe.start({"all": box}, "all")
    first, second = task.tokens(2)
    client = probe.stack.client("stepfunctions")
    assert first != second
    client.send_task_success(taskToken=first, output="{}")
    client.stop_execution(executionArn=execution, error="RunCancelled", cause="enough")
    assert probe.end_of(execution)["status"] == "ABORTED"

    def dead() -> bool:
        try:
            client.send_task_success(taskToken=second, output="{}")
        except client.exceptions.TaskDoesNotExist:
            return True
        return False

    wait_for(dead)


def test_a_stopped_execution_tries_no_task_again(probe: Probe) -> None:
    retry = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 2}]
    task = Waiting(probe, Retry=retry)
    execution = probe.start({"a": task.state}, "a")
    first = task.tokens(1)
    client = probe.stack.client("stepfunctions")
    client.stop_execution(executionArn=execution, error="RunCancelled", cause="enough")
    time.sleep(2.5)  # the first retry comes after a second
    assert task.tokens(1) == first
