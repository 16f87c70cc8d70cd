"""The development token and the first calls of a fresh stack."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from joinery_cli.local.errors import LocalStackFailed
from joinery_cli.local.state import save

if TYPE_CHECKING:
    from collections.abc import Callable

    from joinery_cli.local.state import LocalStack

OWNER: Final = "dev"

_TOKEN_DAYS: Final = 30
_DAY_S: Final = 86_400
_RUN_NODE_WORKERS: Final = 3
_TIMEOUT_S: Final = 60.0


def ensure_token(stack: LocalStack) -> LocalStack:
    """Writes a token of the owner `dev` to the catalog, unless there is one with a day left."""
    now = int(time.time())
    if stack.token and stack.token_expires_at > now + _DAY_S:
        return stack
    token = f"jn_{secrets.token_urlsafe(32)}"  # the prefix by which logs cut it out
    expires_at = now + _TOKEN_DAYS * _DAY_S
    digest = hashlib.sha256(token.encode()).hexdigest()
    stack.client("dynamodb").put_item(
        TableName=stack.outputs["CatalogTableName"],
        Item={
            "pk": {"S": f"TOKEN#{digest}"},
            "sk": {"S": "TOKEN"},
            "owner": {"S": OWNER},
            "expires_at": {"N": str(expires_at)},
            "ttl": {"N": str(expires_at)},
        },
    )
    return save(replace(stack, token=token, token_expires_at=expires_at))


def warm_up(stack: LocalStack) -> None:
    """Calls every function once, and run_node several times at once, so that workers wait ready.

    The calls take the ways that clients take, so they also show that the
    stack works.

    Raises:
        LocalStackFailed: The HTTP API or the WebSocket does not answer as it should.
    """
    run_node = stack.outputs["RunNodeArn"]
    publisher = stack.outputs["PublisherFunctionName"]
    lifecycle = publisher.replace("publisher", "lifecycle")
    run_code = publisher.replace("publisher", "run-code")
    calls: list[Callable[[], None]] = [
        *(lambda: _invoke(stack, run_node) for _ in range(_RUN_NODE_WORKERS)),
        lambda: _get_health(stack),
        lambda: _connect(stack),
        lambda: _invoke(stack, publisher),
        lambda: _invoke(stack, lifecycle),
        lambda: _invoke(stack, run_code),
    ]
    with ThreadPoolExecutor(max_workers=len(calls)) as pool:
        for done in [pool.submit(call) for call in calls]:
            done.result()


def _invoke(stack: LocalStack, function: str) -> None:
    answer = stack.client("lambda").invoke(
        FunctionName=function, Payload=json.dumps({"warm": True}).encode()
    )
    if "FunctionError" in answer:
        cause = answer["Payload"].read().decode(errors="replace")
        raise LocalStackFailed(f"{function} does not start: {cause}")
    answer["Payload"].close()


def _get_health(stack: LocalStack) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{stack.http_api_url}/health", timeout=_TIMEOUT_S) as answer:
            answer.read()
    except OSError as error:
        raise LocalStackFailed(
            f"the HTTP API does not answer: {error}. See joinery local logs http-api"
        ) from error


def _connect(stack: LocalStack) -> None:
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    try:
        with connect(
            stack.websocket_url,
            additional_headers={"Authorization": f"Bearer {stack.token}"},
            open_timeout=_TIMEOUT_S,
            close_timeout=1,
            proxy=None,
        ):
            pass
    except (OSError, WebSocketException) as error:
        raise LocalStackFailed(
            f"the WebSocket does not open: {error}. See joinery local logs websocket"
        ) from error
