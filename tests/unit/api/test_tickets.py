"""Tickets over HTTP: who gets one, and what it does not open."""

from __future__ import annotations

import time
from datetime import datetime

import pytest
from kit.installation import Api

from joinery.identity.tickets import TICKET_S
from joinery.identity.tokens import token_hash

BY_TICKET = {"via": "ticket"}


def test_a_caller_gets_a_ticket(server: Api) -> None:
    reply = server.post("/tickets")
    assert reply.status == 201
    assert reply.headers["cache-control"] == "no-store"
    [(stored, (caller, _))] = server.installation.issued.rows.items()
    assert (stored, caller.owner) == (token_hash(reply.body["ticket"]), "me")
    left = datetime.fromisoformat(reply.body["expires_at"]).timestamp() - time.time()
    assert TICKET_S - 5 < left <= TICKET_S


def test_nobody_gets_none(server: Api) -> None:
    assert server.post("/tickets", owner=None).status == 401
    assert not server.installation.issued.rows


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/tickets"),
        ("GET", "/runs"),
        ("POST", "/runs"),
        ("GET", "/runs/run_01kaj4z5v9c8w1h7x2m3n4p5q6"),
        ("GET", "/runs/run_01kaj4z5v9c8w1h7x2m3n4p5q6/texts"),
        ("POST", "/runs/run_01kaj4z5v9c8w1h7x2m3n4p5q6/cancel"),
        ("GET", "/workflows"),
    ],
)
def test_a_ticket_opens_the_events_alone(server: Api, method: str, path: str) -> None:
    body = {"workflow_id": "wf"} if (method, path) == ("POST", "/runs") else None
    assert server.call(method, path, body, found=BY_TICKET).status == 401
    events = "/runs/run_01kaj4z5v9c8w1h7x2m3n4p5q6/events"
    assert server.get(events, found=BY_TICKET).status == 404
