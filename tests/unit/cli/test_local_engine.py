"""`run` and `watch` against an API of our own: what they ask, what they print."""

from __future__ import annotations

import json

import pytest

from joinery_cli import exits

from .messages import RUN
from .stack_api import COST, use_stack, view


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
    use_stack(monkeypatch, "http://127.0.0.1:9")
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
    assert result.exit_code == exits.INVALID
    assert result.stderr == f"error: no run {RUN}; list yours with: joinery runs\n"


def test_watch_tells_a_failure(api, joinery):
    api.answers["GET", f"/runs/{RUN}"] = [(200, view("failed", error={"message": "it broke"}))]
    result = joinery("watch", RUN)
    assert result.exit_code == exits.FAILED
    assert result.stderr.endswith("error: it broke\n")
