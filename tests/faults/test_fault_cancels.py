"""A run is cancelled at any moment: nothing begins after the answer, and it ends once."""

from __future__ import annotations

import json
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from kit.faulty import Fault
from kit.judge import Truth
from kit.lab import ROW, TWO, Lab, two

pytestmark = [pytest.mark.stack, pytest.mark.faults]

SEEDS = int(os.environ.get("JOINERY_EXAMPLES", "24"))
AT_ONCE = 4
NODES = ["pro", "con", "last", "end"]

SEEN_S = 2.0
"""A node that runs sees within this time that the run was cancelled."""

LONGEST_S = 6.0
"""A run takes about as long: some cancels come too late."""

WAITS = [
    *((when, "claim") for when in ("before", "after")),
    *((when, "draw") for when in ("before", "after")),
    *(("before", point) for point in ("put node.started", "finish", "close")),
]

DIES = [
    Fault(when, point, function="http-api")
    for point in ("read", "update", "draw", "close", "StopExecution")
    for when in ("before", "after")
]


@dataclass
class Cancelled:
    """What a cancel was answered, and when."""

    said: str
    at: float


def over_http(lab: Lab, run_id: str) -> Cancelled:
    answer = lab.person.call("POST", f"/runs/{run_id}/cancel")
    body = answer.json()
    said = "conflict" if answer.status_code == 409 else str(body.get("status"))
    return Cancelled(said, time.time())


def over_a_socket(lab: Lab, run_id: str) -> Cancelled:
    with lab.person.socket() as socket:
        data = socket.raw(json.dumps({"action": "cancel", "request_id": "c", "run_id": run_id}))
        return Cancelled(str(data["data"].get("status") or data["data"]["code"]), time.time())


def cancel_at_random(lab: Lab, workflow_id: str, seed: int, opt: int) -> str:
    """Cancels a run and returns how it has ended."""
    dice = random.Random(seed)
    entries, done = two(words=24)
    # At level 2 all of it is in the invocation that begins with `pro`, one after the other.
    places = [("pro", nth) for nth in (1, 2, 3)] if opt == 2 else [(node, 1) for node in NODES]
    waits = [
        Fault(*dice.choice(WAITS), node, nth, do="wait", seconds=dice.uniform(0.2, 1.0))
        for node, nth in dice.sample(places, 2)
    ]
    run = lab.make(workflow_id, *waits, cassette=entries)
    scene = lab.scene(run.run_id)
    ways = [dice.choice([over_http, over_a_socket]) for _ in range(dice.choice([1, 1, 3]))]
    with lab.following(scene):
        run.begin(viewers=1)
        time.sleep(dice.uniform(0.0, LONGEST_S))
        with ThreadPoolExecutor(len(ways)) as pool:
            answers = list(pool.map(lambda way: way(lab, run.run_id), ways))
    status = judge_cancelled(lab, run.run_id, scene.seen, answers, done)
    assert {answer.said for answer in answers} == {
        "cancelled" if status == "cancelled" else "conflict"
    }
    return status


def judge_cancelled(lab: Lab, run_id: str, seen: Any, answers: list[Cancelled], done: Truth) -> str:
    answered = min(answer.at for answer in answers)
    # What was running has had its time to stop, and more.
    time.sleep(max(0.0, answered + SEEN_S + 1.5 - time.time()))
    ended = lab.ended(run_id)
    status = str(ended.view["status"])
    truth = done if status == "completed" else Truth("cancelled", done.texts)
    ended.judge(truth, seen)
    [end] = [event for event in ended.log if event["event"] == f"run.{status}"]
    started = [event["seq"] for event in ended.log if event["event"] == "node.started"]
    assert max(started, default=0) < end["seq"], "a node began after the end"
    if status == "cancelled":
        late = [
            (row["node"], row["point"], round(row["at"] - answered, 2))
            for row in lab.faulty.trace(run_id)
            if row["point"] in {"put text", "post text.delta"} and row["at"] > answered + SEEN_S
        ]
        assert late == [], "it wrote on"
        assert {node["status"] for node in ended.view["nodes"]} <= {"completed", "cancelled"}
    return status


def cancel_many(lab: Lab, seeds: range, opt: int = 1) -> dict[str, int]:
    workflow_id = lab.publish(ROW if opt == 2 else TWO, opt)
    problems: list[str] = []
    found: dict[str, int] = {}

    def one(seed: int) -> None:
        try:
            status = cancel_at_random(lab, workflow_id, seed, opt)
            found[status] = found.get(status, 0) + 1
        except Exception as error:
            problems.append(f"seed {seed}: {error}")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, seeds))
    assert not problems, "\n\n".join(problems)
    return found


def test_cancelled_at_some_moments(lab: Lab) -> None:
    assert sum(cancel_many(lab, range(3)).values()) == 3


@pytest.mark.timeout(500)
def test_cancelled_at_any_moment(lab: Lab) -> None:
    assert cancel_many(lab, range(100, 100 + SEEDS))["cancelled"] > SEEDS / 2


@pytest.mark.timeout(500)
def test_a_walk_is_cancelled_at_any_moment(lab: Lab) -> None:
    found = cancel_many(lab, range(200, 200 + SEEDS), opt=2)
    assert sum(found.values()) == SEEDS
    assert found["cancelled"] > SEEDS / 3


@pytest.mark.timeout(300)
def test_whoever_cancels_dies(lab: Lab) -> None:
    """The request is repeated, as every client does; or it is not, and the flag has to do."""
    workflow_id = lab.publish(TWO)
    entries, done = two(words=24)
    problems: list[str] = []

    def one(case: tuple[Fault, bool]) -> None:
        fault, repeats = case
        run = lab.make(workflow_id, cassette=entries)
        scene = lab.scene(run.run_id)
        with lab.following(scene):
            run.begin(viewers=1)
            time.sleep(1.0)
            lab.faulty.arm(run.run_id, fault)
            over_http(lab, run.run_id)
            cancelled = Cancelled("", time.time())
            if repeats:
                cancelled = over_http(lab, run.run_id)
        try:
            status = judge_cancelled(lab, run.run_id, scene.seen, [cancelled], done)
            assert lab.faulty.happened(run.run_id) == 1, "it happened"
            assert status == "cancelled" or not repeats
            asked = fault.point not in ("read", "update") or (
                (fault.when, fault.point) == ("after", "update")
            )
            assert status == ("cancelled" if asked or repeats else "completed")
        except AssertionError as error:
            problems.append(f"{fault}, {repeats=}: {error}")

    cases = [(fault, repeats) for fault in DIES for repeats in (True, False)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, cases))
    assert not problems, "\n\n".join(problems)
