"""Pausing, resuming, forking and deleting runs over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from kit.installation import Api

from joinery.errors import Unavailable
from joinery.runs.interpreter import run_inline


def start(server: Api, workflow_id: str) -> str:
    body = {"workflow_id": workflow_id, "inputs": {"who": "Ada"}}
    run_id: str = server.post("/runs", body).body["run_id"]
    return run_id


def finish(server: Api, workflow_id: str, run_id: str) -> None:
    from joinery.compiler.plan import Plan

    store = server.installation.store
    plan = Plan.from_dict(server.installation.workflows.version(workflow_id, 1).plan)
    run_inline(server.installation.run_deps(), plan, store.get_run(run_id))


def test_a_run_is_paused_and_goes_on_in_a_new_execution(server: Api, workflow_id: str) -> None:
    run_id = start(server, workflow_id)
    reply = server.post(f"/runs/{run_id}/pause")
    assert (reply.status, reply.body) == (200, {"run_id": run_id, "status": "paused"})
    assert len(server.installation.runs.stopped) == 1
    assert server.get(f"/runs/{run_id}").body["status"] == "paused"

    reply = server.post(f"/runs/{run_id}/resume")
    assert (reply.status, reply.body) == (200, {"run_id": run_id, "status": "running"})
    first, second = server.installation.runs.started
    assert second == (first[0], f"{run_id}-2", first[2])
    assert server.get(f"/runs/{run_id}").body["incarnation"] == 2


def test_what_a_status_does_not_allow_is_a_conflict(server: Api, workflow_id: str) -> None:
    run_id = start(server, workflow_id)
    assert server.post(f"/runs/{run_id}/resume").status == 409
    assert server.post(f"/runs/{run_id}/fork", {}).status == 409
    assert server.delete(f"/runs/{run_id}").status == 409
    finish(server, workflow_id, run_id)
    for path in ("pause", "resume"):
        reply = server.post(f"/runs/{run_id}/{path}")
        assert (reply.status, reply.error["details"]) == (409, {"status": "completed"})


@pytest.mark.parametrize("path", ["pause", "resume", "fork", ""])
def test_a_run_of_somebody_else_does_not_exist(server: Api, workflow_id: str, path: str) -> None:
    run_id = start(server, workflow_id)
    if path:
        body: Any = {} if path == "fork" else None
        assert server.post(f"/runs/{run_id}/{path}", body, owner="you").status == 404
    else:
        assert server.delete(f"/runs/{run_id}", owner="you").status == 404
    assert server.get(f"/runs/{run_id}").body["status"] == "running"


def test_a_resume_that_is_not_started_can_be_repeated(server: Api, workflow_id: str) -> None:
    run_id = start(server, workflow_id)
    server.post(f"/runs/{run_id}/pause")
    server.installation.runs.fails = Unavailable("throttled")
    assert server.post(f"/runs/{run_id}/resume").status == 503
    server.installation.runs.fails = None
    assert server.post(f"/runs/{run_id}/resume").body["status"] == "running"
    assert server.get(f"/runs/{run_id}").body["incarnation"] == 3


def test_a_fork_is_a_run_of_its_own_with_other_inputs(server: Api, workflow_id: str) -> None:
    run_id = start(server, workflow_id)
    finish(server, workflow_id, run_id)
    key = {"Idempotency-Key": "one"}
    body = {"inputs": {"who": "Eve"}}
    reply = server.post(f"/runs/{run_id}/fork", body, headers=key)
    assert reply.status == 202
    made = reply.body["run_id"]
    assert made != run_id
    again = server.post(f"/runs/{run_id}/fork", body, headers=key)
    assert (again.status, again.body["run_id"]) == (200, made)
    finish(server, workflow_id, made)
    view = server.get(f"/runs/{made}").body
    assert view["forked_from"] == run_id
    assert view["outputs"] == {"text": "Hello, Eve"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"node_id": "nobody"}, 400),
        ({"node_id": "hello", "path": "3"}, 400),
        ({"path": "x"}, 400),
        ({"inputs": {"who": 3}}, 422),
        ({"inputs": {"whom": "x"}}, 422),
        ({"more": 1}, 400),
    ],
)
def test_a_bad_fork_makes_no_run(
    server: Api, workflow_id: str, body: dict[str, Any], status: int
) -> None:
    run_id = start(server, workflow_id)
    finish(server, workflow_id, run_id)
    assert server.post(f"/runs/{run_id}/fork", body).status == status
    assert len(server.get("/runs").body["runs"]) == 1


def test_nothing_is_left_of_a_deleted_run(server: Api, workflow_id: str) -> None:
    run_id = start(server, workflow_id)
    assert server.delete(f"/runs/{run_id}", cancel="true").status == 204
    assert server.get(f"/runs/{run_id}").status == 404
    assert server.get("/runs").body["runs"] == []
    assert server.delete(f"/runs/{run_id}").status == 404
    assert len(server.installation.runs.stopped) == 1
