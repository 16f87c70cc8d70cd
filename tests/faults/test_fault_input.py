"""Whatever clients send or leave undone has its answer, and the run and its viewers go on."""

from __future__ import annotations

import base64
import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from kit.api import ENDINGS
from kit.judge import until
from kit.lab import FOUR, Lab, four
from kit.people import Person, Socket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

pytestmark = [pytest.mark.stack, pytest.mark.faults]

ABSENT = "run_" + "0" * 26
ROUNDS = 3


def subscribe(**fields: Any) -> dict[str, Any]:
    return {"action": "subscribe", "request_id": "r", "run_id": "MINE", **fields}


COMMANDS: list[tuple[str | dict[str, Any], str]] = [
    ("{", "invalid_request"),
    ("[1, 2]", "invalid_request"),
    ('"text"', "invalid_request"),
    ('{"action": "ping", "request_id": "r", "n": Infinity}', "invalid_request"),
    ("[" * 5_000, "invalid_request"),
    ("\x00\ud7ff￿", "invalid_request"),
    ({"action": "ping", "request_id": ""}, "invalid_request"),
    ({"action": "subscribe", "request_id": "r", "run_id": None}, "invalid_request"),
    ({"action": "sub scribe", "request_id": "r"}, "unknown_action"),
    ({"action": "$default", "request_id": "r"}, "unknown_action"),
    ({"action": ["ping"], "request_id": "r"}, "unknown_action"),
    ({"action": "ping", "request_id": "r", "filler": "x" * 131_072}, "too_large"),
    ({"action": "subscribe", "request_id": "r", "run_id": ABSENT}, "not_found"),
    ({"action": "subscribe", "request_id": "r", "run_id": "FOREIGN"}, "not_found"),
    ({"action": "cancel", "request_id": "r", "run_id": "FOREIGN"}, "not_found"),
    ({"action": "pause", "request_id": "r", "run_id": "FOREIGN"}, "not_found"),
    ({"action": "resume", "request_id": "r", "run_id": "MINE"}, "conflict"),
    (subscribe(after_seq=10**6), "cursor_ahead"),
    (subscribe(after_seq=1.5), "invalid_request"),
    (subscribe(after_seq=10**30), "invalid_request"),
    (subscribe(offsets={"a||1|text": 10**6}), "ack"),
    (subscribe(offsets={"||": 7, "": 0}), "ack"),
    ({"action": "start", "request_id": "r" * 65, "workflow_id": "x"}, "invalid_request"),
]

REQUESTS: list[tuple[str, str, bytes | dict[str, Any] | None, int, str]] = [
    ("POST", "/runs", b"{", 400, "invalid_request"),
    ("POST", "/runs", b"[]", 400, "invalid_request"),
    ("POST", "/runs", b'{"workflow_id": 1e999}', 400, "invalid_request"),
    ("POST", "/runs", b"[" * 5_000, 400, "invalid_request"),
    ("POST", "/runs", {"workflow_id": "wf_" + "0" * 24}, 404, "not_found"),
    ("POST", "/runs", {"workflow_id": "x", "more": 1}, 400, "invalid_request"),
    ("POST", "/workflows", {"source": "nodes: ["}, 422, "invalid_workflow"),
    ("POST", "/runs", b'{"workflow_id": "' + b"x" * 5_300_000 + b'"}', 413, "too_large"),
    ("PUT", "/runs", None, 405, "method_not_allowed"),
    ("GET", "/nothing", None, 404, "not_found"),
    ("GET", f"/runs/{ABSENT}", None, 404, "not_found"),
    ("GET", "/runs/..%2f..%2fMINE", None, 404, "not_found"),
    ("GET", "/runs/FOREIGN", None, 404, "not_found"),
    ("GET", "/runs/FOREIGN/events?wait=10", None, 404, "not_found"),
    ("POST", "/runs/FOREIGN/cancel", None, 404, "not_found"),
    ("GET", "/runs/MINE/events?after_seq=1000000", None, 409, "cursor_ahead"),
    ("GET", "/runs/MINE/events?after_seq=-1", None, 400, "invalid_request"),
    ("GET", "/runs/MINE/events?after_seq=x", None, 400, "invalid_request"),
    ("GET", "/runs/MINE/events?wait=11", None, 400, "invalid_request"),
    ("GET", "/runs/MINE/events?last_event_id=1000000;", None, 409, "cursor_ahead"),
    ("GET", "/runs/MINE/events?last_event_id=1;9/9", None, 400, "invalid_request"),
    ("GET", "/runs/MINE/texts?cursor=x", None, 400, "invalid_request"),
    ("GET", "/runs?cursor=x", None, 400, "invalid_request"),
]


def named(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str):
        for name, run_id in names.items():
            value = value.replace(name, run_id)
    if isinstance(value, dict):
        return {key: names.get(v, v) if isinstance(v, str) else v for key, v in value.items()}
    return value


def storm_of_commands(opened: Socket, names: dict[str, str]) -> list[str]:
    """Sends all; returns what was answered otherwise, or not once."""
    wrong = []
    for sent, expected in COMMANDS:
        message = named(sent, names)
        answer = opened.raw(message if isinstance(message, str) else json.dumps(message))
        found = answer["data"].get("code", answer["event"])
        number = uuid.uuid4().hex
        pong = opened.raw(json.dumps({"action": "ping", "request_id": number}))
        # The very next answer is that of the next command: there was only one.
        if (found, pong["data"].get("request_id")) != (expected, number):
            wrong.append(f"{str(sent)[:80]}: {found} instead of {expected}, then {pong['event']}")
    return wrong


