"""A real HTTP server on loopback that speaks like a model, or misbehaves as a test says."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behaviour = Callable[["Answer"], None]


@dataclass
class Answer:
    """One request and the means to answer it."""

    handler: BaseHTTPRequestHandler
    path: str
    headers: dict[str, str]
    body: Any
    closed: threading.Event

    def send(self, status: int, body: Any, **headers: str) -> None:
        data = json.dumps(body).encode()
        self.handler.send_response(status)
        for name, value in headers.items():
            self.handler.send_header(name.replace("_", "-"), value)
        self.handler.send_header("content-type", "application/json")
        self.handler.send_header("content-length", str(len(data)))
        self.handler.end_headers()
        self.handler.wfile.write(data)

    def begin(self) -> None:
        self.handler.send_response(200)
        self.handler.send_header("content-type", "text/event-stream")
        self.handler.send_header("connection", "close")
        self.handler.end_headers()
        self.handler.wfile.flush()

    def raw(self, data: bytes) -> None:
        self.handler.wfile.write(data)
        self.handler.wfile.flush()

    def chunk(self, content: str | None = None, **more: Any) -> None:
        delta = {} if content is None else {"content": content}
        choice = {"index": 0, "delta": {**delta, **more.pop("delta", {})}, **more}
        self.raw(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")

    def usage(self, read: int, written: int) -> None:
        told = {"choices": [], "usage": {"prompt_tokens": read, "completion_tokens": written}}
        self.raw(b"data: " + json.dumps(told).encode() + b"\n\n")

    def done(self) -> None:
        self.raw(b"data: [DONE]\n\n")

    def hang(self, seconds: float = 20) -> None:
        """Says nothing until the client leaves or the time is over."""
        end = time.monotonic() + seconds
        self.handler.connection.settimeout(0.05)
        while time.monotonic() < end:
            try:
                if not self.handler.connection.recv(1, socket.MSG_PEEK):
                    self.closed.set()
                    return
            except TimeoutError:
                continue
            except OSError:
                self.closed.set()
                return


@dataclass
class ModelServer:
    """Where the server is, and what it was asked."""

    url: str
    requests: list[Answer] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)


@contextmanager
def model_server(behave: Behaviour, port: int = 0) -> Iterator[ModelServer]:
    """Serves until the block ends."""
    state = ModelServer("")

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            answer = Answer(self, self.path, dict(self.headers), body, state.closed)
            state.requests.append(answer)
            try:
                behave(answer)
            except OSError:
                state.closed.set()

        do_POST = do_GET = _answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = False
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
