"""Streams on the local stack: tickets, Server-Sent Events, and commands over real sockets."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from kit.event_source import EventSource
from kit.people import Person, until
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack

ABSENT = "run_" + "0" * 26

SLOW = """\
version: 1
name: slow_streams
nodes:
  talk: {type: llm, prompt: hi}
edges: [start -> talk -> end]
outputs: {text: "{{ nodes.talk.text }}"}
"""
TALK = [{"node": "talk", "text": "word 🌿 " * 200, "tokens_per_second": 60}]


@pytest.fixture(scope="module")
def ada(stack: LocalStack) -> Person:
    return Person(stack, "ada")


# -- tickets -----------------------------------------------------------------------------


def refused(stack: LocalStack, query: str) -> int:
    with pytest.raises(InvalidStatus) as found:
        connect(f"{stack.websocket_url}{query}", proxy=None)
    return found.value.response.status_code


def test_a_ticket_opens_one_socket(ada: Person, stack: LocalStack) -> None:
    ticket = ada.ticket()
    with ada.socket(ticket=ticket) as socket:
        assert socket.send("ping")["event"] == "pong"
        assert refused(stack, f"?ticket={ticket}") == 403
        assert socket.send("ping")["event"] == "pong"


@pytest.mark.parametrize("query", ["", "?ticket=", "?ticket=jt_" + "A" * 43, "?token=x"])
def test_a_socket_without_a_good_ticket_is_refused(stack: LocalStack, query: str) -> None:
    assert refused(stack, query) == 403


def test_a_ticket_opens_events_once(ada: Person, stack: LocalStack) -> None:
    def get(ticket: str) -> httpx.Response:
        url = f"{stack.http_api_url}/runs/{ABSENT}/events?ticket={ticket}"
        return httpx.get(url, trust_env=False)

    ticket = ada.ticket()
    assert get(ticket).status_code == 404
    answer = get(ticket)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthorized"
    assert get("").status_code == 401


def test_what_a_ticket_opened_ends_with_the_token(stack: LocalStack) -> None:
    guest = Person(stack, "guest", lasts_s=4)
    with guest.socket(ticket=guest.ticket()) as socket:
        assert socket.send("ping")["event"] == "pong"
        until(lambda: socket.send("ping")["event"] == "error")
        assert socket.send("ping")["data"]["code"] == "unauthorized"


def test_tickets_are_in_no_log_and_no_table(ada: Person, stack: LocalStack) -> None:
    ticket = ada.ticket()
    url = f"{stack.http_api_url}/runs/{ABSENT}/events?ticket={ticket}"
    assert httpx.get(url, trust_env=False).status_code == 404
    with ada.socket(ticket=ada.ticket()):
        pass
    logs = stack.client("logs")
    for function in ("authorizer", "http-api", "websocket"):
        group = f"/aws/lambda/joinery-local-{function}"
        found = logs.filter_log_events(logGroupName=group)["events"]
        assert not [event for event in found if "jt_" in event["message"]]
    rows = stack.client("dynamodb").scan(TableName=stack.outputs["ConnectionsTableName"])
    assert "jt_" not in str(rows["Items"])


# -- Server-Sent Events --------------------------------------------------------------------


def test_an_event_source_follows_a_run_by_itself(ada: Person, stack: LocalStack) -> None:
    run_id = ada.start(SLOW, cassette=TALK)
    url = f"{stack.http_api_url}/runs/{run_id}/events"
    source = EventSource(f"{url}?ticket={ada.ticket()}")
    while source.ask():
        time.sleep(0.3)
    # One ticket, a cookie from then on, and at the end the word to stop.
    assert source.statuses.count(200) >= 3
    assert source.statuses[-1] == 204
    [cookie] = source.cookies.jar
    assert cookie.path.endswith(f"/runs/{run_id}")
    seqs = [m["seq"] for m in source.messages if "seq" in m]
    assert seqs == list(range(1, len(seqs) + 1))
    assert source.messages[-1]["event"] == "run.completed"
    assert source.text() == TALK[0]["text"]
    stored = ada.call("GET", f"/runs/{run_id}/events").json()["events"]
    assert [bare(m) for m in source.messages if "seq" in m] == [bare(m) for m in stored]
    # The cookie opens nothing else, and the address alone nothing at all.
    assert source.get(f"{stack.http_api_url}/runs/{run_id}", {}).status_code in {401, 403}
    assert EventSource(source.url).ask() is False


def bare(message: dict[str, Any]) -> dict[str, Any]:
    """An event but its head, which is that of when it was read."""
    return {name: value for name, value in message.items() if name != "head"}


def test_a_pass_opens_no_other_run(ada: Person, stack: LocalStack) -> None:
    first, second = (ada.start(SLOW, cassette=TALK) for _ in range(2))
    url = f"{stack.http_api_url}/runs/{{}}/events"
    source = EventSource(f"{url.format(first)}?ticket={ada.ticket()}")
    assert source.ask()
    [cookie] = source.cookies.jar
    headers = {"Cookie": f"{cookie.name}={cookie.value}"}
    assert httpx.get(url.format(first), headers=headers, trust_env=False).status_code == 200
    assert httpx.get(url.format(second), headers=headers, trust_env=False).status_code == 401
    for run_id in (first, second):
        ada.call("POST", f"/runs/{run_id}/cancel")


def test_a_long_poll_is_answered_by_the_next_event(ada: Person) -> None:
    run_id = ada.start(SLOW, cassette=[{**TALK[0], "tokens_per_second": 200}])
    after, seen = 0, []
    while "run.completed" not in seen:
        page = ada.call("GET", f"/runs/{run_id}/events?after_seq={after}&wait=10").json()
        assert page["events"], "it waited for nothing"
        seen += [event["event"] for event in page["events"]]
        after = page["next_after_seq"]
    begun = time.monotonic()
    path = f"/runs/{run_id}/events?after_seq={after}&wait=10"
    assert ada.call("GET", path).json()["events"] == []
    assert time.monotonic() - begun < 5
