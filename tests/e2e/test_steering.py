"""Runs on the local stack that are paused, resumed, forked and deleted."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kit.api import Api
from kit.probe import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack

SOURCE = """\
version: 1
name: steered
inputs:
  who: {type: string, default: Ada}
defaults: {model: {provider: local, name: any}}
nodes:
  first: {type: llm, prompt: "{{ inputs.who }}"}
  left: {type: llm, prompt: "left {{ nodes.first.text }}"}
  right: {type: llm, prompt: "right {{ nodes.first.text }}"}
  last: {type: llm, prompt: "{{ nodes.left.text }} {{ nodes.right.text }}"}
edges: [start -> first, "first -> left, right", "left, right -> last", last -> end]
outputs: {text: "{{ nodes.last.text }}"}
"""

NODES = {"first", "left", "right", "last"}


def cassette() -> list[dict[str, Any]]:
    # Ten words at ten a second: a second a node.
    words = " ".join(["word"] * 10)
    return [
        {"node": name, "text": f"{name} {words}", "tokens_per_second": 10} for name in sorted(NODES)
    ]


@pytest.fixture(scope="module")
def api(stack: LocalStack) -> Iterator[Api]:
    with Api(stack) as made:
        yield made


@pytest.fixture(scope="module")
def workflow_id(api: Api, tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("steered") / "steered.yaml"
    path.write_text(SOURCE)
    return api.publish(path)


def post(api: Api, run_id: str, action: str, body: Any = None) -> tuple[int, Any]:
    answer = api.http.post(f"/runs/{run_id}/{action}", json=body)
    return answer.status_code, answer.json()


def events(api: Api, run_id: str) -> list[dict[str, Any]]:
    answer = api.http.get(f"/runs/{run_id}/events", params={"limit": 1000})
    found: list[dict[str, Any]] = answer.json()["events"]
    return found


def started(api: Api, run_id: str) -> list[str]:
    return [e["node_id"] for e in events(api, run_id) if e["event"] == "node.started"]


def ended(api: Api, run_id: str, status: str = "completed") -> dict[str, Any]:
    wait_for(lambda: api.get(run_id)["status"] == status, 30)
    return api.get(run_id)


def test_a_paused_run_lets_what_runs_finish_and_starts_nothing(api: Api, workflow_id: str) -> None:
    run_id = api.start(workflow_id, cassette=cassette())
    wait_for(lambda: {"left", "right"} <= set(started(api, run_id)), 20)
    assert post(api, run_id, "pause") == (200, {"run_id": run_id, "status": "paused"})
    wait_for(lambda: sum(n["status"] == "completed" for n in api.get(run_id)["nodes"]) == 3, 20)
    time.sleep(1.5)
    assert sorted(started(api, run_id)) == ["first", "left", "right"]
    assert api.get(run_id)["status"] == "paused"

    status, answer = post(api, run_id, "resume")
    assert (status, answer["status"]) == (200, "running")
    run = ended(api, run_id)
    assert {n["node_id"]: n["attempts"] for n in run["nodes"]} == dict.fromkeys(NODES, 1)
    assert sorted(started(api, run_id)) == sorted(NODES)
    assert run["outputs"]["text"].startswith("last")
    # Both executions count: three nodes and their box the first time, everything the second,
    # in which the last node and the end share a Task.
    assert api.http.get(f"/runs/{run_id}/cost").json()["transitions"] == 4 + 5
    names = [e["event"] for e in events(api, run_id)]
    assert (names.count("run.paused"), names.count("run.resumed")) == (1, 1)
    assert names[-1] == "run.completed"


def test_a_run_that_is_resumed_at_once_runs_no_node_twice(api: Api, workflow_id: str) -> None:
    run_id = api.start(workflow_id, cassette=cassette())
    wait_for(lambda: {"left", "right"} <= set(started(api, run_id)), 20)
    post(api, run_id, "pause")
    post(api, run_id, "resume")
    run = ended(api, run_id)
    assert {n["node_id"]: n["attempts"] for n in run["nodes"]} == dict.fromkeys(NODES, 1)


def test_a_failed_run_goes_on_from_the_node_that_failed(api: Api, workflow_id: str) -> None:
    # `call` is the attempt: the key is refused at first, and is right when the run goes on.
    script = [
        *[c for c in cassette() if c["node"] != "right"],
        {"node": "right", "call": 1, "error": {"name": "PermanentModelAuth"}},
        {"node": "right", "call": 2, "text": "right after all"},
    ]
    run_id = api.start(workflow_id, cassette=script)
    run = ended(api, run_id, "failed")
    assert run["error"]["node_id"] == "right"
    post(api, run_id, "resume")
    run = ended(api, run_id)
    attempts = {n["node_id"]: n["attempts"] for n in run["nodes"]}
    assert attempts == {"first": 1, "left": 1, "right": 2, "last": 1}


def test_a_fork_runs_only_what_follows(api: Api, workflow_id: str) -> None:
    run_id = api.start(workflow_id, cassette=cassette())
    ended(api, run_id)
    status, answer = post(api, run_id, "fork", {"node_id": "right"})
    assert status == 202
    made = ended(api, answer["run_id"])
    assert sorted(started(api, answer["run_id"])) == ["last", "right"]
    assert made["forked_from"] == run_id
    assert made["usage"]["model_calls"] == 2
    assert {n["node_id"] for n in made["nodes"]} == NODES


def test_a_deleted_run_is_gone_and_a_running_one_is_not(api: Api, workflow_id: str) -> None:
    run_id = api.start(workflow_id, cassette=cassette())
    assert api.http.delete(f"/runs/{run_id}").status_code == 409
    assert api.http.delete(f"/runs/{run_id}", params={"cancel": "true"}).status_code == 204
    for path in ("", "/events", "/texts", "/cost"):
        assert api.http.get(f"/runs/{run_id}{path}").status_code == 404
    listed = api.http.get("/runs").json()["runs"]
    assert run_id not in {run["run_id"] for run in listed}


def test_the_sweeper_closes_a_run_that_nobody_told_of(
    api: Api, workflow_id: str, stack: LocalStack
) -> None:
    run_id = api.start(workflow_id, cassette=cassette())
    ended(api, run_id)
    # As if every word of the end had been lost: the run is open and its execution is over.
    stack.client("dynamodb").update_item(
        TableName=stack.outputs["StateTableName"],
        Key={"pk": {"S": f"RUN#{run_id}"}, "sk": {"S": "META"}},
        UpdateExpression="SET #s = :running, due_pk = :due, due_sk = :past",
        ExpressionAttributeNames={"#s": "status"},
        ExpressionAttributeValues={
            ":running": {"S": "running"},
            ":due": {"S": "OPEN#0"},
            ":past": {"S": "2020-01-01T00:00:00.000Z"},
        },
    )
    answer = stack.client("lambda").invoke(FunctionName="joinery-local-sweeper", Payload=b"{}")
    assert json.loads(answer["Payload"].read())["closed"] >= 1
    run = api.get(run_id)
    assert (run["status"], run["error"]["code"]) == ("failed", "execution_lost")
    assert [e["event"] for e in events(api, run_id)][-1] == "run.failed"
