"""Several runs and commands on one socket, and batches for a screen."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest

from joinery import errors
from joinery.client import AsyncClient, Client, Timing, Transcript, merged

from .fake_api import RUN, Api, delta, event, running

FAST = Timing(poll_s=0.02, behind_s=0.1, quiet_s=5, backoff_s=0.02)
OTHER = RUN.replace("jd", "jx")


def send(connection, *messages):
    for message in messages:
        connection.send(json.dumps(message))


def answered(command, **data):
    data = {"request_id": command["request_id"], "action": command["action"], **data}
    return {"event": "ack", "run_id": command.get("run_id", ""), "head": 0, "data": data}


def refused(command, code, **more):
    data = {"request_id": command["request_id"], "code": code, "message": "no", "retryable": False}
    return {"event": "error", "data": {**data, **more}}


def two_runs(api, connection, _):
    """Starts a run when it is subscribed, ends it when it is cancelled."""
    try:
        while True:
            command = api.command(connection)
            run_id = command.get("run_id")
            if command["action"] == "jump":
                send(connection, refused(command, "unknown_action"))
            elif run_id not in (RUN, OTHER):
                send(connection, refused(command, "not_found"))
            else:
                send(connection, answered(command))
                seq, name = {"subscribe": (1, "run.started"), "cancel": (2, "run.cancelled")}[
                    command["action"]
                ]
                send(connection, {**event(seq, name), "run_id": run_id})
    except Exception:
        return


EXPECTED = [
    (RUN, "run.cancelled"), (RUN, "run.started"), (OTHER, "run.cancelled"),
    (OTHER, "run.started"), ("run_c", "client.error"),
]  # fmt: skip


@contextmanager
def client_of(api, kind=Client, **timing):
    with running(api):
        yield kind(api.http_url, api.ws_url, api.token, timing=replace(FAST, **timing))


def test_two_runs_and_commands_on_one_socket():
    api = Api(two_runs)
    with client_of(api) as client, client, client.live() as live:
        for run_id in (RUN, OTHER, "run_c"):
            live.watch(run_id)
        seen = []
        for message in live.messages():
            seen.append((message["run_id"], message["event"]))
            if message["event"] == "run.started":
                ack = live.command("cancel", run_id=message["run_id"])
                assert ack["data"]["action"] == "cancel"
                with pytest.raises(errors.InvalidRequest):
                    live.command("jump")
    assert sorted(seen) == sorted(EXPECTED)
    assert api.connections == 1


def test_two_runs_and_commands_on_one_socket_awaited():
    async def run(client):
        seen = []
        async with client, client.live() as live:
            for run_id in (RUN, OTHER, "run_c"):
                live.watch(run_id)
            async for message in live.messages():
                seen.append((message["run_id"], message["event"]))
                if message["event"] == "run.started":
                    await live.command("cancel", run_id=message["run_id"])
        return seen

    api = Api(two_runs)
    with client_of(api, AsyncClient) as client:
        assert sorted(asyncio.run(run(client))) == sorted(EXPECTED)
    assert api.connections == 1


def test_a_run_that_is_unwatched_says_no_more():
    api = Api(two_runs)
    with client_of(api) as client, client, client.live() as live:
        live.watch(RUN)
        for message in live.messages():
            assert message["event"] == "run.started"
            live.unwatch(RUN)


def test_a_command_without_a_socket_is_unavailable():
    api = Api(None)
    with (
        client_of(api) as client,
        client,
        client.live() as live,
        pytest.raises(errors.Unavailable, match="no WebSocket address"),
    ):
        live.command("cancel", run_id=RUN)


def test_a_command_on_a_socket_that_breaks_says_that_nobody_knows():
    def behave(api, connection, _):
        api.command(connection)
        connection.close()

    with (
        client_of(Api(behave)) as client,
        client,
        client.live() as live,
        pytest.raises(errors.Unavailable, match="may have been carried out"),
    ):
        live.command("cancel", run_id=RUN)


def slowly(api, connection, _):
    send(connection, answered(api.command(connection)), event(1, "run.started"))
    for at in range(40):
        send(connection, delta("a", at * 2, "🦊 ", head=1))
        time.sleep(0.005)
    send(connection, event(2, "run.completed"))
    time.sleep(0.2)


def check_batches(batches, took):
    assert 2 <= len(batches) <= 2 + took / 0.05
    transcript = Transcript()
    for batch in batches:
        assert sum(message["event"] == "text.delta" for message in batch) <= 1
        for message in batch:
            transcript.apply(message)
    assert transcript.text("a") == "🦊 " * 40
    assert batches[-1][-1]["event"] == "run.completed"


def test_batches_come_no_faster_than_asked_for():
    with client_of(Api(slowly)) as client, client:
        begin = time.monotonic()
        batches = list(client.batches(RUN, every_s=0.05))
        check_batches(batches, time.monotonic() - begin)


def test_batches_awaited():
    async def run(client):
        async with client:
            return [batch async for batch in client.batches(RUN, every_s=0.05)]

    with client_of(Api(slowly), AsyncClient) as client:
        begin = time.monotonic()
        batches = asyncio.run(run(client))
        check_batches(batches, time.monotonic() - begin)


def test_a_batch_has_one_piece_of_each_stream_between_two_of_its_gaps():
    gap = delta("a", 0, "")
    gap = {**gap, "event": "client.gap", "data": {**gap["data"], "offset": 2, "length": 2}}
    started = event(2, "node.started", "b")
    batch = merged([
        delta("a", 0, "a"), started, delta("b", 0, "x"), delta("a", 1, "b"), gap,
        delta("a", 4, "e"), delta("a", 5, "f"), delta("b", 1, "y"),
    ])  # fmt: skip
    assert batch == [delta("a", 0, "ab"), started, delta("b", 0, "xy"), gap, delta("a", 4, "ef")]
    assert merged([]) == []


def test_a_token_may_be_a_function_asked_each_time():
    tokens = iter(["wrong", "secret"])
    with (
        running(api := Api(None, events=[event(1, "run.completed")])),
        Client(api.http_url, "", lambda: next(tokens)) as client,
    ):
        with pytest.raises(errors.Unauthorized):
            client.events(RUN)
        assert len(client.events(RUN)) == 1


def test_a_caller_who_breaks_off_leaves_nothing_behind():
    with client_of(Api(two_runs)) as client, client:
        for _ in range(3):
            messages = client.follow(RUN)
            assert next(messages)["event"] == "run.started"
            messages.close()


def test_text_that_cannot_be_had_is_told():
    ended = event(3, "node.completed", "a", attempt=1, streams={"text": {"length": 9}})

    def behave(api, connection, _):
        send(connection, answered(api.command(connection)), event(1, "run.started"))
        send(connection, event(2, "node.started", "a", attempt=1))
        send(connection, delta("a", 0, "one"), delta("a", 7, "wo"), ended)
        send(connection, event(4, "run.completed"))
        time.sleep(0.5)

    api = Api(behave)
    with client_of(api) as client, client:
        messages = list(client.follow(RUN))
    transcript = Transcript()
    for message in messages:
        transcript.apply(message)
    assert transcript.text("a") == "one[…]wo"
    [gap] = [message for message in messages if message["event"] == "client.gap"]
    assert gap["data"] == {
        "attempt": 1, "stream": "text", "offset": 3, "length": 4, "reason": "not_stored",
    }  # fmt: skip
    assert [m["seq"] for m in messages if "seq" in m] == [1, 2, 3, 4]
