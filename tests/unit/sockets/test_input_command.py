"""`input` over a socket: the same as over HTTP, answered once."""

from __future__ import annotations

from typing import Any

import pytest
from kit.questions import TOKEN, waiting_run

from joinery.events.make import Event

from .conftest import Socket

KEY = "5f1c7a0e9b3d"


def give(socket: Socket, run_id: str, value: Any = "yes", **fields: Any) -> Event:
    given = {"request_id": KEY, "run_id": run_id, "value": value, **fields}
    [frame] = socket.send("input", **{k: v for k, v in given.items() if v is not None})
    return frame


def test_an_answer_is_acknowledged_and_wakes_the_task(socket: Socket) -> None:
    run_id = waiting_run(socket.installation)
    frame = give(socket, run_id, node_id="ask")
    assert (frame["event"], frame["head"]) == ("ack", 5)
    assert frame["data"] == {
        "request_id": KEY, "action": "input", "kind": "answer", "node_id": "ask", "path": "",
    }  # fmt: skip
    assert [token for token, *_ in socket.installation.woken.sent] == [TOKEN]
    assert give(socket, run_id, node_id="ask")["data"] == frame["data"]
    frame = give(socket, run_id, "no", node_id="ask", request_id="another-one")
    assert (frame["event"], frame["data"]["code"]) == ("error", "already_answered")
    assert len(socket.installation.woken.sent) == 1


@pytest.mark.parametrize(
    ("fields", "code", "told"),
    [
        ({"request_id": "1"}, "invalid_request", "idempotency key"),
        ({"value": None}, "invalid_request", "value is needed"),
        ({"node_id": 7}, "invalid_request", "node_id"),
        ({"node_id": ""}, "invalid_request", "node_id"),
        ({"path": "a"}, "invalid_request", "path"),
        ({"value": "maybe"}, "invalid_input", "yes, no"),
    ],
)
def test_what_is_wrong_is_told(socket: Socket, fields: Any, code: str, told: str) -> None:
    run_id = waiting_run(socket.installation)
    frame = give(socket, run_id, **{"node_id": "ask", **fields})
    assert (frame["event"], frame["data"]["code"]) == ("error", code)
    assert told in frame["data"]["message"]
    assert socket.installation.woken.sent == []


def test_nobody_else_may_answer(socket: Socket) -> None:
    run_id = waiting_run(socket.installation, owner="you")
    assert give(socket, run_id, node_id="ask")["data"]["code"] == "not_found"
