"""The end of a run is lost on its way: somebody closes it, once, whoever dies meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from kit.faulty import Fault, name_of
from kit.judge import Truth, until
from kit.lab import TWO, Lab, Scene, cassette, two

pytestmark = [pytest.mark.stack, pytest.mark.faults]

FAILS = """\
version: 1
name: fails-at-last
nodes:
  pro: {type: llm, prompt: Defend it}
  con: {type: llm, prompt: Attack it}
edges: [start -> pro -> con -> end]
outputs: {said: "{{ nodes.pro.text }}"}
"""
ENTRIES = [
    *cassette({"pro": 4}, 200),
    {"node": "con", "error": {"name": "PermanentModelRejected", "message": "No."}},
]
TRUTH = Truth("failed", {("pro", ""): ENTRIES[0]["text"]})

AT_ONCE = 4
RUNS = 8


@dataclass
class Endings:
    """Runs whose executions have ended, with nobody told of it.

    Attributes:
        lab: Whose they are.
        run_ids: The runs.
        scenes: Their viewers.
    """

    lab: Lab
    run_ids: list[str]
    scenes: list[Scene]

    @property
    def open(self) -> list[str]:
        store = self.lab.store
        return [run_id for run_id in self.run_ids if not store.get_run(run_id).closed]

    def execution(self, run_id: str) -> dict[str, Any]:
        arn = self.lab.store.get_run(run_id).execution_arn
        found = self.lab.stack.client("stepfunctions").describe_execution(executionArn=arn)
        return {n: found[n] for n in ("name", "status", "error", "cause") if n in found}

    def invoke(self, function: str, event: dict[str, Any]) -> Any:
        """Returns what a function answers, None when it has died."""
        client = self.lab.stack.client("lambda")
        answer = client.invoke(FunctionName=name_of(function), Payload=json.dumps(event))
        found = json.loads(answer["Payload"].read())
        return None if "FunctionError" in answer else found

    def tell(self, run_id: str) -> Any:
        """Delivers the status event of a run's execution, perhaps again."""
        return self.invoke("lifecycle", {"detail": self.execution(run_id)})

    def tick(self) -> Any:
        """Lets the sweeper find all that is open, as if ten minutes had passed."""
        for run_id in self.open:
            self.lab.stack.client("dynamodb").update_item(
                TableName=self.lab.stack.outputs["StateTableName"],
                Key={"pk": {"S": f"RUN#{run_id}"}, "sk": {"S": "META"}},
                UpdateExpression="SET due_sk = :past",
                ConditionExpression="attribute_exists(due_pk)",
                ExpressionAttributeValues={":past": {"S": f"2020-01-01T00:00:00.000Z#{run_id}"}},
            )
        return self.invoke("sweeper", {})

    def judge(self) -> None:
        for run_id, scene in zip(self.run_ids, self.scenes, strict=True):
            ended = self.lab.ended(run_id).judge(TRUTH, scene.seen)
            assert ended.view["error"]["node_id"] == "con"


@contextmanager
def ended_in_silence(lab: Lab, *cases: Sequence[Fault]) -> Iterator[Endings]:
    """Runs with faults whose executions have failed; leaving waits until each viewer has all."""
    events = lab.stack.client("events")
    [rule] = [r["Name"] for r in events.list_rules()["Rules"] if "Lifecycle" in r["Name"]]
    workflow_id = lab.publish(FAILS)
    made = [lab.make(workflow_id, *faults, cassette=ENTRIES) for faults in cases]
    scenes = [lab.scene(each.run_id) for each in made]
    endings = Endings(lab, [each.run_id for each in made], scenes)
    events.disable_rule(Name=rule)
    try:
        with lab.following(*scenes):
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(lambda each: each.begin(viewers=1), made))
            for run_id in endings.run_ids:
                until(lambda run_id=run_id: endings.execution(run_id)["status"] == "FAILED", 60)
            assert endings.open == endings.run_ids
            yield endings
    finally:
        events.enable_rule(Name=rule)


def test_an_end_that_nobody_is_told_of_is_found_once(lab: Lab) -> None:
    dies = Fault("after", "close", function="sweeper")
    with ended_in_silence(lab, (), (dies,)) as endings:
        first = endings.run_ids[0]
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda _: endings.tick(), range(3)))
        until(lambda: endings.tick() is not None)
        assert endings.open == []
        # The status event comes after all, and twice.
        with ThreadPoolExecutor(2) as pool:
            outcomes = list(pool.map(lambda _: endings.tell(first), range(2)))
        assert outcomes == [{"outcome": "was_closed"}] * 2
    endings.judge()
    assert lab.faulty.happened(endings.run_ids[1]) == 1


def test_a_status_event_comes_three_times_at_once(lab: Lab) -> None:
    with ended_in_silence(lab, (Fault("before", "close", do="wait", seconds=0.5,
                                      function="lifecycle"),)) as endings:  # fmt: skip
        with ThreadPoolExecutor(3) as pool:
            outcomes = list(pool.map(lambda _: endings.tell(endings.run_ids[0]), range(3)))
        assert {outcome["outcome"] for outcome in outcomes} <= {"closed", "was_closed"}
    endings.judge()


@pytest.mark.timeout(300)
def test_the_sweeper_dies_at_any_call(lab: Lab) -> None:
    with ended_in_silence(lab, ()) as uncut:
        assert uncut.tick() is not None
    uncut.judge()
    every = lab.faulty.anywhere(uncut.run_ids[0], "sweeper")
    for first in range(0, len(every), RUNS):
        cases = every[first : first + RUNS]
        with ended_in_silence(lab, *cases) as endings:
            ticks = 0
            while endings.open:
                ticks += 1
                assert ticks <= len(cases) + 2, "each death costs one tick"
                endings.tick()
        endings.judge()
        assert [lab.faulty.happened(run_id) for run_id in endings.run_ids] == [1] * len(cases)


@pytest.mark.timeout(300)
def test_the_lifecycle_dies_at_any_call(lab: Lab) -> None:
    """Lambda delivers the event again, or the sweeper has to do."""
    with ended_in_silence(lab, ()) as uncut:
        assert uncut.tell(uncut.run_ids[0]) == {"outcome": "closed"}
    uncut.judge()
    cases = lab.faulty.anywhere(uncut.run_ids[0], "lifecycle")
    with ended_in_silence(lab, *cases) as endings:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            assert list(pool.map(endings.tell, endings.run_ids)) == [None] * len(cases)
            again = list(pool.map(endings.tell, endings.run_ids[::2]))
        assert {outcome["outcome"] for outcome in again} == {"closed", "was_closed"}
        endings.tick()
        assert endings.open == []
    endings.judge()


@pytest.mark.timeout(400)
def test_the_last_task_dies_at_any_call(lab: Lab) -> None:
    given = two(words=3)
    [uncut] = lab.trials(TWO, [()], given)
    lab.trials(TWO, lab.faulty.anywhere(uncut.run_id, "run-node", "end"), given)
