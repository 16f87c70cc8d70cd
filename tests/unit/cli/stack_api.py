"""An API of our own in place of the local stack, with one run of a small workflow."""

from __future__ import annotations

import json
from contextlib import contextmanager
from types import SimpleNamespace

from client.fake_api import Api, ack, running

from joinery_cli import access as access_module
from joinery_cli.commands import run as run_module
from joinery_cli.engines import local as local_module

from .messages import RUN, Log, delta

COST = {
    "run_id": RUN,
    "status": "completed",
    "transitions": 7,
    "transitions_predicted": 7,
    "aws_calls": {"dynamodb.UpdateItem": 12, "lambda.Invoke": 3},
    "tokens": {"input_tokens": 10, "output_tokens": 4, "estimated": False},
    "model_calls": 1,
    "price_usd": 0.00042,
    "price_by_service": {"states": 0.0003, "lambda": 0.00012},
}


def messages():
    log = Log()
    return [
        log.started([("hello", "template", []), ("no", "template", [])], [("start", "", "hello")]),
        log.event("node.started", "hello", "", attempt=1, type="template"),
        delta("hello", 0, "Hello ", path=""),
        delta("hello", 6, "world!", path=""),
        log.event("nodes.skipped", "hello", "", nodes=[{"node_id": "no", "path": ""}]),
        log.event("node.completed", "hello", "", attempt=1, streams={}),
        log.event("run.completed", usage={}),
    ]


def view(status="completed", **more):
    return {
        "run_id": RUN,
        "status": status,
        "workflow": {"workflow_id": "wf_1", "version": 1, "name": "pure"},
        "usage": {"input_tokens": 10, "output_tokens": 4, "model_calls": 1, "estimated": False},
        "outputs": {"text": "Hello world!"} if status == "completed" else None,
        "nodes": [
            {"node_id": "hello", "path": "", "status": "completed", "attempts": 1},
            {"node_id": "no", "path": "", "status": "skipped", "attempts": 0},
        ],
        **more,
    }


@contextmanager
def stack_api(monkeypatch):
    """Serves it, and lets the command take it for the local stack."""

    def behave(api, connection, _):
        command = api.command(connection)
        connection.send(json.dumps(ack(command)))
        for message in messages():
            connection.send(json.dumps(message))
        try:
            connection.recv(timeout=5)
        except Exception:
            return

    api = Api(behave)
    api.answers = {
        ("POST", "/workflows"): [(201, {"workflow_id": "wf_1", "version": 1})],
        ("POST", "/runs"): [(202, {"run_id": RUN, "status": "running"})],
        ("GET", f"/runs/{RUN}"): [(200, view())],
        ("GET", f"/runs/{RUN}/cost"): [(200, COST)],
    }
    monkeypatch.setattr(local_module, "_COST_PAUSE_S", 0.001)
    with running(api):
        use_stack(monkeypatch, api.http_url, api.ws_url, api.token)
        yield api


def use_stack(monkeypatch, http_url, ws_url="", token="t"):
    """Lets the command take an address for the local stack."""
    stack = SimpleNamespace(http_api_url=http_url, websocket_url=ws_url, token=token)
    for module in (run_module, access_module):
        monkeypatch.setattr(module, "running_stack", lambda: stack)
