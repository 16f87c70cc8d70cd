"""What we lean on in the emulator's state machines and functions.

Each of these is as on AWS, and must stay so.

The functions here are probes, deployed beside the real ones: what is tested is
the ground our code stands on, not our code.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from kit.probe import PREFIX, Probe, wait_for

from joinery.errors import NotFound
from joinery_cli import local

pytestmark = pytest.mark.stack


def map_of(item: dict[str, Any], items: list[Any], **fields: Any) -> dict[str, Any]:
    return {
        "Type": "Map",
        "Items": items,
        "MaxConcurrency": 10,
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "INLINE"},
            "StartAt": "item",
            "States": {"item": item, "caught": {"Type": "Pass", "End": True}},
        },
        **fields,
    }


# -- Lambda under Step Functions ------------------------------------------------------


def test_an_exception_is_caught_by_its_class_name_inside_a_map_iteration(probe: Probe) -> None:
    item = probe.task(
        {"raise": "{% $states.input %}"},
        Catch=[
            {
                "ErrorEquals": ["RunSuspended"],
                "Next": "caught",
                "Output": "{% $states.errorOutput.Error %}",
            }
        ],
    )
    ended = probe.run({"all": map_of(item, ["RunSuspended"], End=True)}, "all")
    assert ended["status"] == "SUCCEEDED"
    assert json.loads(ended["output"]) == ["RunSuspended"]


def test_what_no_iteration_catches_is_caught_at_the_map(probe: Probe) -> None:
    box = map_of(
        probe.task({"raise": "{% $states.input %}"}),
        ["QuorumReached"],
        Catch=[{"ErrorEquals": ["QuorumReached"], "Next": "after"}],
        End=True,
    )
    ended = probe.run({"all": box, "after": {"Type": "Pass", "Output": "join", "End": True}}, "all")
    assert json.loads(ended["output"]) == "join"


@pytest.mark.parametrize("kind", ["Map", "Parallel"])
def test_the_first_error_ends_the_box_and_what_else_would_begin_in_it(
    probe: Probe, kind: str
) -> None:
    mark = f"went on {time.time_ns()}"
    retry = [{"ErrorEquals": ["TransientProbe"], "IntervalSeconds": 30, "MaxAttempts": 2}]

    def branch(*payloads: Any) -> dict[str, Any]:
        names = [f"{mark} {n}" for n in range(len(payloads))]
        nexts = [*({"Next": name} for name in names[1:]), {"End": True}]
        states = {
            name: probe.task(payload, Retry=retry, **way)
            for name, payload, way in zip(names, payloads, nexts, strict=True)
        }
        return {"StartAt": names[0], "States": states}

    slow = branch({"sleep": 2}, {"mark": mark})
    waits = branch({"raise": "TransientProbe"})
    if kind == "Parallel":
        fails = branch({"sleep": 0.3, "raise": "Quorum_j"})
        box: dict[str, Any] = {"Type": "Parallel", "Branches": [slow, waits, fails]}
    else:
        payloads = [{"sleep": 2}, {"raise": "TransientProbe"}, {"sleep": 0.3, "raise": "Quorum_j"}]
        body = branch("{% $states.input %}", {"mark": mark})
        box = {"Type": "Map", "Items": payloads, "ItemProcessor": body}
    catch = [{"ErrorEquals": ["Quorum_j"], "Next": "j", "Assign": {"path": "1"}, "Output": {}}]
    join = {"Type": "Pass", "Output": "{% $path %}", "End": True}
    machine = {"box": {**box, "Catch": catch, "Next": "j"}, "j": join}
    probe.run(machine, "box")  # workers are warm now
    began = time.monotonic()
    ended = probe.run(machine, "box")
    assert (ended["status"], json.loads(ended["output"])) == ("SUCCEEDED", "1")
    assert time.monotonic() - began < 1.5
    time.sleep(2)
    assert not probe.logged(mark)


def test_iterations_of_a_map_run_at_the_same_time(probe: Probe) -> None:
    machine = {"all": map_of(probe.task({"sleep": 0.5}), [1, 2, 3], End=True)}
    probe.run(machine, "all")  # three workers are warm now
    began = time.monotonic()
    assert probe.run(machine, "all")["status"] == "SUCCEEDED"
    assert time.monotonic() - began < 1.4


def test_a_retry_names_the_class_and_the_last_error_is_the_execution_s(probe: Probe) -> None:
    retry = [{"ErrorEquals": ["TransientProbe"], "IntervalSeconds": 1, "MaxAttempts": 1}]
    began = time.monotonic()
    ended = probe.run({"a": probe.task({"raise": "TransientProbe"}, Retry=retry)}, "a")
    assert (ended["status"], ended["error"]) == ("FAILED", "TransientProbe")
    assert json.loads(ended["cause"])["errorMessage"] == "as asked"
    assert time.monotonic() - began > 1


def test_a_killed_worker_is_an_exit_error_and_the_next_call_works(probe: Probe) -> None:
    ended = probe.run({"a": probe.task({"kill": True})}, "a")
    assert ended["error"] == "Runtime.ExitError"
    assert probe.run({"a": probe.task({})}, "a")["status"] == "SUCCEEDED"


def test_a_function_that_runs_too_long_is_ended(probe: Probe) -> None:
    ended = probe.run({"a": probe.task({"sleep": 30})}, "a")
    assert ended["error"] == "Sandbox.Timedout"


def test_timeout_of_a_task(probe: Probe) -> None:
    ended = probe.run({"a": probe.task({"sleep": 2.5}, TimeoutSeconds=1)}, "a")
    assert ended["error"] == "States.Timeout"


def test_a_function_knows_how_much_time_is_left(probe: Probe) -> None:
    answer = probe.stack.client("lambda").invoke(FunctionName=probe.arn, Payload=b"{}")
    assert 2_000 < json.loads(answer["Payload"].read())["left_ms"] <= 3_000


def test_branches_of_a_parallel_have_their_own_variables(probe: Probe) -> None:
    def branch(name: str, pause_s: float) -> dict[str, Any]:
        assigned = {"mine": name}
        return {
            "StartAt": name,
            "States": {
                name: probe.task({"sleep": pause_s}, Assign=assigned, Next=f"{name} later"),
                f"{name} later": probe.task({"sleep": pause_s}, Next=f"{name} end"),
                f"{name} end": {"Type": "Pass", "Output": "{% $mine %}", "End": True},
            },
        }

    fork = {"Type": "Parallel", "Branches": [branch("a", 0.1), branch("b", 0.2)], "End": True}
    ended = probe.run({"fork": fork}, "fork")
    assert json.loads(ended["output"]) == ["a", "b"]


# -- executions -------------------------------------------------------------------------


def test_a_stopped_execution_stays_aborted_and_its_items_do_not_go_on(probe: Probe) -> None:
    item = probe.task({"sleep": 1}, Next="second")
    box = map_of(item, [1], End=True)
    box["ItemProcessor"]["States"]["second"] = probe.task({"mark": "went on"})
    failing = probe.task({"sleep": 1, "raise": "PermanentProbe"})
    client = probe.stack.client("stepfunctions")
    executions = []
    for states, first in (({"all": box}, "all"), ({"a": failing}, "a")):
        execution = probe.start(states, first)
        executions.append(execution)
        time.sleep(0.4)
        client.stop_execution(executionArn=execution, error="RunCancelled", cause="by a user")
    time.sleep(1.5)
    for execution in executions:
        found = client.describe_execution(executionArn=execution)
        assert (found["status"], found["error"]) == ("ABORTED", "RunCancelled")
    assert not probe.logged("went on")


def test_a_used_name_is_refused(probe: Probe) -> None:
    client = probe.stack.client("stepfunctions")
    execution = probe.start({"a": {"Type": "Pass", "End": True}}, "a")
    ended = probe.end_of(execution)
    with pytest.raises(client.exceptions.ExecutionAlreadyExists):
        client.start_execution(stateMachineArn=ended["stateMachineArn"], name=ended["name"])


def test_history_lists_the_states_entered(probe: Probe) -> None:
    inside = {"StartAt": "c", "States": {"c": {"Type": "Pass", "End": True}}}
    states = {
        "a": probe.task({}, Next="b"),
        "b": {"Type": "Parallel", "Branches": [inside], "Next": "d"},
        "d": map_of({"Type": "Pass", "End": True}, [1, 2], End=True),
    }
    ended = probe.run(states, "a")
    events = probe.stack.client("stepfunctions").get_execution_history(
        executionArn=ended["executionArn"]
    )["events"]
    entered = [
        event["stateEnteredEventDetails"]["name"]
        for event in events
        if event["type"].endswith("StateEntered")
    ]
    assert entered == ["a", "b", "c", "d", "item", "item"]


def test_a_status_event_reaches_the_lifecycle_function(probe: Probe) -> None:
    ended = probe.run({"a": probe.task({"raise": "PermanentProbe"})}, "a")
    group = f"/aws/lambda/{PREFIX}lifecycle"
    client = probe.stack.client("logs")
    before = int(ended["startDate"].timestamp() * 1000)

    def called() -> bool:
        events = client.filter_log_events(logGroupName=group, startTime=before)["events"]
        return any(event["message"].startswith("START RequestId") for event in events)

    wait_for(called, 30)


def test_what_a_function_prints_can_be_searched(probe: Probe) -> None:
    probe.run({"a": probe.task({"mark": "needle in the log"})}, "a")
    assert probe.logged("needle in the log")


def test_the_lines_of_a_function_come_in_order_and_only_once(probe: Probe) -> None:
    for number in range(3):
        probe.run({"a": probe.task({"line": number})}, "a")
    lines = local.logs(function="probe", home=probe.stack.home)
    shown = [line.message for line in lines if '"line"' in line.message]
    assert [json.loads(message)["probe"]["line"] for message in shown] == [0, 1, 2]
    with pytest.raises(NotFound, match="run-node"):
        list(local.logs(function="nobody", home=probe.stack.home))
