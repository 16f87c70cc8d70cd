"""A model whose tokens say when they were made, and a viewer who reads how old they are."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ENDINGS = {"run.completed", "run.failed", "run.cancelled", "run.timed_out"}


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
            self._send({"choices": [{"index": 0, "delta": {"content": f"{time.time():.3f} "}}]})
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


class Viewer:
    """Watches one run over a socket and notes the age of each token as it arrives.

    Args:
        connection: An open WebSocket.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._texts: dict[tuple[str, str, int], str] = {}
        self.ages: list[float] = []

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
        self.ages += [now - float(stamp) for stamp in (held + fresh).split(" ")[known:-1]]
