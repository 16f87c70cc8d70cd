"""Whatever goes wrong, the answer has one shape and no internals."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kit.installation import Api

from joinery.errors import TransientStore

ABSENT = "run_" + "0" * 26
DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/nothing/here", 404, "not_found"),
        ("GET", "/runs/", 404, "not_found"),
        ("GET", "/runs/x", 404, "not_found"),
        ("GET", "/runs/..%2F..", 404, "not_found"),
        ("GET", f"/runs/{ABSENT}", 404, "not_found"),
        ("GET", "/workflows/wf_1", 404, "not_found"),
        ("GET", "/workflows/" + "x" * 5_000, 404, "not_found"),
        ("GET", "/docs", 404, "not_found"),
        ("DELETE", "/runs", 405, "method_not_allowed"),
        ("PUT", f"/runs/{ABSENT}", 405, "method_not_allowed"),
    ],
)
def test_what_is_not_there(server: Api, method: str, path: str, status: int, code: str) -> None:
    reply = server.call(method, path)
    assert (reply.status, reply.error["code"]) == (status, code)
    assert reply.error["request_id"] == "request-1"


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/runs", {"limit": 0}),
        ("/runs", {"limit": 201}),
        ("/runs", {"limit": "many"}),
        ("/workflows", {"limit": -1}),
        (f"/runs/{ABSENT}/events", {"after_seq": -1}),
        (f"/runs/{ABSENT}/events", {"after_seq": 10**20}),
        (f"/runs/{ABSENT}/events", {"after_seq": "x"}),
        (f"/runs/{ABSENT}/events", {"limit": 100_000}),
        (f"/runs/{ABSENT}", {"results": "perhaps"}),
        ("/workflows/wf_000000000000000000000000", {"version": 0}),
    ],
)
def test_bad_queries_name_the_parameter(server: Api, path: str, query: dict[str, Any]) -> None:
    reply = server.get(path, **query)
    assert (reply.status, reply.error["code"]) == (400, "invalid_request")
    [row] = reply.error["details"]["errors"]
    assert row["where"] == f"query.{next(iter(query))}"


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "{",
        "[]",
        "null",
        '"text"',
        "{'workflow_id': 'x'}",
        '{"workflow_id": "wf_1", "inputs": {"x": NaN}}',
        '{"workflow_id": "wf_1", "inputs": {"x": Infinity}}',
        '{"workflow_id": "wf_1", "inputs": {"x": "\\ud800"}}',
        '{"workflow_id": "wf_1", "inputs": {"x": ' + "9" * 5_000 + "}}",
        '{"workflow_id": "wf_1", "inputs": ' + DEEP + "}",
        '{"workflow_id": "wf_1", "inputs": []}',
        '{"workflow_id": 7}',
        "{}",
        '{"workflow_id": "wf_1", "version": "1"}',
        '{"workflow_id": "wf_1", "version": 0}',
        '{"workflow_id": "wf_1", "version": true}',
        '{"workflow_id": "wf_1", "session_id": "a b"}',
        '{"workflow_id": "wf_1", "model": "no-provider"}',
        '{"workflow_id": "wf_1", "model": "a:b c"}',
        '{"workflow_id": "wf_1", "model": "nobody:gpt"}',
        '{"workflow_id": "wf_1", "cassette": {"a": "b"}}',
        '{"workflow_id": "wf_1", "cassette": [{"node": 1}]}',
        '{"workflow_id": "wf_1", "unknown": 1}',
        '{"workflow_id": "wf_1", "owner": "you"}',
    ],
)
def test_bad_bodies_are_refused(server: Api, raw: str) -> None:
    reply = server.call("POST", "/runs", raw=raw)
    assert (reply.status, reply.error["code"]) == (400, "invalid_request"), reply.raw
    assert reply.error["retryable"] is False
    assert "Traceback" not in reply.raw
    assert "pydantic" not in reply.raw
    assert len(reply.raw) < 2_000


def test_what_json_is_wrong_with_is_told_by_line(server: Api) -> None:
    reply = server.call("POST", "/runs", raw='{"workflow_id": "x",\n  oops}')
    assert "line 2, column 3" in reply.error["message"]


@pytest.mark.parametrize("headers", [{"content-type": "text/plain"}, {"content-type": ""}])
def test_a_body_without_its_type_is_told_what_is_missing(
    server: Api, headers: dict[str, str]
) -> None:
    reply = server.call("POST", "/runs", raw='{"workflow_id": "x"}', headers=headers)
    assert reply.status == 400
    assert "Content-Type: application/json" in reply.error["message"]


def test_an_oversized_body_is_refused_with_both_sizes(server: Api) -> None:
    raw = json.dumps({"source": "x" * 5_300_000})
    reply = server.call("POST", "/workflows", raw=raw)
    assert (reply.status, reply.error["code"]) == (413, "too_large")
    assert reply.error["details"]["actual"] == len(raw)


@pytest.mark.parametrize("owner", [None, ""])
@pytest.mark.parametrize("path", ["/runs", "/workflows", f"/runs/{ABSENT}"])
def test_nothing_is_answered_without_an_owner(server: Api, path: str, owner: str | None) -> None:
    reply = server.get(path, owner=owner, headers={"authorization": "Bearer " + "x" * 20})
    assert (reply.status, reply.error["code"]) == (401, "unauthorized")


def test_health_and_the_description_need_no_token(server: Api) -> None:
    reply = server.get("/health", owner=None)
    assert reply.body == {"status": "ok", "version": "0.1.0"}
    assert server.get("/openapi.json", owner=None).body["info"]["title"] == "Joinery"


def test_a_defect_is_told_by_its_request_id_alone(
    server: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(*_: Any) -> None:
        raise RuntimeError("password=hunter2 in /var/task/joinery")

    monkeypatch.setattr(server.installation.workflows, "list_workflows", breaks)
    reply = server.get("/workflows")
    assert (reply.status, reply.error["code"]) == (500, "internal")
    assert "hunter2" not in reply.raw
    assert "RuntimeError" not in reply.raw
    assert "request-1" in caplog.text
    assert "hunter2" in caplog.text


def test_a_busy_table_is_worth_another_try(server: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: Any) -> None:
        raise TransientStore("AWS did not answer Query in time", aws_code="Throttling")

    monkeypatch.setattr(server.installation.workflows, "list_workflows", busy)
    reply = server.get("/workflows")
    assert (reply.status, reply.error["code"], reply.error["retryable"]) == (
        503,
        "store_unavailable",
        True,
    )
