"""A node is invoked twice at once, or long after: it runs once."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from kit.faulty import ALIAS, Fault, name_of
from kit.judge import until
from kit.lab import ROW, TWO, Lab, two

pytestmark = [pytest.mark.stack, pytest.mark.faults]

CLAIMED = "Transient"
LEASE_OVER_S = 18.0


class Machine:
    """Invokes the nodes of a run as its state machine does."""

    def __init__(self, lab: Lab, run_id: str, workflow_id: str) -> None:
        self.client, self.run_id = lab.stack.client("lambda"), run_id
        self.plan = f"{workflow_id}/1"

    def invoke(self, node: str) -> dict[str, Any]:
        """Returns what the Task of a node answers, or `{error}` with what nobody expects of it."""
        payload = {"run_id": self.run_id, "plan": self.plan, "node": node, "path": ""}
        answer = self.client.invoke(
            FunctionName=name_of("run_node"), Qualifier=ALIAS, Payload=json.dumps(payload)
        )
        found: dict[str, Any] = json.loads(answer["Payload"].read())
        if "FunctionError" not in answer:
            return found
        told = {} if found["errorType"] == CLAIMED else {"message": found.get("errorMessage")}
        return {"error": found["errorType"], **told}

    def at_once(self, *nodes: str) -> list[dict[str, Any]]:
        with ThreadPoolExecutor(len(nodes)) as pool:
            return list(pool.map(self.invoke, nodes))


def test_two_invocations_at_once_and_one_after_the_end(lab: Lab) -> None:
    # One has read that nobody has the node, and claims it when the other has done so.
    entries, truth = two()
    workflow_id = lab.publish(TWO)
    # It is never begun: nobody else invokes anything.
    run_id = lab.make(
        workflow_id,
        Fault("before", "claim", "pro", do="wait", seconds=0.5),
        Fault("before", "claim", "last", do="wait", seconds=0.3),
        Fault("before", "close", "end", do="wait", seconds=0.5),
        cassette=entries,
    ).run_id
    machine, scene = Machine(lab, run_id, workflow_id), lab.scene(run_id)
    done = {"port": "", "path": ""}
    with lab.following(scene):
        answers = machine.at_once("pro", "con", "pro")
        assert answers[1] == done
        assert sorted(answers[::2], key=str) == [{"error": CLAIMED}, done]
        # Tasks that are repeated after the end have the answer that the first one had.
        assert machine.at_once("pro", "con") == [done, done]
        answers = machine.at_once("last", "last", "last")
        assert {"error": CLAIMED} in answers
        assert done in answers
        assert machine.at_once("end", "end") == [done, done]
    assert machine.at_once("end", "last", "pro") == [done] * 3
    ended = lab.ended(run_id).judge(truth, scene.seen)
    started = [e for e in ended.log if e["event"] == "node.started"]
    assert len(started) == 3, "nobody began in vain"


def test_every_task_is_invoked_again_beside_the_machine(lab: Lab) -> None:
    workflow_id = lab.publish(TWO)
    entries, truth = two()
    run_id = lab.start(workflow_id, cassette=entries)
    machine, scene = Machine(lab, run_id, workflow_id), lab.scene(run_id)

    def begun(node: str) -> Callable[[], bool]:
        return lambda: bool(lab.faulty.trace(run_id, node))

    with lab.following(scene), ThreadPoolExecutor(12) as pool:
        doubles = []
        for node in ("pro", "con", "last", "end"):
            until(begun(node))
            doubles += [pool.submit(machine.invoke, node) for _ in range(3)]
        answers = [double.result() for double in doubles]
    done = {"port": "", "path": ""}
    assert [answer for answer in answers if answer not in (done, {"error": CLAIMED})] == []
    ended = lab.ended(run_id).judge(truth, scene.seen)
    # Only who came to close the run while another did so has drawn numbers in vain.
    last = max(event["seq"] for event in ended.log if "node_id" in event)
    assert all(void > last for void in ended.voids)


def test_a_walk_is_invoked_again_beside_the_machine_and_after_its_end(lab: Lab) -> None:
    workflow_id = lab.publish(ROW, opt=2)
    entries, truth = two()
    run_id = lab.start(workflow_id, cassette=entries)
    machine, scene = Machine(lab, run_id, workflow_id), lab.scene(run_id)
    with lab.following(scene), ThreadPoolExecutor(8) as pool:
        doubles = []
        for number in range(1, 4):

            def begun(number: int = number) -> bool:
                claims = [row for row in lab.faulty.trace(run_id, "pro") if row["point"] == "claim"]
                return max((row["nth"] for row in claims), default=0) >= number

            until(begun)
            doubles += [pool.submit(machine.invoke, "pro") for _ in range(2)]
        answers = [double.result() for double in doubles]
    done = {"port": "", "path": ""}
    assert [answer for answer in answers if answer not in (done, {"error": CLAIMED})] == []
    assert machine.at_once("pro", "pro") == [done, done]
    ended = lab.ended(run_id).judge(truth, scene.seen)
    started = [e for e in ended.log if e["event"] == "node.started"]
    assert len(started) == 3, "nobody began in vain"


@pytest.mark.parametrize("point", ["put node.started", "finish"])
def test_an_invocation_that_is_taken_for_dead_stores_nothing(lab: Lab, point: str) -> None:
    """A worker that stood still so long that another took over its node wakes up again."""
    workflow_id = lab.publish(TWO)
    entries, truth = two()
    late = Fault("before", point, "pro", do="wait", seconds=LEASE_OVER_S + 16)
    run_id = lab.start(workflow_id, late, cassette=entries)
    machine, scene = Machine(lab, run_id, workflow_id), lab.scene(run_id)
    with lab.following(scene):
        # The machine's own invocation is the one that sleeps.
        until(lambda: any(row["point"] == "claim" for row in lab.faulty.trace(run_id, "pro")))

        def taken_over() -> bool:
            return machine.invoke("pro") == {"port": "", "path": ""}

        until(taken_over, LEASE_OVER_S + 14)
    ended = lab.ended(run_id).judge(truth, scene.seen)
    [pro] = [node for node in ended.view["nodes"] if node["node_id"] == "pro"]
    assert pro["attempts"] == 2
