"""A model whose tokens say when they were made, and a viewer who reads how old they are."""

from __future__ import annotations

import json
import os
import string
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import connect

from joinery.compiler.opt import DEFAULT_OPT
from joinery_cli import local

ENDINGS = {"run.completed", "run.failed", "run.cancelled", "run.timed_out"}


_DIGITS = string.digits + string.ascii_letters + "-_"
_WINDOW_MS = len(_DIGITS) ** 3


def _stamp(at: float) -> str:
    """Returns milliseconds in three characters: with its blank as long as a usual token, four."""
    left, digits = round(at * 1000) % _WINDOW_MS, ""
    for _ in range(3):
        left, digit = divmod(left, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits


def _since(stamp: str, at: float) -> float:
    """Returns how long before `at` a stamp was made, in seconds, up to four minutes."""
    then = 0
    for digit in stamp:
        then = then * len(_DIGITS) + _DIGITS.index(digit)
    # What was rounded up is no four minutes old.
    past = (round(at * 1000) - then + 1) % _WINDOW_MS
    return (past - 1) / 1000


class _Handler(BaseHTTPRequestHandler):
    """Answers the prompt `<tokens> <tokens a second>` as an OpenAI-compatible stream."""

    def do_POST(self) -> None:
        """Streams one stamp a token."""
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        count, rate = (int(word) for word in asked["messages"][-1]["content"].split())
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        begun = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, begun + number / rate - time.monotonic()))
            self._send({"choices": [{"index": 0, "delta": {"content": f"{_stamp(time.time())} "}}]})
        self._send({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self._send({"choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": count}})
        self.wfile.write(b"data: [DONE]\n\n")

    def _send(self, message: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(message).encode() + b"\n\n")
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def stamping_model() -> Iterator[str]:
    """Serves the model; yields its base address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


_URL, _NAME = "JOINERY_MODEL_BASE_URL", "JOINERY_MODEL_NAME"


@contextmanager
def stamping_stack() -> Iterator[local.LocalStack]:
    """Starts a stack of its own whose model is the one above."""
    with stamping_model() as url, tempfile.TemporaryDirectory() as home:
        before = {name: os.environ.get(name) for name in (_URL, _NAME)}
        os.environ.update({_URL: url, _NAME: "stamps"})
        try:
            yield local.up(lambda _step, _detail: None, model=False, home=Path(home))
        finally:
            local.down(home=Path(home))
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


# -- runs ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Age:
    """How old a token was when it arrived, and how far into its text (both in seconds)."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Ran:
    """What `GET /runs/{run_id}/cost` says of a run, its time, and the ages of its tokens."""

    cost: dict[str, Any]
    seconds: float
    ages: list[Age]


@contextmanager
def caller(stack: local.LocalStack) -> Iterator[httpx.Client]:
    """Opens the HTTP API as the stack's user."""
    headers = {"Authorization": f"Bearer {stack.token}"}
    with httpx.Client(
        base_url=stack.http_api_url, headers=headers, timeout=30, trust_env=False
    ) as http:
        yield http


def time_of(http: httpx.Client, run_id: str) -> float:
    """Returns how long a run took that has ended, in seconds."""
    run = http.get(f"/runs/{run_id}?results=false").json()
    begun, ended = (datetime.fromisoformat(run[name]) for name in ("created_at", "ended_at"))
    return (ended - begun).total_seconds()


def publish(http: httpx.Client, source: str, opt: int = DEFAULT_OPT) -> str:
    """Publishes a workflow and returns its id."""
    answer = http.post("/workflows", json={"source": source, "opt": opt}).raise_for_status()
    return str(answer.json()["workflow_id"])


def run_watched(stack: local.LocalStack, source: str, *, opt: int = DEFAULT_OPT) -> Ran:
    """Runs a workflow to its end with one viewer, who reads everything."""
    headers = {"Authorization": f"Bearer {stack.token}"}
    with caller(stack) as http:
        workflow = publish(http, source, opt)
        with connect(stack.websocket_url, additional_headers=headers, proxy=None) as connection:
            viewer = Viewer(connection)
            run_id = http.post("/runs", json={"workflow_id": workflow}).json()["run_id"]
            viewer.watch(run_id)
        # The line that counts the calls of the last invocation comes after its end.
        time.sleep(1)
        cost = http.get(f"/runs/{run_id}/cost").json()
        return Ran(cost, time_of(http, run_id), viewer.ages)


class Viewer:
    """Watches one run over a socket and notes the age of each token as it arrives.

    Args:
        connection: An open WebSocket.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._texts: dict[tuple[str, str, int], str] = {}
        self._begun: dict[tuple[str, str, int], str] = {}
        self.ages: list[Age] = []

    def watch(self, run_id: str) -> None:
        """Reads until the run has ended."""
        command = {"action": "subscribe", "request_id": "1", "run_id": run_id}
        self._connection.send(json.dumps(command))
        while True:
            message = json.loads(self._connection.recv(timeout=120))
            if message["event"] == "text.delta" and message["node_id"].startswith("talk"):
                self._take(message)
            if message["event"] in ENDINGS:
                return

    def _take(self, delta: dict[str, Any]) -> None:
        now, data = time.time(), delta["data"]
        place = (delta["node_id"], delta["path"], data["attempt"])
        held = self._texts.get(place, "")
        end = data["offset"] + len(data["text"])
        if data["offset"] > len(held) or end <= len(held):
            return
        fresh = data["text"][len(held) - data["offset"] :]
        self._texts[place] = held + fresh
        # A delta may end within a stamp: that one counts when it is whole.
        known = held.count(" ")
        for stamp in (held + fresh).split(" ")[known:-1]:
            begun, age = self._begun.setdefault(place, stamp), _since(stamp, now)
            self.ages.append(Age(_since(begun, now) - age, age))
