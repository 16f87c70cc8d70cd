"""Each command is answered once; nothing that a client sends closes its socket."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from joinery.errors import NodeError, TransientStore, Unavailable
from joinery.identity.tokens import Caller
from joinery.runs.end import close_failed
from joinery.sockets import handler

from .conftest import CONNECTION, Socket


def data_of(frames: list[Any], event: str) -> dict[str, Any]:
    [frame] = frames
    assert frame["event"] == event
    found: dict[str, Any] = frame["data"]
    return found


@pytest.mark.parametrize(
    ("body", "request_id", "code"),
    [
        ("", None, "invalid_request"),
        ("not json", None, "invalid_request"),
        ("[]", None, "invalid_request"),
        ("null", None, "invalid_request"),
        ('{"action": "ping"}', None, "invalid_request"),
        ('{"action": "ping", "request_id": ""}', None, "invalid_request"),
        ('{"action": "ping", "request_id": 7}', None, "invalid_request"),
        ('{"action": "ping", "request_id": "' + "x" * 65 + '"}', None, "invalid_request"),
        ('{"request_id": "r1"}', "r1", "unknown_action"),
        ('{"action": "dance", "request_id": "r1"}', "r1", "unknown_action"),
        ('{"action": ["ping"], "request_id": "r1"}', "r1", "unknown_action"),
        ('{"action": "subscribe", "request_id": "r1"}', "r1", "invalid_request"),
        ('{"action": "subscribe", "request_id": "r1", "run_id": 7}', "r1", "invalid_request"),
        ('{"action": "subscribe", "request_id": "r1", "run_id": "x"}', "r1", "not_found"),
        ('{"action": "ping", "request_id": "r1", "run_id": "x#y"}', "r1", "not_found"),
        ('{"action": "ping", "request_id": "\\ud800"}', None, "invalid_request"),
        ('{"action": "ping", "request_id": "r1", "x": NaN}', None, "invalid_request"),
        ("[" * 60_000, None, "invalid_request"),
        ('{"action": "ping", "request_id": "' + "x" * 140_000 + '"}', None, "too_large"),
        ("\ud800", None, "invalid_request"),
    ],
)
def test_what_makes_no_sense_is_an_error_frame(
    socket: Socket, body: str, request_id: str | None, code: str
) -> None:
    data = data_of(socket.raw(body), "error")
    assert (data["request_id"], data["code"]) == (request_id, code)
    assert data["retryable"] is False
    assert data_of(socket.send("ping"), "pong") == {"request_id": "r1"}


@pytest.mark.parametrize(
    "fields",
    [
        {"after_seq": -1},
        {"after_seq": "1"},
        {"after_seq": True},
        {"after_seq": 10**11},
        {"offsets": "x"},
        {"offsets": {"a||1|text": -1}},
        {"offsets": {"a||1|text": "1"}},
        {"offsets": [{"node_id": "a", "offset": 1}]},
    ],
)
def test_a_bad_cursor_is_refused_before_anything_is_stored(
    socket: Socket, fields: dict[str, Any]
) -> None:
    run_id = socket.run()
    data = data_of(socket.send("subscribe", run_id=run_id, **fields), "error")
    assert data["code"] == "invalid_request"
    assert not socket.store.subscribed
    assert not socket.watches.rows


def test_a_cursor_that_the_run_has_not_reached_is_told_the_head(socket: Socket) -> None:
    run_id = socket.run(events=2)
    data = data_of(socket.send("subscribe", run_id=run_id, after_seq=4), "error")
    assert (data["code"], data["details"]) == ("cursor_ahead", {"head": 3})
    assert not socket.store.subscribed
    assert data_of(socket.send("subscribe", run_id=run_id, after_seq=3), "ack")["events"] == 0


def test_ping_tells_the_head_of_a_run(socket: Socket) -> None:
    run_id = socket.run(events=3)
    [pong] = socket.send("ping", run_id=run_id)
    assert (pong["event"], pong["run_id"], pong["head"]) == ("pong", run_id, 4)


def test_subscribing_is_recorded_replayed_and_acknowledged(socket: Socket) -> None:
    run_id = socket.run(events=2)
    frames = socket.send("subscribe", run_id=run_id)
    assert [f["event"] for f in frames] == ["run.started", "node.started", "node.started", "ack"]
    ack = frames[-1]
    assert (ack["run_id"], ack["head"]) == (run_id, 3)
    assert ack["data"] == {
        "request_id": "r1",
        "action": "subscribe",
        "status": "running",
        "live": True,
        "events": 3,
        "deltas": 0,
    }
    assert (run_id, CONNECTION) in socket.store.subscribed
    assert socket.store.control(run_id).subs == 1
    assert socket.watches.of(CONNECTION) == [run_id]


def test_one_for_whom_there_is_no_room_is_told_to_pull(socket: Socket) -> None:
    run_id = socket.run(events=2)
    socket.store.room = 0
    hint, ack = socket.send("subscribe", run_id=run_id)
    assert (hint["event"], hint["run_id"], hint["head"]) == ("hint", run_id, 3)
    assert ack["data"] == {
        "request_id": "r1",
        "action": "subscribe",
        "status": "running",
        "live": False,
        "events": 0,
        "deltas": 0,
    }
    assert (run_id, CONNECTION) in socket.store.subscribed
    socket.outlet.gone_after = len(socket.outlet.frames)
    assert socket.send("subscribe", run_id=run_id) == []
    assert not socket.store.subscribed


def test_a_subscription_ends_with_the_token(socket: Socket) -> None:
    run_id = socket.run()
    socket.caller = Caller("me", time.time() + 100)
    socket.send("subscribe", run_id=run_id)
    assert socket.store.subscribed[run_id, CONNECTION] == socket.caller.expires_at
    socket.caller = Caller("me", time.time() + 1_000_000)
    socket.send("subscribe", run_id=run_id)
    assert socket.store.subscribed[run_id, CONNECTION] <= time.time() + 7_200


def test_a_run_that_has_ended_is_replayed_without_a_subscription(socket: Socket) -> None:
    run_id = socket.run()
    close_failed(socket.services.deps, socket.store.get_run(run_id), NodeError("over"))
    frames = socket.send("subscribe", run_id=run_id)
    assert [f["event"] for f in frames] == ["run.started", "run.failed", "ack"]
    assert frames[-1]["data"]["status"] == "failed"
    assert not socket.store.subscribed


def test_unsubscribing_ends_it_and_is_no_error_the_second_time(socket: Socket) -> None:
    run_id = socket.run()
    socket.send("subscribe", run_id=run_id)
    for _ in range(2):
        ack = data_of(socket.send("unsubscribe", run_id=run_id), "ack")
        assert ack == {"request_id": "r1", "action": "unsubscribe"}
    assert not socket.store.subscribed
    assert not socket.watches.rows


def test_cancel_closes_the_run_and_stops_its_execution(socket: Socket) -> None:
    run_id = socket.run()
    ack = data_of(socket.send("cancel", run_id=run_id), "ack")
    assert ack == {"request_id": "r1", "action": "cancel", "status": "cancelled"}
    assert socket.installation.runs.stopped == ["arn:execution"]
    assert socket.store.get_run(run_id).status == "cancelled"


def test_what_has_ended_cannot_be_cancelled(socket: Socket) -> None:
    run_id = socket.run()
    close_failed(socket.services.deps, socket.store.get_run(run_id), NodeError("over"))
    assert data_of(socket.send("cancel", run_id=run_id), "error")["code"] == "conflict"


@pytest.mark.parametrize("action", ["subscribe", "unsubscribe", "ping", "cancel"])
def test_somebody_elses_run_does_not_exist(socket: Socket, action: str) -> None:
    theirs, absent = socket.run(owner="you"), "run_" + "0" * 26
    data = data_of(socket.send(action, run_id=theirs), "error")
    missing = data_of(socket.send(action, run_id=absent), "error")
    assert data["code"] == missing["code"] == "not_found"
    assert data["message"] == missing["message"].replace(absent, theirs)
    assert not socket.store.subscribed
    assert socket.store.get_run(theirs).status == "running"


@pytest.mark.parametrize("caller", [None, Caller("me", time.time() - 1)])
def test_every_command_needs_a_token_that_is_good(socket: Socket, caller: Caller | None) -> None:
    run_id = socket.run()
    socket.caller = caller
    for action in ("subscribe", "ping", "cancel"):
        assert data_of(socket.send(action, run_id=run_id), "error")["code"] == "unauthorized"


def test_a_defect_says_nothing_of_itself(socket: Socket, monkeypatch: Any, caplog: Any) -> None:
    def breaks(*_: Any) -> None:
        raise RuntimeError("hunter2")

    run_id = socket.run()
    monkeypatch.setattr(socket.store, "subscribe", breaks)
    data = data_of(socket.send("subscribe", run_id=run_id), "error")
    assert data["code"] == "internal"
    assert "hunter2" not in json.dumps(data)
    assert "hunter2" in caplog.text


def test_a_busy_table_is_worth_another_try(socket: Socket, monkeypatch: Any) -> None:
    def busy(*_: Any) -> None:
        raise TransientStore("busy")

    run_id = socket.run()
    monkeypatch.setattr(socket.store, "subscribe", busy)
    data = data_of(socket.send("subscribe", run_id=run_id), "error")
    assert (data["code"], data["retryable"]) == ("store_unavailable", True)


# -- connections -------------------------------------------------------------------------------


def test_a_connection_is_kept_until_it_closes(socket: Socket) -> None:
    assert socket.caller
    handler.connect(socket.services, CONNECTION, socket.caller)
    assert socket.connections.rows[CONNECTION] == ("me", socket.caller.expires_at)
    runs = [socket.run(), socket.run()]
    for run_id in runs:
        socket.send("subscribe", run_id=run_id)
    handler.disconnect(socket.services, CONNECTION)
    assert not socket.connections.rows
    assert not socket.watches.rows
    assert not socket.store.subscribed
    handler.disconnect(socket.services, CONNECTION)


@pytest.mark.parametrize("gone_after", [0, 2])
def test_a_connection_that_is_gone_is_forgotten(socket: Socket, gone_after: int) -> None:
    run_id = socket.run(events=5)
    handler.connect(socket.services, CONNECTION, Caller("me", time.time() + 100))
    socket.outlet.gone_after = gone_after
    assert len(socket.send("subscribe", run_id=run_id)) == gone_after
    assert not socket.connections.rows
    assert not socket.store.subscribed


def test_an_answer_that_cannot_be_sent_is_no_crash(socket: Socket, monkeypatch: Any) -> None:
    def busy(*_: Any) -> bool:
        raise Unavailable("busy")

    monkeypatch.setattr(socket.outlet, "send", busy)
    assert socket.send("ping") == []


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (None, None),
        ({}, None),
        ({"owner": "me"}, None),
        ({"owner": "", "expires_at": "5"}, None),
        ({"owner": "me", "expires_at": "soon"}, None),
        ({"owner": "me", "expires_at": "1764000000"}, Caller("me", 1764000000.0)),
        ({"owner": "me", "expires_at": 5, "principalId": "me"}, Caller("me", 5.0)),
    ],
)
def test_who_calls_comes_from_the_authorizer(context: Any, expected: Caller | None) -> None:
    assert handler.caller_of(context) == expected
