"""Answers to questions over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kit.installation import Api
from kit.questions import TOKEN, waiting_run


def test_a_run_that_waits_says_so_everywhere(server: Api) -> None:
    run_id = waiting_run(server.installation)
    assert server.get(f"/runs/{run_id}").body["status"] == "waiting"
    assert [run["status"] for run in server.get("/runs").body["runs"]] == ["waiting"]
    [node] = server.get(f"/runs/{run_id}").body["nodes"]
    assert node["wait"]["options"] == {"yes": "Yes", "no": "No"}


def test_an_answer_wakes_the_task_once(server: Api) -> None:
    run_id = waiting_run(server.installation)
    body = {"node_id": "ask", "value": "yes"}
    reply = server.post(f"/runs/{run_id}/input", body, headers={"Idempotency-Key": "answer-1"})
    taken = {"run_id": run_id, "kind": "answer", "node_id": "ask", "path": ""}
    assert (reply.status, reply.body) == (200, taken)
    sent = [(TOKEN, "succeed", json.dumps({"port": "", "path": ""}))]
    assert server.installation.woken.sent == sent
    reply = server.post(f"/runs/{run_id}/input", body, headers={"Idempotency-Key": "answer-1"})
    assert (reply.status, reply.body) == (200, taken)
    assert server.installation.woken.sent == sent
    reply = server.post(f"/runs/{run_id}/input", {"node_id": "ask", "value": "no"})
    assert (reply.status, reply.error["code"]) == (409, "already_answered")
    assert reply.error["details"].keys() == {"answered_at", "by"}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"node_id": "ask", "value": "maybe"}, 422, "invalid_input"),
        ({"node_id": "ask"}, 400, "invalid_request"),
        ({"node_id": "ask", "value": "yes", "who": "me"}, 400, "invalid_request"),
        ({"node_id": "ask", "value": "yes", "path": "x"}, 400, "invalid_request"),
        ({"node_id": "ask", "value": "yes", "path": "1"}, 409, "not_waiting"),
        ({"node_id": "nope", "value": "yes"}, 400, "invalid_request"),
        ({"node_id": "ask", "value": "x" * 70_000}, 413, "too_large"),
    ],
)
def test_what_is_wrong_is_told(server: Api, body: Any, status: int, code: str) -> None:
    run_id = waiting_run(server.installation)
    reply = server.post(f"/runs/{run_id}/input", body)
    assert (reply.status, reply.error["code"]) == (status, code)
    assert server.get(f"/runs/{run_id}").body["status"] == "waiting"
    assert server.installation.woken.sent == []


def test_nobody_else_may_answer(server: Api) -> None:
    run_id = waiting_run(server.installation)
    body = {"node_id": "ask", "value": "yes"}
    assert server.post(f"/runs/{run_id}/input", body, owner="you").status == 404
    assert server.post(f"/runs/{run_id}/input", body, owner=None).status == 401


def test_a_cancelled_run_takes_no_answer(server: Api) -> None:
    run_id = waiting_run(server.installation)
    assert server.post(f"/runs/{run_id}/cancel").status == 200
    reply = server.post(f"/runs/{run_id}/input", {"node_id": "ask", "value": "yes"})
    assert (reply.status, reply.error["code"]) == (409, "not_waiting")
    assert reply.error["details"] == {"status": "cancelled"}
