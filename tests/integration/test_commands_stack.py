"""Whatever is sent over a real socket is answered once, and the next command works."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from kit.people import Person, Socket, until
from kit.texts import Heard
from kit.texts import heard as text_of

from joinery.events.types import ACTIONS

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack

ABSENT = "run_" + "0" * 26
NO_WORKFLOW = "wf_" + "0" * 24

TALKS = """\
version: 1
name: talks
inputs:
  who: {type: string, default: nobody}
nodes:
  talk: {type: llm, prompt: "{{ inputs.who }}"}
edges: [start -> talk -> end]
outputs: {text: "{{ nodes.talk.text }}"}
"""
TALK = [{"node": "talk", "text": "word 🌿 " * 100, "tokens_per_second": 60}]


@pytest.fixture(scope="module")
def ada(stack: LocalStack) -> Person:
    return Person(stack, f"ada-{uuid.uuid4().hex[:6]}")


@pytest.fixture(scope="module")
def bob(stack: LocalStack) -> Person:
    return Person(stack, f"bob-{uuid.uuid4().hex[:6]}")


@pytest.fixture(scope="module")
def names(ada: Person, bob: Person) -> dict[str, str]:
    """What stands for what in the table below."""
    made = {}
    for who, person in (("MINE", ada), ("THEIRS", bob)):
        published = person.call("POST", "/workflows", {"source": TALKS}).json()
        made[f"{who}_WORKFLOW"] = published["workflow_id"]
        made[who] = person.start(TALKS, cassette=[{**TALK[0], "tokens_per_second": 2_000}])
        person.wait(made[who], "completed")
    return made


@pytest.fixture(scope="module")
def socket(ada: Person) -> Iterator[Socket]:
    """One socket for the whole table: nothing in it may close it."""
    with ada.socket() as opened:
        yield opened


def start(**fields: Any) -> dict[str, Any]:
    return {"action": "start", "request_id": "12345678", "workflow_id": "MINE_WORKFLOW", **fields}


def command(action: str, **fields: Any) -> dict[str, Any]:
    return {"action": action, "request_id": "r", **fields}


TABLE: list[tuple[str | dict[str, Any], str]] = [
    # What is no command.
    (" ", "invalid_request"),
    ("nonsense", "invalid_request"),
    ("[]", "invalid_request"),
    ('{"action": "ping", "request_id": "r"', "invalid_request"),
    ('{"action": "ping", "request_id": "r", "x": NaN}', "invalid_request"),
    ({"action": "ping"}, "invalid_request"),
    ({"action": "ping", "request_id": 7}, "invalid_request"),
    ({"action": "ping", "request_id": "x" * 65}, "invalid_request"),
    ({"request_id": "r"}, "unknown_action"),
    (command("dance"), "unknown_action"),
    (command("$connect"), "unknown_action"),
    (command("ping", filler="x" * 131_072), "too_large"),
    # subscribe
    (command("subscribe"), "invalid_request"),
    (command("subscribe", run_id=7), "invalid_request"),
    (command("subscribe", run_id="x"), "not_found"),
    (command("subscribe", run_id="MINE", after_seq=-1), "invalid_request"),
    (command("subscribe", run_id="MINE", after_seq="1"), "invalid_request"),
    (command("subscribe", run_id="MINE", after_seq=10**11), "invalid_request"),
    (command("subscribe", run_id="MINE", after_seq=9_999), "cursor_ahead"),
    (command("subscribe", run_id="MINE", offsets=[1]), "invalid_request"),
    (command("subscribe", run_id="MINE", offsets={"talk||1|text": -1}), "invalid_request"),
    (command("subscribe", run_id="MINE", offsets={"talk||1|text": 10**9}), "ack"),
    (command("subscribe", run_id="MINE", offsets={"nobody": 3}), "ack"),
    (command("subscribe", run_id="MINE"), "ack"),
    # unsubscribe
    (command("unsubscribe"), "invalid_request"),
    (command("unsubscribe", run_id="MINE"), "ack"),
    (command("unsubscribe", run_id="MINE"), "ack"),
    # cancel
    (command("cancel"), "invalid_request"),
    (command("cancel", run_id="MINE"), "conflict"),
    # pause, resume
    (command("pause"), "invalid_request"),
    (command("pause", run_id="MINE"), "conflict"),
    (command("resume"), "invalid_request"),
    (command("resume", run_id="MINE"), "conflict"),
    # ping
    (command("ping"), "pong"),
    (command("ping", run_id="MINE"), "pong"),
    # start
    (start(request_id="r"), "invalid_request"),
    (start(workflow_id=7), "invalid_request"),
    (start(workflow_id=NO_WORKFLOW), "not_found"),
    (start(workflow_id="THEIRS_WORKFLOW"), "not_found"),
    (start(version=99), "not_found"),
    (start(version="1"), "invalid_request"),
    (start(inputs=[]), "invalid_request"),
    (start(inputs={"nobody": 1}), "invalid_input"),
    (start(session_id="a b"), "invalid_request"),
    (start(model="nobody:x"), "invalid_request"),
    (start(cassette=[{"node": 1}]), "invalid_request"),
    (start(subscribe="yes"), "invalid_request"),
]


def named(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            key: names.get(held, held) if isinstance(held, str) else held
            for key, held in value.items()
        }
    return value


@pytest.mark.parametrize(("sent", "expected"), TABLE)
def test_every_command_is_answered_once_and_the_next_one_works(
    socket: Socket, names: dict[str, str], sent: str | dict[str, Any], expected: str
) -> None:
    message = named(sent, names)
    answer = socket.raw(message if isinstance(message, str) else json.dumps(message))
    assert answer["data"].get("code", answer["event"]) == expected
    if isinstance(message, dict) and isinstance(given := message.get("request_id"), str):
        assert answer["data"]["request_id"] == (given if 0 < len(given) <= 64 else None) or (
            expected == "too_large"
        )
    # The very next answer is that of the next command: there was only one.
    number = uuid.uuid4().hex
    pong = socket.raw(json.dumps({"action": "ping", "request_id": number}))
    assert (pong["event"], pong["data"]["request_id"]) == ("pong", number)


def test_a_run_is_started_and_seen_from_its_first_event_on(ada: Person, names: Any) -> None:
    key = uuid.uuid4().hex
    heard: list[dict[str, Any]] = []
    with ada.socket() as socket:
        fields = {"workflow_id": names["MINE_WORKFLOW"], "inputs": {"who": "Ada"}}
        begin = {"action": "start", "request_id": key, "cassette": TALK, **fields}
        socket.connection.send(json.dumps(begin))
        socket.next(lambda m: heard.append(m) or m["event"] == "run.completed")
        [ack] = [m for m in heard if m["event"] == "ack"]
        assert ack["data"]["created"] is True
        again = socket.raw(json.dumps(begin))
        assert (again["run_id"], again["data"]["created"]) == (ack["run_id"], False)
    seqs = {m["seq"] for m in heard if "seq" in m}
    assert seqs == set(range(1, max(seqs) + 1))
    assert text_of(heard) == TALK[0]["text"]
    over_http = ada.call(
        "POST", "/runs", {"cassette": TALK, **fields}, headers={"Idempotency-Key": key}
    )
    assert (over_http.status_code, over_http.json()["run_id"]) == (200, ack["run_id"])


def test_several_runs_on_one_socket(ada: Person) -> None:
    runs = [ada.start(TALKS, cassette=TALK) for _ in range(3)]
    ended: set[str] = set()
    texts = {run_id: Heard() for run_id in runs}
    with ada.socket() as socket:
        for run_id in runs:
            assert socket.send("subscribe", run_id=run_id)["event"] == "ack"
        assert socket.send("unsubscribe", run_id=runs[2])["event"] == "ack"

        def over(message: dict[str, Any]) -> bool:
            run_id = message["run_id"]
            if message["event"] == "text.delta":
                texts[run_id].add(message["data"])
            if message["event"] == "run.completed":
                ended.add(run_id)
            return {runs[0], runs[1]} <= ended

        socket.next(over)
    assert texts[runs[0]].text == texts[runs[1]].text == TALK[0]["text"]
    assert runs[2] not in ended


def test_a_socket_whose_token_has_ended_stays_open_and_says_so(stack: LocalStack) -> None:
    guest = Person(stack, "guest", lasts_s=4)
    with guest.socket() as socket:
        until(lambda: socket.send("ping")["event"] == "error")
        said = {"value": "x", "request_id": "0123456789abcdef"}
        for action in set(ACTIONS) - {"start"}:
            more = said if action == "input" else {}
            assert socket.send(action, run_id=ABSENT, **more)["data"]["code"] == "unauthorized"
        assert socket.raw(json.dumps(start()))["data"]["code"] == "unauthorized"
