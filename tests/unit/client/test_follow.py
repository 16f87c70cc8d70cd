from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from dataclasses import replace

import pytest

from joinery import errors
from joinery.client import AsyncClient, Client, Timing, Transcript

from .fake_api import RUN, Api, ack, delta, event, running

TEXT = "The quick brown fox jumps over the lazy dog. 🦊"


def summary(text=TEXT):
    encoded = text.encode()
    return {"text": {"length": len(text), "sha256": hashlib.sha256(encoded).hexdigest()}}


EVENTS = [
    event(1, "run.started"),
    event(2, "node.started", "a", attempt=1),
    event(3, "usage.recorded", "a", model_calls=1),
    event(4, "node.completed", "a", attempt=1, streams=summary()),
    event(5, "run.completed"),
]
DELTAS = [delta("a", at, TEXT[at : at + 5], head=2) for at in range(0, len(TEXT), 5)]
STORED = [{"node_id": "a", "path": "", **d["data"]} for d in DELTAS]
LIVE = [*EVENTS[:2], *DELTAS, *EVENTS[2:]]


FAST = Timing(poll_s=0.02, behind_s=0.1, quiet_s=0.3, backoff_s=0.02, slow_open_s=0.5)


def by_waiting(api, timing, after_seq=0):
    with Client(api.http_url, api.ws_url, api.token, timing=timing) as client:
        return list(client.follow(RUN, after_seq=after_seq))


def by_awaiting(api, timing, after_seq=0):
    async def run():
        async with AsyncClient(api.http_url, api.ws_url, api.token, timing=timing) as client:
            return [message async for message in client.follow(RUN, after_seq=after_seq)]

    return asyncio.run(run())


@pytest.fixture(params=[by_waiting, by_awaiting])
def followed(request):
    def follow(api, *, after_seq=0, **timing):
        with running(api):
            return request.param(api, replace(FAST, **timing), after_seq)

    return follow


def check(messages):
    assert [m["seq"] for m in messages if "seq" in m] == [1, 2, 3, 4, 5]
    transcript = Transcript()
    for message in messages:
        transcript.apply(message)
        if message["event"] == "node.completed":
            assert transcript.text("a") == TEXT, "all text comes before the node has ended"
    assert transcript.text("a") == TEXT


def send(connection, *messages):
    for message in messages:
        connection.send(json.dumps(message))


def until_closed(connection):
    try:
        while True:
            connection.recv(timeout=5)
    except Exception:
        return


def test_a_calm_run(followed):
    def behave(api, connection, _):
        send(connection, ack(api.command(connection)), *LIVE)
        until_closed(connection)

    api = Api(behave)
    messages = followed(api)
    assert messages == LIVE
    assert api.requests == [], "HTTP is not needed when nothing is lost"
    assert api.commands[0]["after_seq"] == 0
    assert api.commands[0]["offsets"] == {}


@pytest.mark.parametrize("seed", range(5))
def test_shuffled_and_repeated(seed, followed):
    def behave(api, connection, _):
        send(connection, ack(api.command(connection)))
        frames = LIVE * 2
        random.Random(seed).shuffle(frames)
        send(connection, *frames)
        until_closed(connection)

    check(followed(Api(behave, events=EVENTS, texts=STORED)))


def test_cut_in_the_middle_resumes_from_where_it_was(followed):
    def behave(api, connection, number):
        command = api.command(connection)
        send(connection, ack(command))
        if number == 1:
            send(connection, *LIVE[:5])
            connection.close()
            return
        offset = command["offsets"]["a||1|text"]
        send(connection, *EVENTS[command["after_seq"] :], delta("a", offset, TEXT[offset:]))
        until_closed(connection)

    api = Api(behave, events=EVENTS, texts=STORED)
    check(followed(api))
    assert api.commands[1]["after_seq"] == 2
    assert api.commands[1]["offsets"] == {"a||1|text": 15}


@pytest.mark.parametrize("lost", range(len(LIVE)))
def test_any_one_lost_frame_is_asked_for(lost, followed):
    def behave(api, connection, _):
        send(connection, ack(api.command(connection)))
        send(connection, *[m for i, m in enumerate(LIVE) if i != lost])
        until_closed(connection)

    check(followed(Api(behave, events=EVENTS, texts=STORED)))


