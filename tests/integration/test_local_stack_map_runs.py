"""What we lean on in the emulator's distributed Maps: each of these is as on AWS."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from kit.probe import Probe, wait_for

pytestmark = pytest.mark.stack

EXCEEDED = "States.ExceedToleratedFailureThreshold"


def distributed(item: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "Type": "Map",
        "Items": "{% $states.input.items %}",
        "ItemSelector": {
            "item": "{% $states.context.Map.Item.Value %}",
            "outside": "{% $states.context.Execution.Input.name %}",
        },
        "MaxConcurrency": 60,
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": "one",
            "States": {"one": item, "two": {"Type": "Pass", "End": True}},
        },
        "End": True,
        **fields,
    }


def items_of(probe: Probe, arn: str) -> list[dict[str, Any]]:
    client = probe.stack.client("stepfunctions")
    history = client.get_execution_history(executionArn=arn, maxResults=1000)["events"]
    (run,) = (e for e in history if e["type"] == "MapRunStarted")
    found = client.list_executions(mapRunArn=run["mapRunStartedEventDetails"]["mapRunArn"])
    return [client.describe_execution(executionArn=e["executionArn"]) for e in found["executions"]]


def test_an_item_has_an_execution_with_its_own_input_and_history(probe: Probe) -> None:
    one = {
        "Type": "Pass",
        "Output": "{% $states.context.Execution.Input %}",
        "Assign": {"kept": "{% $states.input.item %}"},
        "Next": "two",
    }
    box = distributed(one, Output="{% $count($states.result) %}", Assign={"all": "seen"})
    del box["End"]
    last = {"Type": "Pass", "Output": "{% {'n': $states.input, 'all': $all} %}", "End": True}
    before = {"Type": "Pass", "Assign": {"outer": 1}, "Next": "each"}
    states = {"before": before, "each": {**box, "Next": "last"}, "last": last}
    arn = probe.start(states, "before", {"name": "us", "items": ["a", "b", "c"]})
    ended = probe.end_of(arn)
    assert json.loads(ended["output"]) == {"n": 3, "all": "seen"}
    items = items_of(probe, arn)
    outputs = sorted((json.loads(i["output"]) for i in items), key=lambda given: given["item"])
    assert outputs == [{"item": name, "outside": "us"} for name in "abc"]
    client = probe.stack.client("stepfunctions")
    for item in items:
        events = client.get_execution_history(executionArn=item["executionArn"])["events"]
        assert [e["type"] for e in events].count("PassStateEntered") == 2
    own = [e["type"] for e in client.get_execution_history(executionArn=arn)["events"]]
    assert own.count("PassStateEntered") == 2, "what is in the items is not in it"


def test_no_variable_of_the_outside_is_seen_in_an_item(probe: Probe) -> None:
    one = {"Type": "Pass", "Output": "{% $exists($outer) %}", "Next": "two"}
    before = {"Type": "Pass", "Assign": {"outer": 1}, "Next": "each"}
    ended = probe.run(
        {"before": before, "each": distributed(one)}, "before", {"name": "us", "items": [1]}
    )
    assert json.loads(ended["output"]) == [False]


def test_no_items_are_no_items(probe: Probe) -> None:
    ended = probe.run({"each": distributed({"Type": "Pass", "Next": "two"})}, "each", {"items": []})
    assert json.loads(ended["output"]) == []


def test_one_failed_item_ends_the_others_and_the_map_by_a_name_of_its_own(probe: Probe) -> None:
    mark = f"went on {time.time_ns()}"
    one = {
        "Type": "Choice",
        "Choices": [{"Condition": "{% $states.input.item = 'fails' %}", "Next": "raise"}],
        "Default": "sleep",
    }
    after = {"Type": "Pass", "Output": "{% $states.input.Error %}", "End": True}
    box = distributed(one, Catch=[{"ErrorEquals": [EXCEEDED], "Next": "after"}])
    box["ItemProcessor"]["States"] |= {
        "raise": probe.task({"raise": "PermanentProbe"}),
        "sleep": probe.task({"sleep": 3}, Next="on"),
        "on": probe.task({"print": mark}),
    }
    begun = time.monotonic()
    arn = probe.start(
        {"each": box, "after": after}, "each", {"name": "us", "items": ["slow", "fails"]}
    )
    ended = probe.end_of(arn)
    assert time.monotonic() - begun < 3
    assert json.loads(ended["output"]) == EXCEEDED
    assert sorted(item["status"] for item in items_of(probe, arn)) == ["ABORTED", "FAILED"]
    time.sleep(3)
    assert not probe.logged(mark)


def test_a_stopped_execution_stops_its_items(probe: Probe) -> None:
    begun, later = (f"{word} {time.time_ns()}" for word in ("begun", "later"))
    box = distributed(probe.task({"print": begun}, Next="nap"))
    box["ItemProcessor"]["States"] |= {
        "nap": probe.task({"sleep": 2}, Next="on"),
        "on": probe.task({"print": later}),
    }
    arn = probe.start({"each": box}, "each", {"name": "us", "items": [1, 2]})
    wait_for(lambda: probe.logged(begun))
    wait_for(lambda: len(items_of(probe, arn)) == 2)
    probe.stack.client("stepfunctions").stop_execution(executionArn=arn)
    # The emulator calls an item whose Task was cut off failed until its Map has ended.
    both = ["ABORTED", "ABORTED"]
    wait_for(lambda: [item["status"] for item in items_of(probe, arn)] == both)
    time.sleep(3)
    assert not probe.logged(later)
    assert [item["status"] for item in items_of(probe, arn)] == both
