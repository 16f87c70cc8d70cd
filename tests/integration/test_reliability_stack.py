"""Models that fail, on the local stack: the functions' rights, state and events are real."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from kit.bad_days import begins_and, cuts, fails, says, script
from kit.model_server import model_server
from kit.people import Person

from joinery.llm.breaker import FAILURES

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack

PATIENT = """\
version: 1
name: patient
nodes:
  a:
    type: llm
    prompt: hi
    model: {name: flaky, limit: {requests: 600}}
    output: {score: {type: integer}}
edges: [start -> a -> end]
outputs: {score: "{{ nodes.a.output.score }}"}
"""


def chain(length: int) -> str:
    """Models one after the other in one invocation, each called once."""
    names = [f"n{index}" for index in range(length)]
    nodes = {
        name: {
            "type": "llm",
            "prompt": "hi",
            "model": {"name": "dead"},
            "retry": {"attempts": 1},
            "on_error": "continue",
        }
        for name in names
    }
    edges = [" -> ".join(["start", *names, "end"])]
    said = {"version": 1, "name": "dead", "run_on": "inline", "nodes": nodes, "edges": edges}
    return json.dumps(said)


def port_of(stack: LocalStack) -> int:
    return urlsplit(stack.model_base_url).port or 0


def item(stack: LocalStack, name: str, kind: str) -> Any:
    found = stack.client("dynamodb").get_item(
        TableName=stack.outputs["CatalogTableName"],
        Key={"pk": {"S": f"LIMIT#{name}"}, "sk": {"S": kind}},
        ConsistentRead=True,
    )
    return found.get("Item")


def events(ada: Person, run_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ada.call("GET", f"/runs/{run_id}/events").json()["events"]
    return found


def test_a_run_gets_through_a_bad_day(stack: LocalStack) -> None:
    ada = Person(stack, "ada")
    bad_day = script(fails(503), begins_and(cuts), says('{"score": "high"}'), says('{"score": 7}'))
    with model_server(bad_day, port_of(stack)) as server:
        run_id = ada.start(PATIENT)
        run = ada.wait(run_id, "completed", "failed")
        asked = [r.body["messages"] for r in server.requests if r.body]
    assert (run["status"], run["outputs"]) == ("completed", {"score": 7})
    told = events(ada, run_id)
    assert [e["event"] for e in told if e.get("node_id") == "a"] == [
        "node.started",
        "model.retrying",
        "node.retrying",
        "node.started",
        "output.rejected",
        "node.retrying",
        "node.started",
        "usage.recorded",
        "node.completed",
    ]
    reasons = [e["data"]["error"]["code"] for e in told if e["event"].endswith(".retrying")]
    assert reasons == ["model_unavailable", "model_stream_broken", "output_invalid"]
    assert [len(messages) for messages in asked] == [1, 1, 1, 3]
    texts = ada.call("GET", f"/runs/{run_id}/texts").json()["texts"]
    (last,) = [row for row in texts if row["attempt"] == 3]
    assert last["text"] == '{"score": 7}'
    # The function may write the bucket, and the closed breaker is not stored.
    assert item(stack, "local/flaky#600-0", "RATE")["moment"]
    assert item(stack, "local/flaky", "BREAKER") is None


def test_a_model_that_is_down_is_left_alone(stack: LocalStack) -> None:
    ada = Person(stack, "ada")
    with model_server(script(fails(500)), port_of(stack)) as server:
        run_id = ada.start(chain(FAILURES + 1))
        ada.wait(run_id, "completed", "failed")
        assert len([r for r in server.requests if r.body]) == FAILURES
    failed = [e["data"]["error"] for e in events(ada, run_id) if e["event"] == "node.failed"]
    causes = [error["details"]["cause"].get("details", {}).get("breaker") for error in failed]
    assert causes == [*[None] * FAILURES, "open"]
    assert item(stack, "local/dead", "BREAKER")["times"] == {"N": "1"}
