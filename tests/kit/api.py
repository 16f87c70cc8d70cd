"""The public APIs of a stack as a plain client sees them, without our client library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx
import websockets.sync.client

from kit.texts import Heard

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

ENDINGS = {"run.completed", "run.failed", "run.cancelled", "run.timed_out"}


class Api:
    """The HTTP API as any client sees it."""

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        self.http = httpx.Client(
            base_url=stack.http_api_url,
            headers=self.headers,
            timeout=30,
        )

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.stack.token}"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def publish(self, path: Path, **options: Any) -> str:
        answer = self.http.post("/workflows", json={"source": path.read_text(), **options})
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()["workflow_id"])

    def start(self, workflow_id: str, **body: Any) -> str:
        answer = self.http.post("/runs", json={"workflow_id": workflow_id, **body})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["run_id"])

    def get(self, run_id: str) -> dict[str, Any]:
        answer = self.http.get(f"/runs/{run_id}")
        if answer.status_code >= 500:  # a test that kills workers may kill the one that answers
            answer = self.http.get(f"/runs/{run_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def watch(self, run_id: str, *, after: float = 60) -> list[dict[str, Any]]:
        """Subscribes with a plain client and returns all messages up to the end of the run."""
        messages: list[dict[str, Any]] = []
        with websockets.sync.client.connect(
            self.stack.websocket_url,
            additional_headers=self.headers,
        ) as socket:
            command = {"action": "subscribe", "request_id": "1", "run_id": run_id, "after_seq": 0}
            socket.send(json.dumps(command))
            while True:
                message = json.loads(socket.recv(timeout=after))
                messages.append(message)
                if message["event"] in ENDINGS:
                    return messages


def texts(messages: list[dict[str, Any]]) -> dict[tuple[str, str, int], str]:
    """Rebuilds each stream by offset in code points; a hole fails."""
    rebuilt: dict[tuple[str, str, int], Heard] = {}
    for delta in (m for m in messages if m["event"] == "text.delta"):
        data = delta["data"]
        key = (delta["node_id"], delta["path"], data["attempt"])
        rebuilt.setdefault(key, Heard()).add(data)
    return {key: heard.text for key, heard in rebuilt.items()}
