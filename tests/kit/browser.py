"""A real browser for tests: it opens a page of theirs, whose script says what it has seen."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
RESET = struct.pack("ii", 1, 0)

PAGE = """\
<!doctype html>
<meta charset="utf-8">
<script type="module">
const tell = (said) => fetch("/said", { method: "POST", body: JSON.stringify(said) });
try {
  const { default: main } = await import("/script.mjs");
  await tell({ result: await main(await (await fetch("/given")).json()) });
} catch (error) {
  await tell({ error: `${error} ${error?.stack}` });
}
</script>
"""


@dataclass
class Asked:
    """One request that was handed on, and what came of it."""

    last: str
    cookie: bool
    origin: str
    status: int = 0


@dataclass
class Page:
    """What a page is made of, and what it said.

    Attributes:
        script: A module whose default export takes `given` and returns the result.
        given: What it is given.
        onward: Where requests for runs go: the page is then of the API's own origin.
        cuts: How much of each such answer comes before the connection is reset; None is all.
    """

    script: Path
    given: Mapping[str, Any]
    onward: str = ""
    cuts: Sequence[float | None] = ()
    asked: list[Asked] = field(default_factory=list)
    said: dict[str, Any] | None = None
    spoke: threading.Event = field(default_factory=threading.Event)


class _Handler(BaseHTTPRequestHandler):
    page: Page

    def do_GET(self) -> None:
        files = {"/script.mjs": self.page.script}
        if self.path == "/":
            self._answer(200, "text/html", PAGE.encode())
        elif self.path == "/given":
            self._answer(200, "application/json", json.dumps(self.page.given).encode())
        elif self.path in files or self.path.startswith("/console/"):
            file = files.get(self.path, ROOT / self.path.lstrip("/"))
            self._answer(200, "text/javascript", file.read_bytes())
        elif self.page.onward and "/runs/" in self.path:
            self._hand_on()
        else:
            self._answer(404, "text/plain", b"nothing is here")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(204, "text/plain", b"")
        self.page.said = json.loads(body)
        self.page.spoke.set()

    def _hand_on(self) -> None:
        page, to = self.page, urlsplit(self.page.onward)
        cuts = dict(enumerate(page.cuts))
        cut = cuts.get(len(page.asked))
        headers = {**dict(self.headers.items()), "Host": to.netloc, "Connection": "close"}
        asked = Asked(
            headers.get("Last-Event-ID", ""), "Cookie" in headers, headers.get("Origin", "")
        )
        page.asked.append(asked)
        upstream = http.client.HTTPConnection(to.netloc, timeout=60)
        upstream.request("GET", self.path, headers=headers)
        answer = upstream.getresponse()
        body, asked.status = answer.read(), answer.status
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"connection", "transfer-encoding", "content-length", "date"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if cut is None or answer.status != 200:
            self.wfile.write(body)
            return
        # What is sent ends anywhere: within a line, within a character.
        self.wfile.write(body[: int(len(body) * cut)])
        self.wfile.flush()
        threading.Event().wait(0.05)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.close_connection = True

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any, **__: Any) -> None:
        """Says nothing: pytest shows what a test needs."""


@contextmanager
def _served(page: Page) -> Iterator[str]:
    handler = type("Handler", (_Handler,), {"page": page})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def opened(page: Page, profile: Path, *, timeout_s: float = 90) -> Any:
    """Opens a page in the machine's Chromium; returns what its script returned.

    Args:
        page: The page. Where its given values hold `{origin}`, that is its own address.
        profile: An empty folder for what the browser keeps.
        timeout_s: How long it may take, in seconds.
    """
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    assert program, f"there is no browser here: none of {', '.join(PROGRAMS)} is on the PATH"
    with _served(page) as origin:
        page.given = json.loads(json.dumps(page.given).replace("{origin}", origin))
        browser = subprocess.Popen(
            [
                program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
                "--no-first-run", "--disable-background-networking", "--disable-component-update",
                "--disable-sync", f"--user-data-dir={profile}", origin,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            assert page.spoke.wait(timeout_s), f"the page said nothing in {timeout_s} s"
        finally:
            browser.terminate()
            browser.wait(10)
    said = page.said or {}
    assert "result" in said, said.get("error")
    return said["result"]
