"""Budgets and unlocking over HTTP, as everybody may try them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from kit.installation import Api
from kit.models import Says

from joinery.compiler.plan import Plan
from joinery.llm.prices import prices_from
from joinery.runs.interpreter import run_inline
from joinery.runs.suspend import suspend

SOURCE = """\
version: 1
name: asks
budget: {tokens: 5000}
inputs: {q: {type: string, required: true}}
nodes:
  a: {type: llm, prompt: "{{ inputs.q }}", model: {provider: openai, name: gpt-4o, max_tokens: 50}}
edges: [start -> a -> end]
outputs: {text: "{{ nodes.a.text }}"}
"""


def start(server: Api, **body: Any) -> str:
    workflow_id = server.post("/workflows", {"source": SOURCE}).body["workflow_id"]
    reply = server.post("/runs", {"workflow_id": workflow_id, "inputs": {"q": "Well?"}, **body})
    assert reply.status == 202, reply.body
    run_id: str = reply.body["run_id"]
    return run_id


def run_of(server: Api, run_id: str) -> Any:
    return server.installation.store.get_run(run_id)


def tripped(server: Api, run_id: str, name: str = "breaker.tripped") -> None:
    data = {"incarnation": 1, "reason": "loop", "message": "nothing new", "value": 0, "limit": 0.1}
    assert suspend(server.installation.run_deps(), run_of(server, run_id), name, data)


def test_a_run_shows_what_it_may_use_and_was_expected_to(server: Api) -> None:
    view = server.get(f"/runs/{start(server)}").body
    assert view["budget"] == {"tokens": 5000}
    assert view["estimate"] == {
        "input_tokens": 14, "output_tokens": 50, "model_calls": 1, "bound_tokens": 64,
        "usd": pytest.approx(14 * 2.5e-6 + 50 * 10e-6),
    }  # fmt: skip
    view = server.get(f"/runs/{start(server, budget={'tokens': 9, 'usd': 2})}").body
    assert view["budget"] == {"tokens": 9, "usd": 2}


def test_prices_with_a_hole_are_told_when_a_run_is_to_start(
    server: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow_id = server.post("/workflows", {"source": SOURCE}).body["workflow_id"]
    installation, holed = server.installation, {"JOINERY_PRICES": '{"openai:gpt-4o": {"input": 1}}'}
    deps = replace(installation.run_deps(), prices=lambda: prices_from(holed))
    monkeypatch.setattr(installation, "run_deps", lambda: deps)
    reply = server.post("/runs", {"workflow_id": workflow_id, "inputs": {"q": "Well?"}})
    assert (reply.status, reply.body["error"]["code"]) == (503, "prices_invalid")
    assert "openai:gpt-4o: 'output' is no price" in reply.body["error"]["message"]
    assert reply.body["error"]["retryable"] is False


@pytest.mark.parametrize(
    "budget", [{}, {"tokens": 0}, {"tokens": "5"}, {"usd": -1}, {"eur": 1}, {"tokens": 1.5}, 7]
)
def test_what_is_no_budget_is_refused(server: Api, budget: Any) -> None:
    workflow_id = server.post("/workflows", {"source": SOURCE}).body["workflow_id"]
    body = {"workflow_id": workflow_id, "inputs": {"q": "x"}, "budget": budget}
    assert server.post("/runs", body).status == 400
    run_id = start(server)
    tripped(server, run_id, "budget.exceeded")
    assert server.post(f"/runs/{run_id}/resume", {"budget": budget}).status == 400
    assert run_of(server, run_id).status == "suspended"


def test_a_run_out_of_budget_goes_on_with_a_larger_one(server: Api) -> None:
    run_id = start(server)
    tripped(server, run_id, "budget.exceeded")
    view = server.get(f"/runs/{run_id}").body
    assert (view["status"], view["error"]["code"]) == ("suspended", "budget_exceeded")
    assert server.post(f"/runs/{run_id}/resume").status == 409
    reply = server.post(f"/runs/{run_id}/resume", {"budget": {"tokens": 9000}})
    assert (reply.status, reply.body["status"]) == (200, "running")
    assert server.get(f"/runs/{run_id}").body["budget"] == {"tokens": 9000}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"because": "it is longer"}, 200),
        ({"checks": ["risk", "content", "cost"]}, 200),
        ({"because": " ", "checks": ["content", "cost"]}, 400),
        ({}, 400),
        ({"checks": ["content", "cost", "other"]}, 400),
        ({"because": 5}, 400),
        ({"because": "x" * 2_001}, 400),
    ],
)
def test_unlocking_needs_a_reason_or_all_checks(server: Api, body: Any, status: int) -> None:
    run_id = start(server)
    tripped(server, run_id)
    assert server.post(f"/runs/{run_id}/resume").status == 409
    assert server.post(f"/runs/{run_id}/unlock", body, owner="you").status in (400, 404)
    assert run_of(server, run_id).status == "suspended"
    assert server.post(f"/runs/{run_id}/unlock", body).status == status
    assert run_of(server, run_id).status == ("running" if status == 200 else "suspended")


def test_a_run_that_is_not_locked_cannot_be_unlocked(server: Api) -> None:
    run_id = start(server)
    assert server.post(f"/runs/{run_id}/unlock", {"because": "x"}).status == 409
    assert server.post(f"/runs/{run_id}/unlock", {"because": "x"}, owner="you").status == 404


def test_a_session_and_a_cost_tell_what_models_took(server: Api) -> None:
    run_id = start(server, session_id="s1")
    assert server.get("/sessions/s1/usage").status == 404
    run = run_of(server, run_id)
    version = server.installation.workflows.version(run.workflow_id, 1)
    deps = server.installation.run_deps()
    object.__setattr__(deps, "models", Says(lambda r, c: "yes", name="openai"))
    run_inline(deps, Plan.from_dict(version.plan), run)
    answer = server.get("/sessions/s1/usage").body
    assert answer["usage"]["unpriced"] == ["openai:says-1"]
    assert answer["usage"] == server.get(f"/runs/{run_id}").body["usage"]
    assert server.get("/sessions/s1/usage", owner="you").status == 404
    cost = server.get(f"/runs/{run_id}/cost").body
    assert cost["models"]["usd"] == 0.0
    assert cost["models"]["unpriced"] == ["openai:says-1"]
    assert cost["models"]["expected_usd"] > 0