def storm_of_requests(person: Person, names: dict[str, str]) -> list[str]:
    wrong = []
    for method, path, body, status, code in REQUESTS:
        content = body if isinstance(body, bytes) else json.dumps(body).encode() if body else None
        answer = httpx.request(
            method,
            person.stack.http_api_url + named(path, names),
            headers={**person.headers, "Content-Type": "application/json"},
            content=content,
            timeout=30,
            trust_env=False,
        )
        found = (answer.status_code, answer.json().get("error", {}).get("code"))
        if found != (status, code):
            wrong.append(f"{method} {path} {str(body)[:40]}: {answer.status_code} {answer.text}")
    return wrong


def refused(lab: Lab, query: str) -> int:
    with pytest.raises(InvalidStatus) as found:
        connect(f"{lab.stack.websocket_url}{query}", proxy=None)
    return found.value.response.status_code


@contextmanager
def never_reading(lab: Lab, run_id: str) -> Iterator[None]:
    """Somebody who subscribes to a run and takes nothing of it, with little room on the way."""
    url = urlsplit(lab.stack.websocket_url)
    assert url.hostname
    with socket.socket() as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        silent.connect((url.hostname, url.port or 80))
        key = base64.b64encode(os.urandom(16)).decode()
        head = (
            f"GET {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Authorization: Bearer {lab.person.token}\r\n\r\n"
        )
        silent.sendall(head.encode())
        assert silent.recv(12) == b"HTTP/1.1 101"
        body = json.dumps({"action": "subscribe", "request_id": "1", "run_id": run_id}).encode()
        mask = os.urandom(4)
        masked = bytes(b ^ mask[i % 4] for i, b in enumerate(body))
        silent.sendall(bytes([0x81, 0x80 | len(body)]) + mask + masked)
        yield


def test_a_run_goes_on_in_a_storm(lab: Lab) -> None:
    entries, truth = four(30)
    workflow_id = lab.publish(FOUR)
    stranger = Person(lab.stack, f"stranger-{uuid.uuid4().hex[:6]}")
    run = lab.make(workflow_id, cassette=entries)
    names = {"MINE": run.run_id, "FOREIGN": stranger.start(FOUR, cassette=entries)}
    viewer, script = lab.scene(run.run_id), lab.scene(run.run_id)
    used = lab.person.ticket()
    with (
        lab.following(viewer),
        lab.following_in_javascript(script),
        lab.person.socket(ticket=used) as opened,
        never_reading(lab, run.run_id),
    ):
        run.begin(viewers=3)
        wrong = storm_of_commands(opened, names) + storm_of_requests(lab.person, names)
        assert [refused(lab, q) for q in (f"?ticket={used}", "?ticket=jt_x", "")] == [403] * 3
        assert not wrong, "\n".join(wrong)
        assert opened.send("subscribe", run_id=run.run_id)["event"] == "ack"
        assert opened.send("ping")["event"] == "pong"
    lab.ended(run.run_id).judge(truth, viewer.seen, script.seen)
    assert stranger.wait(names["FOREIGN"], "completed")["outputs"] == truth.outputs


def test_tokens_and_tickets_end_while_a_run_goes_on(lab: Lab) -> None:
    entries, truth = four(60)
    run_id = lab.start(lab.publish(FOUR), cassette=entries)
    viewer = lab.scene(run_id)
    late = lab.person.ticket()
    guest = Person(lab.stack, lab.person.owner, lasts_s=3)
    begun = time.monotonic()
    with lab.following(viewer), guest.socket() as opened:
        assert opened.send("subscribe", run_id=run_id)["event"] == "ack"
        until(lambda: opened.send("ping")["event"] == "error")
        assert opened.send("cancel", run_id=run_id)["data"]["code"] == "unauthorized"
        until(lambda: guest.call("GET", "/runs").status_code == 403)
        assert guest.call("POST", f"/runs/{run_id}/cancel").status_code == 403
    lab.ended(run_id).judge(truth, viewer.seen)
    time.sleep(max(0.0, begun + 31 - time.monotonic()))
    assert refused(lab, f"?ticket={late}") == 403
    path = f"{lab.stack.http_api_url}/runs/{run_id}/events?ticket={late}"
    assert httpx.get(path, trust_env=False).status_code == 401


def test_many_who_never_read_do_not_hold_a_run(lab: Lab) -> None:
    entries, truth = four(200, 100)
    workflow_id = lab.publish(FOUR)

    def duration(silent: int) -> float:
        run = lab.make(workflow_id, cassette=entries)
        viewer = lab.scene(run.run_id)
        with lab.following(viewer):
            ways = [never_reading(lab, run.run_id) for _ in range(silent)]
            for way in ways:
                way.__enter__()
            run.begin(viewers=1 + silent)
        for way in ways:
            way.__exit__(None, None, None)
        ended = lab.ended(run.run_id).judge(truth, viewer.seen)
        return float(ended.log[-1]["data"]["duration_ms"]) / 1000

    duration(0)
    alone, beside = duration(0), duration(6)
    assert beside < alone * 1.5 + 3


def test_again_and_again_on_one_socket(lab: Lab) -> None:
    entries, _ = four(10)
    stranger = Person(lab.stack, f"stranger-{uuid.uuid4().hex[:6]}")
    mine = lab.start(lab.publish(FOUR), cassette=entries)
    names = {"MINE": mine, "FOREIGN": stranger.start(FOUR, cassette=entries)}
    ended = lab.ended(mine)
    assert ended.log[-1]["event"] in ENDINGS
    with lab.person.socket() as opened:
        for _ in range(ROUNDS):
            wrong = storm_of_commands(opened, names)
            # A run that has ended is no other thing.
            assert [row for row in wrong if "'resume'" not in row] == []
            assert storm_of_requests(lab.person, names) == []
