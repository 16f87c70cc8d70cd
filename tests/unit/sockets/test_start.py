"""`start` over a socket: the same as over HTTP, once for one request, and nothing missed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from kit.installation import Api, Installation
from kit.workflows import workflow

from joinery.catalog.launch import Order, read_order
from joinery.catalog.publish import publish_workflow
from joinery.errors import InvalidRequest, Unavailable
from joinery.events.make import Event

from .conftest import CONNECTION, Socket

KEY = "8f3a61c2d90b"


def publish(installation: Installation, owner: str = "me") -> str:
    checked = workflow(["start -> a", "a -> end"], inputs={"who": {"type": "string"}})
    version, _, _ = publish_workflow(
        installation.workflows,
        installation.makes,
        owner=owner,
        workflow=checked,
        source="",
        run_node_arn=installation.run_node_arn(),
        machine_prefix="joinery-test-",
        clock=installation.clock,
        opt=1,
    )
    return version.workflow_id


@pytest.fixture
def workflow_id(socket: Socket) -> str:
    return publish(socket.installation)


def start(socket: Socket, workflow_id: str, **fields: Any) -> list[Event]:
    given = {"request_id": KEY, "workflow_id": workflow_id, **fields}
    return socket.raw(json.dumps({"action": "start", **given}))


def test_a_run_is_made_watched_and_then_started(socket: Socket, workflow_id: str) -> None:
    frames = start(socket, workflow_id)
    assert [frame["event"] for frame in frames] == ["run.started", "ack"]
    ack = frames[-1]
    assert ack["head"] == 1
    assert ack["data"] == {
        "request_id": KEY,
        "action": "start",
        "status": "running",
        "created": True,
        "live": True,
        "events": 1,
        "deltas": 0,
    }
    [(_, name, payload)] = socket.installation.runs.started
    assert name == payload["run_id"] == ack["run_id"]
    assert (ack["run_id"], CONNECTION) in socket.store.subscribed
    assert socket.watches.of(CONNECTION) == [ack["run_id"]]


def test_the_subscription_is_there_before_the_execution(
    socket: Socket, workflow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    begin = socket.installation.runs.start

    def watched(*given: Any) -> str:
        seen.append(len(socket.store.subscribed))
        return begin(*given)

    monkeypatch.setattr(socket.installation.runs, "start", watched)
    start(socket, workflow_id)
    assert seen == [1]


def test_it_need_not_be_watched(socket: Socket, workflow_id: str) -> None:
    [ack] = start(socket, workflow_id, subscribe=False)
    assert ack["data"] == {
        "request_id": KEY, "action": "start", "status": "running", "created": True,
    }  # fmt: skip
    assert not socket.store.subscribed


def test_the_same_request_gives_the_same_run(socket: Socket, workflow_id: str) -> None:
    first = start(socket, workflow_id)[-1]
    again = start(socket, workflow_id)[-1]
    assert again["run_id"] == first["run_id"]
    assert (first["data"]["created"], again["data"]["created"]) == (True, False)
    assert len(socket.installation.runs.started) == 1
    other = start(socket, workflow_id, inputs={"who": "Ada"})[-1]
    assert (other["event"], other["data"]["code"]) == ("error", "conflict")
    assert other["data"]["details"] == {"run_id": first["run_id"]}


def test_the_same_request_over_http_gives_that_run_too(socket: Socket, workflow_id: str) -> None:
    first = start(socket, workflow_id)[-1]
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        headers = {"Idempotency-Key": KEY}
        body = {"workflow_id": workflow_id}
        reply = Api(socket.installation).post("/runs", body, headers=headers)
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    assert (reply.status, reply.body["run_id"]) == (200, first["run_id"])


def test_whoever_is_gone_has_started_it_all_the_same(socket: Socket, workflow_id: str) -> None:
    socket.outlet.gone_after = 0
    assert start(socket, workflow_id) == []
    assert len(socket.installation.runs.started) == 1
    assert not socket.store.subscribed


def test_a_run_that_does_not_start_is_closed(socket: Socket, workflow_id: str) -> None:
    socket.installation.runs.fails = Unavailable("no")
    error = start(socket, workflow_id)[-1]
    assert (error["event"], error["data"]["code"]) == ("error", "unavailable")
    run_id = error["data"]["details"]["run_id"]
    assert socket.store.get_run(run_id).status == "failed"


def test_somebody_elses_workflow_does_not_exist(socket: Socket) -> None:
    theirs, absent = publish(socket.installation, "you"), "wf_" + "0" * 24
    for version in (None, 1, 7):
        [found], [missing] = (
            start(socket, name, **({"version": version} if version else {}))
            for name in (theirs, absent)
        )
        assert found["data"]["code"] == missing["data"]["code"] == "not_found"
        assert found["data"]["message"] == missing["data"]["message"].replace(absent, theirs)
    assert not socket.installation.runs.started


WRONG = [
    ({"workflow_id": 7}, "workflow_id"),
    ({"workflow_id": None}, "workflow_id"),
    ({"workflow_id": "x" * 65}, "workflow_id"),
    ({"version": 0}, "version"),
    ({"version": 1_000_000}, "version"),
    ({"version": True}, "version"),
    ({"version": "1"}, "version"),
    ({"inputs": []}, "inputs"),
    ({"inputs": None}, "inputs"),
    ({"session_id": ""}, "session_id"),
    ({"session_id": "a b"}, "session_id"),
    ({"session_id": 7}, "session_id"),
    ({"model": "A:b"}, "model"),
    ({"model": 7}, "model"),
    ({"cassette": {}}, "cassette"),
    ({"cassette": [1]}, "cassette"),
]


@pytest.mark.parametrize(("fields", "where"), WRONG)
def test_a_field_that_is_wrong_is_refused_as_over_http(
    socket: Socket, workflow_id: str, fields: dict[str, Any], where: str
) -> None:
    from pydantic import ValidationError

    from joinery.api.bodies import StartBody

    given = {"workflow_id": workflow_id, **fields}
    [error] = start(socket, **given)
    assert error["data"]["code"] == "invalid_request"
    assert [row["where"] for row in error["data"]["details"]["errors"]] == [where]
    with pytest.raises(ValidationError):
        StartBody.model_validate(given)
    assert not socket.store.subscribed


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"version": 1, "inputs": {"a": [1]}, "session_id": "s.1:2_3-4", "model": "local:m"},
        {"version": None, "session_id": None, "model": "scripted", "cassette": [{}]},
    ],
)
def test_what_http_takes_is_taken(fields: dict[str, Any]) -> None:
    from joinery.api.bodies import StartBody

    given = {"workflow_id": "wf_1", **fields}
    assert read_order(given) == Order(**StartBody.model_validate(given).model_dump())


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(InvalidRequest) as wrong:
        read_order({"workflow_id": 7, "version": 0})
    assert len(wrong.value.details["errors"]) == 2
    assert "and 1 more" in wrong.value.message


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"request_id": "short"}, "invalid_request"),
        ({"subscribe": "yes"}, "invalid_request"),
        ({"inputs": {"nobody": 1}}, "invalid_input"),
        ({"cassette": [{"node": 1}]}, "invalid_request"),
        ({"model": "nobody:x"}, "invalid_request"),
    ],
)
def test_what_makes_no_sense_is_refused(
    socket: Socket, workflow_id: str, fields: dict[str, Any], code: str
) -> None:
    [error] = start(socket, workflow_id, **fields)
    assert (error["event"], error["data"]["code"]) == ("error", code)
    assert not socket.installation.runs.started
