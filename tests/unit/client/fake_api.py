"""A small API of its own: real HTTP, real sockets, and whatever misbehaviour a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from websockets.sync.server import ServerConnection, serve

RUN = "run_01jd0000000000000000000000"


def event(seq, name, node_id=None, path="", head=None, **data):
    message = {
        "v": 1,
        "event": name,
        "run_id": RUN,
        "seq": seq,
        "head": head or seq,
        "timestamp": "2026-01-01T00:00:00.000Z",
        "data": data,
    }
    if node_id:
        message |= {"node_id": node_id, "path": path}
    return message


def delta(node_id, offset, text, *, path="", attempt=1, stream="text", head=0):
    return {
        "v": 1,
        "event": "text.delta",
        "run_id": RUN,
        "head": head,
        "timestamp": "2026-01-01T00:00:00.000Z",
        "node_id": node_id,
        "path": path,
        "data": {"attempt": attempt, "stream": stream, "offset": offset, "text": text},
    }


def ack(command, head=0):
    return {
        "v": 1,
        "event": "pong" if command["action"] == "ping" else "ack",
        "run_id": command["run_id"],
        "head": head,
        "data": {"request_id": command["request_id"]},
    }


@dataclass
class Api:
    """What the API has stored, what it was asked, and how its sockets behave."""

    behave: Callable[[Api, ServerConnection, int], None] | None = None
    events: list = field(default_factory=list)
    texts: list = field(default_factory=list)
    answers: dict = field(default_factory=dict)
    """Answers to other requests, by `(method, path)`: lists of `(status, body)`."""
    requests: list = field(default_factory=list)
    commands: list = field(default_factory=list)
    connections: int = 0
    page: int = 4
    """Rows of text in one page."""
    http_url: str = ""
    ws_url: str = ""
    token: str = "secret"

    def on_socket(self, connection):
        self.connections += 1
        self.behave(self, connection, self.connections)

    def command(self, connection, timeout=5):
        command = json.loads(connection.recv(timeout=timeout))
        self.commands.append(command)
        return command

    def answer(self, method, target, body, headers):
        url = urlsplit(target)
        self.requests.append((method, url.path, body, headers))
        if headers.get("Authorization") != f"Bearer {self.token}":
            return 401, {"message": "Unauthorized"}
        scripted = self.answers.get((method, url.path))
        if scripted:
            return scripted.pop(0) if len(scripted) > 1 else scripted[0]
        if url.path == f"/runs/{RUN}/events":
            query = parse_qs(url.query)
            after, limit = int(query["after_seq"][0]), int(query["limit"][0])
            head = max([e["seq"] for e in self.events], default=0)
            rows = [e for e in self.events if e["seq"] > after][:limit]
            cursor = rows[-1]["seq"] if rows else after
            return 200, {"events": rows, "head": head, "next_after_seq": cursor}
        if url.path == f"/runs/{RUN}/texts":
            query = parse_qs(url.query)
            start = int(query.get("cursor", ["0"])[0])
            wanted = query.get("node_id")
            rows = [t for t in self.texts if not wanted or t["node_id"] in wanted]
            end = start + self.page
            following = str(end) if end < len(rows) else None
            return 200, {"texts": rows[start:end], "next_cursor": following}
        return 404, {"error": {"code": "not_found", "message": f"no {url.path}"}}


@contextmanager
def running(api: Api):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self):
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, answer = api.answer(self.command, self.path, body, self.headers)
            payload = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_DELETE = _serve

        def log_message(self, *_):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    api.http_url = f"http://127.0.0.1:{http.server_port}"
    threads = [threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})]
    sockets = None
    if api.behave:
        sockets = serve(api.on_socket, "127.0.0.1", 0, close_timeout=0.2)
        api.ws_url = f"ws://127.0.0.1:{sockets.socket.getsockname()[1]}"
        threads.append(threading.Thread(target=sockets.serve_forever))
    for thread in threads:
        thread.start()
    try:
        yield api
    finally:
        http.shutdown()
        http.server_close()
        if sockets:
            sockets.shutdown()
        for thread in threads:
            thread.join()
