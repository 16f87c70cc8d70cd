"""Child workflows on the local stack: real executions, tokens, status events and permissions."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kit.api import Api

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack

CHILD = {
    "version": 1,
    "inputs": {"topic": {"required": True}, "wanted": {"type": "boolean", "default": True}},
    "nodes": {
        "talk": {"type": "llm", "prompt": "{{ inputs.topic }}", "retry": {"attempts": 1}},
    },
    "edges": ["start -> talk -> end"],
    "outputs": {"said": "{{ nodes.talk.text }}", "topic": ["{{ inputs.topic }}"]},
}


class World:
    """A child workflow of its own name, and parents of it."""

    def __init__(self, api: Api) -> None:
        self.api, self.name = api, f"child-{uuid.uuid4().hex[:8]}"
        self.child = self.publish({**CHILD, "name": self.name})

    def publish(self, source: dict[str, Any]) -> dict[str, Any]:
        answer = self.api.http.post("/workflows", json={"source": source})
        assert answer.status_code in (200, 201), answer.text
        found: dict[str, Any] = answer.json()
        return found

    def parent(self, nodes: dict[str, Any], edges: list[str], **more: Any) -> str:
        runs = {"type": "workflow", "workflow": self.name, "inputs": {"topic": "tea"}}
        described = {name: {**runs, **node} if "type" not in node else node
                     for name, node in nodes.items()}  # fmt: skip
        source = {"version": 1, "name": f"parent-{uuid.uuid4().hex[:8]}",
                  "nodes": described, "edges": edges, **more}  # fmt: skip
        return str(self.publish(source)["workflow_id"])

    def start(self, workflow_id: str, *tape: dict[str, Any]) -> str:
        return self.api.start(workflow_id, cassette=list(tape))

    def wait(self, run_id: str, *statuses: str, timeout_s: float = 60) -> dict[str, Any]:
        def reached() -> Any:
            answer = self.api.http.get(f"/runs/{run_id}")
            if answer.status_code >= 500:  # where workers were killed, so was the one that answers
                return None
            run = answer.json()
            return run if run["status"] in statuses else None

        found: dict[str, Any] = until(reached, timeout_s)
        return found

    def children(self, run_id: str) -> list[dict[str, Any]]:
        """Every run whose parent is this one, from the list of runs."""
        rows = self.api.http.get("/runs", params={"limit": 100}).json()["runs"]
        return [row for row in rows if row.get("parent", {}).get("run_id") == run_id]

    def execution(self, run_id: str) -> str:
        workflow = self.api.get(run_id)["workflow"]
        path = f"/workflows/{workflow['workflow_id']}"
        machine = self.api.http.get(path, params={"version": workflow["version"]}).json()["machine"]
        return f"{machine.replace(':stateMachine:', ':execution:')}:{run_id}"

    def events(self, run_id: str) -> list[dict[str, Any]]:
        answer = self.api.http.get(f"/runs/{run_id}/events", params={"after_seq": 0})
        found: list[dict[str, Any]] = answer.json()["events"]
        return found


def until(found: Callable[[], Any], timeout_s: float = 60) -> Any:
    end = time.monotonic() + timeout_s
    while True:
        value = found()
        if value:
            return value
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.05)


def node_of(run: dict[str, Any], node_id: str, path: str = "") -> dict[str, Any]:
    (found,) = [n for n in run["nodes"] if (n["node_id"], n["path"]) == (node_id, path)]
    return dict(found)


@pytest.fixture(scope="module")
def world(stack: LocalStack) -> Iterator[World]:
    with Api(stack) as api:
        yield World(api)


def test_children_in_a_fork_and_in_a_loop(world: World) -> None:
    parent = world.parent(
        {
            "left": {"inputs": {"topic": "left"}},
            "right": {"inputs": {"topic": "right"}},
            "round": {"inputs": {"topic": "round {{ loop.round }}"}},
            "again": {"type": "loop", "until": "{{ loop.round >= 2 }}", "max_rounds": 3},
        },
        ["start -> left, right -> round -> again", "again.repeat -> round", "again.done -> end"],
        outputs={
            "left": "{{ nodes.left.output.topic[0] }}",
            "text": "{{ nodes.right.text }}",
            "calls": "{{ nodes.left.usage.model_calls }}",
            "last": "{{ nodes.round.output.topic[0] }}",
        },
    )
    run_id = world.start(parent, {"node": "talk", "text": "hello"})
    run = world.wait(run_id, "completed", "failed")
    assert run["status"] == "completed", run
    assert run["outputs"] == {"left": "left", "text": "hello", "calls": 1, "last": "round 2"}
    assert run["usage"]["model_calls"] == 4
    children = world.children(run_id)
    assert {(c["parent"]["node_id"], c["parent"]["path"]) for c in children} == {
        ("left", ""), ("right", ""), ("round", "1"), ("round", "2"),
    }  # fmt: skip
    assert len({c["run_id"] for c in children}) == 4
    assert {c["status"] for c in children} == {"completed"}
    assert {c["parent"]["depth"] for c in children} == {1}
    told = [e for e in world.events(run_id) if e["event"] == "child.started"]
    assert {e["data"]["child_run_id"] for e in told} == {c["run_id"] for c in children}
    assert {e["data"]["workflow"]["version"] for e in told} == {world.child["version"]}
    assert node_of(run, "left")["child_run_id"] in {c["run_id"] for c in children}


def test_runs_stay_pinned_to_the_version_that_was_there_at_publishing(world: World) -> None:
    name = f"{world.name}-pinned"
    world.publish({**CHILD, "name": name})
    parent = world.parent(
        {"a": {"workflow": name}}, ["start -> a -> end"], outputs={"x": "{{ nodes.a.text }}"}
    )
    newer = world.publish({**CHILD, "name": name, "outputs": {"said": "newer"}})
    assert newer["version"] == 2
    run_id = world.start(parent, {"node": "talk", "text": "older"})
    assert world.wait(run_id, "completed", "failed")["outputs"] == {"x": "older"}


def test_a_failed_child_takes_the_error_port(world: World) -> None:
    parent = world.parent(
        {
            "a": {"on_error": "route"},
            "sorry": {"type": "template", "template": "{{ nodes.a.error.details.cause.code }}"},
        },
        ["start -> a -> end", "a.error -> sorry -> end"],
        outputs={"why": "{{ nodes.sorry.text ?? '' }}"},
    )
    run_id = world.start(parent, {"node": "talk", "error": "PermanentModelAuth"})
    run = world.wait(run_id, "completed", "failed")
    assert (run["status"], run["outputs"]) == ("completed", {"why": "model_auth"})
    failed = node_of(run, "a")
    assert (failed["status"], failed["port"]) == ("failed", "error")
    assert failed["error"]["code"] == "workflow.child_failed"
    (child,) = world.children(run_id)
    assert failed["error"]["details"]["child_run_id"] == child["run_id"]


def test_a_failed_child_fails_its_parent_or_is_followed_by_another(world: World) -> None:
    edges = ["start -> a -> end"]
    plain = world.parent({"a": {}}, edges)
    again = world.parent(
        {"a": {"retry": {"attempts": 2, "errors": ["workflow.child_failed"]}}}, edges
    )
    tape = {"node": "talk", "error": "PermanentModelAuth"}
    first, second = world.start(plain, tape), world.start(again, tape)
    run = world.wait(first, "completed", "failed")
    assert (run["status"], run["error"]["code"]) == ("failed", "workflow.child_failed")
    run = world.wait(second, "completed", "failed")
    assert run["status"] == "failed"
    assert [len(world.children(run_id)) for run_id in (first, second)] == [1, 2]
    names = [e["event"] for e in world.events(second)]
    assert (names.count("child.started"), names.count("node.retrying")) == (2, 1)


SLOW = {"node": "talk", "text": "word " * 400, "tokens_per_second": 10}


def test_cancelling_the_parent_stops_the_child_and_its_child(world: World) -> None:
    middle = world.parent({"inner": {}}, ["start -> inner -> end"])
    name = world.api.http.get(f"/workflows/{middle}").json()["name"]
    outer = world.parent({"a": {"workflow": name, "inputs": {}}}, ["start -> a -> end"])
    run_id = world.start(outer, SLOW)
    (child,) = until(lambda: world.children(run_id))
    (grandchild,) = until(lambda: world.children(child["run_id"]))
    until(lambda: [e for e in world.events(grandchild["run_id"]) if e["event"] == "node.started"])
    assert grandchild["parent"]["depth"] == 2
    answer = world.api.http.post(f"/runs/{run_id}/cancel")
    assert answer.json()["status"] == "cancelled"
    states = world.api.stack.client("stepfunctions")
    for one in (child, grandchild):
        assert world.api.get(one["run_id"])["status"] == "cancelled"
        found = states.describe_execution(executionArn=world.execution(one["run_id"]))
        assert found["status"] == "ABORTED"


def test_cancelling_the_child_fails_the_node_that_waits(world: World) -> None:
    parent = world.parent({"a": {}}, ["start -> a -> end"])
    run_id = world.start(parent, SLOW)
    (child,) = until(lambda: world.children(run_id))
    until(lambda: world.api.get(child["run_id"])["status"] == "running")
    world.api.http.post(f"/runs/{child['run_id']}/cancel")
    run = world.wait(run_id, "failed")
    assert run["error"]["code"] == "workflow.child_failed"
    assert run["error"]["details"]["status"] == "cancelled"


def test_a_paused_child_that_is_cancelled_wakes_the_node_that_waits(world: World) -> None:
    parent = world.parent({"a": {}}, ["start -> a -> end"])
    run_id = world.start(parent, SLOW)
    (child,) = until(lambda: world.children(run_id))
    until(lambda: world.api.get(child["run_id"])["status"] == "running")
    assert world.api.http.post(f"/runs/{child['run_id']}/pause").json()["status"] == "paused"
    world.api.http.post(f"/runs/{child['run_id']}/cancel")
    # No execution of it ends that would tell, and no sweeper comes in this time.
    run = world.wait(run_id, "failed")
    assert run["error"]["code"] == "workflow.child_failed"
    assert run["error"]["details"]["status"] == "cancelled"


def test_a_parent_that_was_stopped_from_outside_cancels_its_children(world: World) -> None:
    parent = world.parent({"a": {}}, ["start -> a -> end"])
    run_id = world.start(parent, SLOW)
    (child,) = until(lambda: world.children(run_id))
    until(lambda: world.api.get(child["run_id"])["status"] == "running")
    world.api.stack.client("stepfunctions").stop_execution(executionArn=world.execution(run_id))
    assert world.wait(run_id, "failed")["error"]["code"] == "execution_aborted"
    assert world.wait(child["run_id"], "cancelled", "completed")["status"] == "cancelled"


def test_a_node_ends_when_its_time_is_over(world: World) -> None:
    parent = world.parent({"a": {"timeout": "1s", "on_error": "continue"}}, ["start -> a -> end"])
    run_id = world.start(parent, SLOW)
    run = world.wait(run_id, "completed", "failed")
    assert run["status"] == "completed"
    assert node_of(run, "a")["error"]["code"] == "node_timeout"
    (child,) = world.children(run_id)
    assert world.wait(child["run_id"], "cancelled", "completed")["status"] == "cancelled"


def workers(stack: LocalStack) -> list[int]:
    """Returns the processes that run nodes on this stack."""
    emulator = stack.service("emulator")
    assert emulator is not None
    found = []
    for folder in Path("/proc").iterdir():
        try:
            environment = (folder / "environ").read_bytes()
            group = os.getpgid(int(folder.name))
        except (OSError, ValueError):
            continue
        if group == os.getpgid(emulator.pid) and b"-run-node" in environment:
            found.append(int(folder.name))
    return found


def test_a_worker_killed_while_it_begins_a_child_begins_no_second_one(world: World) -> None:
    parent = world.parent({"a": {}}, ["start -> a -> end"], outputs={"x": "{{ nodes.a.text }}"})
    quick = {"node": "talk", "text": "one two three", "tokens_per_second": 3}
    stack, table = world.api.stack, world.api.stack.outputs["StateTableName"]
    client = stack.client("dynamodb")
    run_id = world.start(parent, quick)

    def begun() -> Any:
        """Looks as often as it can, to hit the moment before the token is stored."""
        rows = client.query(
            TableName=table,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues={":pk": {"S": f"RUN#{run_id}"}, ":sk": {"S": "N#"}},
            ConsistentRead=True,
        )["Items"]
        return [row["child"]["S"] for row in rows if "child" in row]

    (child,) = busily(begun)
    for pid in workers(stack):
        os.kill(pid, signal.SIGKILL)
    run = world.wait(run_id, "completed", "failed", timeout_s=90)
    assert run["status"] == "completed", run
    assert run["outputs"] == {"x": "one two three"}
    assert [row["run_id"] for row in world.children(run_id)] == [child]
    names = [e["event"] for e in world.events(run_id)]
    assert (names.count("child.started"), names.count("node.completed")) == (1, 1)


def busily(found: Callable[[], Any]) -> Any:
    end = time.monotonic() + 30
    while not (value := found()):
        assert time.monotonic() < end
    return value


def test_what_a_child_does_not_take_is_told_at_publishing(world: World) -> None:
    def problems(**node: Any) -> list[tuple[str, str]]:
        node = {"type": "workflow", "workflow": world.name, "inputs": {"topic": "x"}, **node}
        source = {"version": 1, "name": "p", "nodes": {"a": node}, "edges": ["start -> a -> end"]}
        answer = world.api.http.post("/workflows", json={"source": source})
        assert answer.status_code == 422
        rows = answer.json()["error"]["details"]["errors"]
        return [(row["code"], row["hint"]) for row in rows]

    assert problems(inputs={}) == [("child.missing_input", "add 'inputs: {topic: \"{{ ... }}\"}'")]
    assert problems(inputs={"topic": 1})[0][0] == "child.input_type"
    wrong = problems(workflow=f"{world.name}x")
    assert wrong == [("reference.unknown_workflow", f"did you mean '{world.name}'?")]
    assert problems(workflow="./x.yaml")[0][0] == "reference.unknown_workflow"
    assert problems(version=99)[0][0] == "reference.unknown_workflow"
