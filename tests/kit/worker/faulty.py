"""Stands before a function's own handler in a Lambda worker: dies where a test has asked for it.

It is on no path but that of the tests, see `kit.faulty`. Every call of the AWS SDK is a
point with a name, before and after it. The folder `$JOINERY_FAULTS/<run id>` holds the
faults that are to happen in that run, each once, and takes the names of the points passed.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

from botocore.client import BaseClient

FAULTS = Path(os.environ["JOINERY_FAULTS"])
FUNCTION = os.environ["AWS_LAMBDA_FUNCTION_NAME"].split("-local-", 1)[-1]

NAMES = {"GetItem": "read", "BatchGetItem": "load", "Query": "query", "PostToConnection": "post"}


class Current:
    """The invocation that this process is at; a worker has one at a time."""

    node = ""
    calls: ClassVar = Counter[tuple[str, str]]()
    lock = threading.Lock()


def keys_in(params: dict[str, Any]) -> list[tuple[str, str]]:
    """Returns partition and sort key of each item that a call names."""
    found: list[tuple[str, str]] = []
    plain = params.get("Key") or params.get("Item")
    if isinstance(plain, dict):
        found.append((plain["pk"]["S"], plain.get("sk", {}).get("S", "")))
    for action in params.get("TransactItems", []):
        for fields in action.values():
            found += keys_in(fields)
    for table in params.get("RequestItems", {}).values():
        for row in table.get("Keys", []):
            found += keys_in({"Key": row})
    values = params.get("ExpressionAttributeValues", {})
    if ":pk" in values:
        found.append((values[":pk"]["S"], ""))
    return found


def run_of(operation: str, params: dict[str, Any]) -> str:
    """Returns the run that a call is about."""
    if operation == "PostToConnection":
        return str(json.loads(params["Data"]).get("run_id", ""))
    if "Bucket" in params:
        return str(params.get("Key", "")).removeprefix("runs/").partition("/")[0]
    text = next((pk for pk, _ in keys_in(params) if pk.startswith("RUN#")), "")
    # The name of an execution is the run's id.
    named = params.get("name") or str(params.get("executionArn", "")).rpartition(":")[2]
    return text.removeprefix("RUN#") or str(named)


def point_of(operation: str, params: dict[str, Any]) -> str:
    """Returns what a call does, as tests name it."""
    if operation == "PostToConnection":
        return f"post {json.loads(params['Data'])['event']}"
    places = [sk for _, sk in keys_in(params)]
    kinds = {sk.partition("#")[0] for sk in places}
    if operation == "PutItem":
        item = params["Item"]
        if "event" in item:
            return f"put {json.loads(item['event']['S'])['event']}"
        return "put text" if kinds == {"T"} else "put"
    if operation == "TransactWriteItems":
        puts = [action["Put"]["Item"] for action in params["TransactItems"] if "Put" in action]
        made = {item["sk"]["S"] for item in puts}
        if "META" in kinds:
            if any("ConditionCheck" in action for action in params["TransactItems"]):
                return "seal"
            return "create" if "META" in made else "close"
        return "finish" if "N" in kinds else "transact"
    if operation == "UpdateItem":
        if kinds == {"N"}:
            claims = ":claimed" in params["ExpressionAttributeValues"]
            return "claim" if claims else "renew"
        return "draw" if ":count" in params["ExpressionAttributeValues"] else "update"
    return NAMES.get(operation, operation)


def send(client: Any, operation: str, params: dict[str, Any]) -> Any:
    run_id = run_of(operation, params)
    folder = FAULTS / run_id
    if not run_id or not folder.is_dir():
        return really_send(client, operation, params)
    point = point_of(operation, params)
    with Current.lock:
        Current.calls[run_id, point] += 1
        nth = Current.calls[run_id, point]
        with (folder / "trace").open("a") as trace:
            row = [os.getpid(), FUNCTION, Current.node, point, nth, time.time()]
            trace.write(json.dumps(row) + "\n")
    happen(folder, "before", point, nth)
    if taken(folder, "twice", point, nth):
        # The SDK sends a call again whose answer was lost, with the very same parameters.
        really_send(client, operation, params)
    try:
        return really_send(client, operation, params)
    finally:  # a refusal is an answer too
        happen(folder, "after", point, nth)


def happen(folder: Path, when: str, point: str, nth: int) -> None:
    fault = taken(folder, when, point, nth)
    if fault is None:
        return
    if fault["do"] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(fault["seconds"])


def taken(folder: Path, when: str, point: str, nth: int) -> dict[str, Any] | None:
    """Returns the fault of this point, to one of all processes, once."""
    for path in sorted(folder.glob("*.json")):
        fault = json.loads(path.read_text())
        wanted = (when, point, nth, FUNCTION, Current.node)
        if wanted != tuple(fault[name] for name in ("when", "point", "nth", "function", "node")):
            continue
        try:
            path.rename(path.with_suffix(".done"))
        except FileNotFoundError:
            continue
        return dict(fault)
    return None


really_send = BaseClient._make_api_call
BaseClient._make_api_call = send

import app  # noqa: E402 - the function's own module; what it sends is seen


def handler(event: dict[str, Any], context: Any) -> Any:
    with Current.lock:
        Current.node = str(event.get("node", ""))
        Current.calls.clear()
    return app.handler(event, context)
