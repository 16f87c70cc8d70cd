"""The two APIs on the local stack: who may see what, and what the real table and sockets do."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from kit.functions import sample
from kit.people import Person, until
from kit.texts import Heard
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from joinery.aws.documents import Documents
from joinery.aws.dynamo_runs import DynamoRunStore

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack

SOURCE = json.loads(sample("http_api-publish_workflow")["body"])["source"]

SLOW = """\
version: 1
name: slow
nodes:
  talk: {type: llm, prompt: hi}
edges: [start -> talk -> end]
outputs: {text: "{{ nodes.talk.text }}"}
"""
TALK = [{"node": "talk", "text": "word 🌿 " * 200, "tokens_per_second": 40}]


@pytest.fixture(scope="module")
def ada(stack: LocalStack) -> Person:
    return Person(stack, "ada")


@pytest.fixture(scope="module")
def bob(stack: LocalStack) -> Person:
    return Person(stack, "bob")


@pytest.fixture(scope="module")
def store(stack: LocalStack) -> DynamoRunStore:
    documents = Documents(stack.client("s3"), stack.outputs["BucketName"])
    return DynamoRunStore(stack.client("dynamodb"), stack.outputs["StateTableName"], documents)


# -- who may ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer jn_0000000000000000000000"}, 403),
        ({"Authorization": "Basic YWRhOnNlY3JldA=="}, 403),
    ],
)
def test_nobody_comes_in_without_a_token(
    stack: LocalStack, headers: dict[str, str], status: int
) -> None:
    def get(path: str) -> int:
        url = stack.http_api_url + path
        return httpx.get(url, headers=headers, trust_env=False).status_code

    assert get("/runs") == status
    assert get("/health") == 200
    with pytest.raises(InvalidStatus) as refused:
        connect(stack.websocket_url, additional_headers=headers, proxy=None)
    assert refused.value.response.status_code in {401, 403}


def test_a_token_ends_for_requests_and_for_open_sockets(stack: LocalStack) -> None:
    guest = Person(stack, "guest", lasts_s=4)
    with guest.socket() as socket:
        assert socket.send("ping")["event"] == "pong"
        assert guest.call("GET", "/runs").status_code == 200
        until(lambda: guest.call("GET", "/runs").status_code == 403)
        assert socket.send("ping")["data"]["code"] == "unauthorized"


def test_what_belongs_to_somebody_else_does_not_exist(ada: Person, bob: Person) -> None:
    run_id = ada.start(SOURCE)
    ada.wait(run_id, "completed")
    for path in ("", "/events", "/texts", "/cost"):
        assert bob.call("GET", f"/runs/{run_id}{path}").status_code == 404
    assert bob.call("POST", f"/runs/{run_id}/cancel").status_code == 404
    assert run_id not in bob.call("GET", "/runs").text
    assert run_id in ada.call("GET", "/runs").text
    with bob.socket() as socket:
        for action in ("subscribe", "unsubscribe", "cancel", "ping"):
            assert socket.send(action, run_id=run_id)["data"]["code"] == "not_found"


# -- sockets ---------------------------------------------------------------------------


def test_a_socket_survives_whatever_is_sent(ada: Person) -> None:
    with ada.socket() as socket:
        for text in ("", "nonsense", "[]", '{"action": "dance", "request_id": "r"}', '"' * 9_000):
            assert socket.raw(text or " ")["event"] == "error"
        assert socket.send("ping")["event"] == "pong"


def test_a_subscription_ends_with_its_socket(
    ada: Person, store: DynamoRunStore, stack: LocalStack
) -> None:
    run_id = ada.start(SLOW, cassette=TALK)
    with ada.socket() as socket:
        assert socket.send("subscribe", run_id=run_id)["event"] == "ack"
        [subscriber] = store.subscribers(run_id)
        rows = connection_rows(stack, subscriber.connection_id)
        assert rows == {"CONN", f"RUN#{run_id}"}
    until(lambda: not store.subscribers(run_id))
    until(lambda: not connection_rows(stack, subscriber.connection_id))
    assert ada.call("POST", f"/runs/{run_id}/cancel").status_code == 200


def connection_rows(stack: LocalStack, connection_id: str) -> set[str]:
    found = stack.client("dynamodb").query(
        TableName=stack.outputs["ConnectionsTableName"],
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": f"CONN#{connection_id}"}},
    )
    return {item["sk"]["S"] for item in found["Items"]}


def test_cancelling_by_socket_stops_the_execution(ada: Person, stack: LocalStack) -> None:
    run_id = ada.start(SLOW, cassette=TALK)
    with ada.socket() as socket:
        socket.send("subscribe", run_id=run_id)
        socket.next(lambda m: m["event"] == "text.delta")
        assert socket.send("cancel", run_id=run_id)["data"]["status"] == "cancelled"
    states = stack.client("stepfunctions")
    found = states.describe_execution(executionArn=ada.execution_of(run_id))
    assert found["status"] == "ABORTED"
    assert ada.call("GET", f"/runs/{run_id}").json()["status"] == "cancelled"


def test_a_client_that_comes_back_gets_only_what_it_lacks(ada: Person) -> None:
    run_id = ada.start(SLOW, cassette=TALK)
    heard, offsets = Heard(), []

    def keep(message: dict[str, Any]) -> bool:
        if message["event"] == "text.delta":
            heard.add(message["data"])
            offsets.append(message["data"]["offset"])
        return message["event"] == "run.completed"

    with ada.socket() as socket:
        socket.send("subscribe", run_id=run_id)
        for _ in range(3):
            keep(socket.next(lambda m: m["event"] == "text.delta"))
    known = heard.text
    time.sleep(1.5)
    with ada.socket() as socket:
        command = {
            "action": "subscribe",
            "request_id": "r",
            "run_id": run_id,
            "after_seq": 2,
            "offsets": {"talk||1|text": len(known)},
        }
        socket.connection.send(json.dumps(command))
        end = socket.next(keep)
    assert min(offset for offset in offsets if offset >= len(known)) == len(known)
    assert heard.text == TALK[0]["text"]
    assert end["seq"] == end["head"]


# -- the log ---------------------------------------------------------------------------


def test_a_hole_in_the_log_is_filled_once_it_is_old(ada: Person, store: DynamoRunStore) -> None:
    run_id = ada.start(SOURCE)
    head = ada.wait(run_id, "completed")["head"]
    [lost] = store._log.draw(run_id, 1, of_run=True)  # its writer dies here
    assert lost == head + 1

    def page() -> dict[str, Any]:
        found: dict[str, Any] = ada.call("GET", f"/runs/{run_id}/events").json()
        return found

    assert page()["next_after_seq"] in {head, lost}
    found = until(lambda: p if (p := page())["next_after_seq"] == lost else None)
    assert found["events"][-1]["event"] == "void"
    assert [event["seq"] for event in found["events"]] == list(range(1, lost + 1))


def test_an_execution_that_is_stopped_from_outside_closes_its_run(
    ada: Person, stack: LocalStack
) -> None:
    run_id = ada.start(SLOW, cassette=TALK)
    ada.wait(run_id, "running")
    execution = ada.execution_of(run_id)
    stack.client("stepfunctions").stop_execution(executionArn=execution)
    run = ada.wait(run_id, "failed")
    assert run["error"]["code"] in {"execution_aborted", "infrastructure"}
    events = ada.call("GET", f"/runs/{run_id}/events").json()["events"]
    assert [event["event"] for event in events].count("run.failed") == 1