def test_a_head_alone_shows_that_an_event_is_missing(followed):
    def behave(api, connection, _):
        send(connection, ack(api.command(connection), head=5))
        until_closed(connection)

    check(followed(Api(behave, events=EVENTS, texts=STORED), quiet_s=60))


def test_no_socket_at_all_falls_back_to_http(followed):
    api = Api(None, events=EVENTS, texts=STORED)
    check(followed(api))


def test_a_socket_that_cannot_be_opened_falls_back_to_http(followed):
    api = Api(None, events=EVENTS, texts=STORED, ws_url="ws://127.0.0.1:9")
    check(followed(api))


def test_resync_leaves_the_client_to_http(followed):
    def behave(api, connection, _):
        send(connection, ack(api.command(connection)), *LIVE[:3])
        send(connection, {"event": "resync", "run_id": RUN, "head": 5, "data": {}})
        until_closed(connection)

    check(followed(Api(behave, events=EVENTS, texts=STORED)))


def test_a_void_fills_a_hole_and_is_not_shown(followed):
    def behave(api, connection, _):
        send(connection, ack(api.command(connection)))
        send(connection, EVENTS[0], event(2, "void"), event(3, "run.failed"))
        until_closed(connection)

    assert [m["event"] for m in followed(Api(behave))] == ["run.started", "run.failed"]


def test_pings_keep_the_socket_and_a_silent_one_is_replaced(followed):
    def behave(api, connection, number):
        send(connection, ack(api.command(connection)), *LIVE[:2])
        if number == 1:
            ping = api.command(connection)
            assert ping["action"] == "ping"
            send(connection, ack(ping))
            until_closed(connection)
            return
        send(connection, *LIVE[2:])
        until_closed(connection)

    api = Api(behave)
    check(followed(api, ping_s=0.05, pong_s=0.3, quiet_s=60))
    assert api.connections == 2


def test_other_runs_on_the_same_socket_are_not_mixed_in(followed):
    def behave(api, connection, _):
        send(connection, ack(api.command(connection)))
        send(connection, {**EVENTS[4], "run_id": "run_other", "seq": 1}, *LIVE)
        until_closed(connection)

    check(followed(Api(behave)))


def test_a_refused_subscription_is_that_error(followed):
    def behave(api, connection, _):
        command = api.command(connection)
        data = {"code": "not_found", "message": "no run", "request_id": command["request_id"]}
        send(connection, {"event": "error", "data": data})
        until_closed(connection)

    with pytest.raises(errors.NotFound, match="no run"):
        followed(Api(behave))


def test_a_wrong_token_is_told_by_http():
    api = Api(None, events=EVENTS, ws_url="ws://127.0.0.1:9")
    with (
        running(api),
        Client(api.http_url, api.ws_url, "wrong") as client,
        pytest.raises(errors.Unauthorized),
    ):
        list(client.follow(RUN))


def test_an_api_that_stays_away_is_unavailable():
    with (
        Client("http://127.0.0.1:9", timing=replace(FAST, give_up_s=0.1)) as client,
        pytest.raises(errors.Unavailable),
    ):
        list(client.follow(RUN))


def test_stop_ends_it_soon_and_the_socket_is_closed():
    closed = []

    def behave(api, connection, _):
        send(connection, ack(api.command(connection)), *LIVE[:3])
        until_closed(connection)
        closed.append(True)

    started = time.monotonic()
    seen = []
    with running(api := Api(behave)), Client(api.http_url, api.ws_url, api.token) as client:
        for message in client.follow(RUN, stop=lambda: len(seen) == 3):
            seen.append(message)
    assert len(seen) == 3
    assert closed
    assert time.monotonic() - started < 3


def test_a_run_that_has_ended_is_replayed_from_where_the_caller_stands(followed):
    api = Api(None, events=EVENTS, texts=STORED)
    messages = followed(api, after_seq=3)
    assert [m["seq"] for m in messages if "seq" in m] == [4, 5]
