"""Many viewers of one run on the local stack: the first are live, the others are told to pull."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from kit.people import Person, Socket
from kit.texts import heard

from joinery import limits

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack

TALKS = """\
version: 1
name: watched
nodes:
  talk: {type: llm, prompt: hi}
edges: [start -> talk -> end]
outputs: {text: "{{ nodes.talk.text }}"}
"""
TALK = [{"node": "talk", "text": "word 🌿 " * 120, "tokens_per_second": 30}]


@pytest.mark.faults
def test_the_first_viewers_are_live_and_the_others_are_told_to_pull(stack: LocalStack) -> None:
    ada = Person(stack, "ada")
    run_id = ada.start(TALKS, cassette=TALK)
    with ExitStack() as opened:
        sockets = [opened.enter_context(ada.socket()) for _ in range(limits.LIVE_VIEWERS + 2)]
        acks = [socket.send("subscribe", run_id=run_id)["data"] for socket in sockets]
        assert [ack["live"] for ack in acks] == [True] * limits.LIVE_VIEWERS + [False] * 2
        assert acks[-1]["events"] == 0
        # One of the first leaves, so one of the others moves up, text and all.
        assert sockets[0].send("unsubscribe", run_id=run_id)["event"] == "ack"
        moved, waiting = sockets[-2:]
        assert moved.next(lambda m: m["event"] == "text.delta")["data"]["offset"] == 0
        heard: list[dict[str, Any]] = []
        for socket in (sockets[1], moved):
            socket.next(lambda m: m["event"] == "run.completed")
        head = ada.call("GET", f"/runs/{run_id}").json()["head"]
        waiting.next(lambda m: bool(heard.append(m)) or m["head"] == head)
    assert {m["event"] for m in heard} == {"hint"}
    # What a hint asks for is all there.
    page = ada.call("GET", f"/runs/{run_id}/events?text=true").json()
    assert page["next_after_seq"] == head
    assert "".join(d["data"]["text"] for d in page["deltas"]) == TALK[0]["text"]


def test_a_viewer_that_never_reads_does_not_hold_the_run(stack: LocalStack) -> None:
    ada = Person(stack, "ada")
    text = TALK[0]["text"][: 7 * 50]
    run_id = ada.start(TALKS, cassette=[{**TALK[0], "text": text}])
    with ada.socket() as silent, ada.socket() as reading:
        silent.connection.send(
            json.dumps({"action": "subscribe", "request_id": "1", "run_id": run_id})
        )
        assert reading.send("subscribe", run_id=run_id)["event"] == "ack"
        assert text_of(reading) == text


def text_of(socket: Socket) -> str:
    messages: list[dict[str, Any]] = []
    socket.next(lambda m: bool(messages.append(m) or m["event"] == "run.completed"))
    return heard(messages)
