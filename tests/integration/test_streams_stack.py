"""Streams on the local stack: tickets, Server-Sent Events, and commands over real sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from kit.people import Person, until
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack

ABSENT = "run_" + "0" * 26


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
