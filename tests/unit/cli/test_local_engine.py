"""`run` and `watch` against an API of our own: what they ask, what they print."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from client.fake_api import Api, ack, running

from joinery_cli import exits
from joinery_cli.commands import run as run_module
from joinery_cli.commands import watch as watch_module
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


@pytest.fixture
def api(monkeypatch):
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
        stack = SimpleNamespace(
            http_api_url=api.http_url, websocket_url=api.ws_url, token=api.token
        )
        monkeypatch.setattr(run_module, "running_stack", lambda: stack)
        monkeypatch.setattr(watch_module, "running_stack", lambda: stack)
        yield api


def test_run_publishes_starts_follows_and_prints_the_cost(api, joinery, pure):
    result = joinery("run", pure, "-i", "number=12", "--model", "local:x", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    shown = json.loads(result.stdout)
    assert list(shown["nodes"]) == ["hello", "big", "yes", "no"]
    assert shown["nodes"]["big"] == {"status": "pending", "attempts": 0}
    assert shown["transitions"] == 7
    assert shown["aws_calls"] == COST["aws_calls"]
    assert shown["tokens"] == {"input": 10, "output": 4}
    assert (shown["model_calls"], shown["price_usd"]) == (1, 0.00042)
    publish, start = (r for r in api.requests if r[0] == "POST")
    assert publish[2] == {"source": pure.read_text()}
    assert start[2] == {
        "workflow_id": "wf_1",
        "inputs": {"number": 12, "who": "world"},
        "model": "local:x",
    }


def test_run_for_a_person_ends_with_what_it_took(api, joinery, pure):
    result = joinery("run", pure, "-i", "number=12")
    assert result.exit_code == 0
    assert (
        "7 transitions (7 predicted) · 15 AWS calls · $0.000420 on AWS without model fees"
        in result.stdout
    )
    assert "hello completed" in result.stderr


def test_the_cost_is_asked_for_until_it_stays_the_same(api, joinery, pure):
    early = {**COST, "transitions": 6}
    api.answers["GET", f"/runs/{RUN}/cost"] = [(200, early), (200, COST), (200, COST)]
    result = joinery("run", pure, "-i", "number=12", "--json")
    assert json.loads(result.stdout)["transitions"] == 7


def test_inputs_are_checked_before_anything_is_asked(api, joinery, pure):
    assert joinery("run", pure, "-i", "number=x").exit_code == exits.INVALID
    assert api.requests == []


@pytest.mark.parametrize(
    ("status", "code"),
    [("failed", 1), ("timed_out", 1), ("cancelled", 130), ("waiting", 3), ("running", 4)],
)
def test_exit_codes_follow_the_status(api, joinery, pure, status, code):
    error = {"error": {"code": "x", "message": "it broke"}} if status == "failed" else {}
    api.answers["GET", f"/runs/{RUN}"] = [(200, view(status, **error))]
    result = joinery("run", pure, "-i", "number=12", "--json")
    assert result.exit_code == code
    shown = json.loads(result.stdout)
    assert shown["status"] == status
    assert ("error" in shown) == (status == "failed")
    assert ("it broke" in result.stderr) == (status == "failed")
    assert (f"joinery watch {RUN}" in result.stderr) == (code in (3, 4))


def test_what_the_api_refuses_is_told_in_a_line(api, joinery, pure):
    body = {"error": {"code": "unauthorized", "message": "the token has expired"}}
    api.answers["POST", "/workflows"] = [(401, body)]
    result = joinery("run", pure, "-i", "number=12", "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: the token has expired\n"


def test_an_api_that_breaks_is_told_in_a_line(joinery, pure, monkeypatch):
    stack = SimpleNamespace(http_api_url="http://127.0.0.1:9", websocket_url="", token="t")
    monkeypatch.setattr(run_module, "running_stack", lambda: stack)
    result = joinery("run", pure, "-i", "number=12", "--json")
    assert result.exit_code == exits.FAILED
    assert "no answer from http://127.0.0.1:9" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_model_without_a_name_is_misuse(api, joinery, pure):
    result = joinery("run", pure, "-i", "number=12", "--model", "ollama")
    assert (result.exit_code, api.requests) == (exits.INVALID, [])
    assert "provider:name" in result.stderr


def test_inline_is_inline_even_when_a_stack_is_up(api, joinery, pure):
    result = joinery("run", pure, "-i", "number=12", "--engine", "inline", "--json")
    assert json.loads(result.stdout)["transitions"] == 0
    assert api.requests == []


# -- watch -----------------------------------------------------------------------------


def test_watch_prints_a_line_for_each_event_and_the_text_put_together(api, joinery):
    result = joinery("watch", RUN, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["event"] for line in lines] == [
        "run.started",
        "node.started",
        "text.delta",
        "nodes.skipped",
        "node.completed",
        "run.completed",
    ]
    assert lines[2]["data"] == {
        "attempt": 1,
        "stream": "text",
        "offset": 0,
        "text": "Hello world!",
    }
    assert [line["seq"] for line in lines if "seq" in line] == [1, 2, 3, 4, 5]


def test_watch_for_a_person(api, joinery):
    result = joinery("watch", RUN)
    assert result.exit_code == 0
    assert "text: Hello world!" in result.stdout


def test_watch_a_run_that_is_not_there(api, joinery):
    api.answers["GET", f"/runs/{RUN}"] = [
        (404, {"error": {"code": "not_found", "message": f"no run {RUN}"}})
    ]
    result = joinery("watch", RUN)
    assert (result.exit_code, result.stderr) == (exits.INVALID, f"error: no run {RUN}\n")


def test_watch_tells_a_failure(api, joinery):
    api.answers["GET", f"/runs/{RUN}"] = [(200, view("failed", error={"message": "it broke"}))]
    result = joinery("watch", RUN)
    assert result.exit_code == exits.FAILED
    assert result.stderr.endswith("error: it broke\n")
