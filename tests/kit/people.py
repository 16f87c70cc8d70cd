"""People with tokens of their own on the local stack, and their plain sockets."""

from __future__ import annotations

import json
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
from websockets.sync.client import ClientConnection, connect

from joinery.aws.dynamo_tokens import DynamoTokens
from joinery.identity.tokens import token_hash

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack


class Person:
    """Somebody with a token of their own."""

    def __init__(self, stack: LocalStack, owner: str, *, lasts_s: float = 3600) -> None:
        self.stack, self.owner, self.token = stack, owner, f"jn_{uuid.uuid4().hex}"
        tokens = DynamoTokens(stack.client("dynamodb"), stack.outputs["CatalogTableName"])
        tokens.put_token(token_hash(self.token), owner, time.time() + lasts_s)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        bare: bool = False,
    ) -> httpx.Response:
        """Sends a request; a bare one has no token."""
        return httpx.request(
            method,
            self.stack.http_api_url + path,
            headers={**({} if bare else self.headers), **(headers or {})},
            json=body,
            timeout=30,
            trust_env=False,
        )

    def start(self, source: str, **body: Any) -> str:
        published = self.call("POST", "/workflows", {"source": source}).json()
        answer = self.call("POST", "/runs", {"workflow_id": published["workflow_id"], **body})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["run_id"])

    def wait(self, run_id: str, *statuses: str) -> dict[str, Any]:
        def ended() -> Any:
            run = self.call("GET", f"/runs/{run_id}").json()
            return run if run["status"] in statuses else None

        found: dict[str, Any] = until(ended)
        return found

    def execution_of(self, run_id: str) -> str:
        workflow = self.call("GET", f"/runs/{run_id}").json()["workflow"]
        path = f"/workflows/{workflow['workflow_id']}?version={workflow['version']}"
        machine: str = self.call("GET", path).json()["machine"]
        return machine.replace(":stateMachine:", ":execution:") + f":{run_id}"

    def ticket(self) -> str:
        return str(self.call("POST", "/tickets").json()["ticket"])

    @contextmanager
    def socket(self, *, ticket: str | None = None) -> Iterator[Socket]:
        """Opens a socket, by a header or by a ticket in the query."""
        url = self.stack.websocket_url + (f"?ticket={ticket}" if ticket else "")
        headers = None if ticket else self.headers
        with connect(url, additional_headers=headers, proxy=None) as connection:
            yield Socket(connection)


class Socket:
    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.earlier: deque[dict[str, Any]] = deque()

    def raw(self, text: str) -> dict[str, Any]:
        """Sends a message; returns the frame that answers it.

        What other writers posted before the answer is kept for `next`.
        """
        self.connection.send(text)
        while (message := self.receive())["event"] not in {"ack", "error", "pong"}:
            self.earlier.append(message)
        return message

    def send(self, action: str, **fields: Any) -> dict[str, Any]:
        return self.raw(json.dumps({"action": action, "request_id": "r", **fields}))

    def next(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        while True:
            message = self.earlier.popleft() if self.earlier else self.receive()
            if wanted(message):
                return message

    def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.connection.recv(timeout=20))
        return message


def until(check: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)
    return found
