"""A real HTTP server on loopback that answers tools as a test says, and a use of a tool."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joinery.tools.base import ToolUse
from joinery.tools.services import EnvironmentSecrets, ToolServices


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Told:
    """What a test answers."""

    body: bytes | str = b"{}"
    status: int = 200
    media: str = "application/json"
    wait_s: float = 0.0
    hang_up: bool = False
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class ToolServer:
    """Where the server is, and what it was asked."""

    url: str
    requests: list[Asked] = field(default_factory=list)


@contextmanager
def tool_server(answer: Callable[[Asked], Told]) -> Iterator[ToolServer]:
    """Serves until the block ends."""
    state = ToolServer("")
    done = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, self.rfile.read(length))
            state.requests.append(asked)
            told = answer(asked)
            done.wait(told.wait_s)
            if told.hang_up:
                self.connection.close()
                return
            data = told.body.encode() if isinstance(told.body, str) else told.body
            try:
                self.send_response(told.status)
                for name, value in told.headers.items():
                    self.send_header(name, value)
                self.send_header("content-type", told.media)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                pass  # The client has gone, as some tests want it to.

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield state
    finally:
        done.set()
        server.shutdown()
        thread.join()
        server.server_close()


def use(
    arguments: dict[str, Any] | None = None,
    *,
    seconds: float = 10,
    cancelled: Callable[[], bool] = lambda: False,
) -> ToolUse:
    """Returns a call by ada's run."""
    return ToolUse(
        arguments or {}, "run_1.judge.1.1", time.monotonic() + seconds, cancelled,
        run_id="run_1", owner="ada", session_id="s1",
    )  # fmt: skip


def services(
    *, private: bool = True, urls: dict[str, str] | None = None, **secrets: str
) -> ToolServices:
    """Returns services with secrets by name, on a machine of one's own."""
    environ = {f"JOINERY_SECRET_{name.upper()}": value for name, value in secrets.items()}
    return ToolServices(EnvironmentSecrets(environ), private, urls or {})
