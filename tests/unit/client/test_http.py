from __future__ import annotations

import pytest

from joinery import errors
from joinery.client import Client

from .fake_api import RUN, Api, event, running


@pytest.fixture
def api():
    with running(Api()) as api:
        yield api


@pytest.fixture
def client(api):
    with Client(api.http_url, api.ws_url, api.token, sleep=lambda _: None) as client:
        yield client


def test_a_start_carries_a_key_and_repeats_it_when_the_api_is_busy(api, client):
    api.answers["POST", "/runs"] = [
        (503, {"error": {"code": "unavailable", "message": "busy", "retryable": True}}),
        (429, {"message": "Too Many Requests"}),
        (201, {"run_id": RUN, "status": "running"}),
    ]
    run = client.start("wf_1", {"topic": "x"}, cassette={"a": []}, model="openai:gpt")
    assert run["run_id"] == RUN
    keys = {headers["Idempotency-Key"] for _, _, _, headers in api.requests}
    assert len(api.requests) == 3
    assert len(keys) == 1
    assert api.requests[0][2] == {
        "workflow_id": "wf_1",
        "inputs": {"topic": "x"},
        "cassette": {"a": []},
        "model": "openai:gpt",
    }


def test_two_starts_have_two_keys_unless_the_caller_names_one(api, client):
    api.answers["POST", "/runs"] = [(201, {"run_id": RUN})]
    client.start("wf_1", {})
    client.start("wf_1", {})
    client.start("wf_1", {}, idempotency_key="mine")
    keys = [headers["Idempotency-Key"] for _, _, _, headers in api.requests]
    assert len(set(keys)) == 3
    assert keys[2] == "mine"


@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        (404, {"error": {"code": "not_found", "message": "no run x"}}, errors.NotFound, "no run x"),
        (409, {"error": {"code": "conflict", "message": "ended"}}, errors.Conflict, "ended"),
        (413, {"error": {"code": "too_large", "message": "big"}}, errors.TooLarge, "big"),
        (422, {"error": {"code": "invalid_input", "message": "no"}}, errors.InvalidInput, "no"),
        (401, {"message": "Unauthorized"}, errors.Unauthorized, "Unauthorized"),
        (403, {"message": "Forbidden"}, errors.Unauthorized, "Forbidden"),
        (500, {"message": "Internal Server Error"}, errors.JoineryError, "500"),
        (500, {"error": {"code": "internal", "message": "a defect"}}, errors.JoineryError, "a def"),
        (502, b"<html>bad gateway</html>", errors.Unavailable, "502"),
        (200, b"not json", errors.JoineryError, "200"),
    ],
)
def test_answers_become_joinerys_own_errors(api, client, status, body, kind, says):
    api.answers["GET", f"/runs/{RUN}"] = [(status, body)]
    with pytest.raises(kind, match=says) as caught:
        client.get(RUN)
    assert type(caught.value) is kind


def test_an_invalid_workflow_keeps_its_problems(api, client):
    row = {
        "code": "edge.dangling",
        "severity": "error",
        "node_id": "a",
        "pointer": "/edges/0",
        "line": 3,
        "column": 5,
        "message": "no node 'b'",
        "hint": "add it",
    }
    body = {"error": {"code": "invalid_workflow", "message": "…", "details": {"errors": [row]}}}
    api.answers["POST", "/workflows"] = [(422, body)]
    with pytest.raises(errors.InvalidWorkflow) as caught:
        client.publish("nodes: {}", opt=1)
    assert [problem.to_dict() for problem in caught.value.problems] == [row]
    assert api.requests[0][2] == {"source": "nodes: {}", "opt": 1}


def test_details_of_an_error_survive(api, client):
    body = {"error": {"code": "too_large", "message": "m", "details": {"message": 1, "limit": 2}}}
    api.answers["POST", f"/runs/{RUN}/cancel"] = [(413, body)]
    with pytest.raises(errors.TooLarge) as caught:
        client.cancel(RUN)
    assert caught.value.details == {"message": 1, "limit": 2}


def test_all_pages_of_events_are_read(api, client):
    api.events = [event(seq, "node.started", "a") for seq in range(1, 1_203)]
    assert [e["seq"] for e in client.events(RUN, after_seq=1)] == list(range(2, 1_203))
    assert client.events(RUN, after_seq=1_202) == []


def test_nobody_there_is_unavailable():
    with (
        Client("http://127.0.0.1:9", sleep=lambda _: None) as client,
        pytest.raises(errors.Unavailable, match=r"no answer from http://127\.0\.0\.1:9"),
    ):
        client.get(RUN)


def test_a_proxy_of_the_environment_never_stands_before_this_machine(api, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with Client(api.http_url, "", api.token, sleep=lambda _: None) as client:
        assert client.events(RUN) == []


def test_an_odd_run_id_stays_one_part_of_the_path(api, client):
    with pytest.raises(errors.NotFound):
        client.get("../workflows?x=1")
    assert api.requests[0][1] == "/runs/..%2Fworkflows%3Fx%3D1"
