"""Models that have a bad day: tried again, or the run fails with node and reason in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from kit.bad_days import Clock, patience
from kit.engines import Ended, begin
from kit.model_server import Answer, model_server
from kit.workflows import workflow

from joinery.compiler.compile import compile_workflow
from joinery.compiler.plan import Plan
from joinery.llm.calls import Calls
from joinery.llm.prices import prices_from
from joinery.llm.registry import ModelSettings, Registry
from joinery.runs.interpreter import run_inline


def plan(timeout: str = "4s", attempts: int = 3) -> Plan:
    graph = workflow(
        ["start -> a -> end"],
        {
            "a": {
                "type": "llm",
                "prompt": "hi",
                "model": {"name": "m"},
                "timeout": timeout,
                "retry": {"attempts": attempts, "backoff": "100ms"},
            }
        },
        outputs={"x": "{{ nodes.a.text }}"},
    )
    return compile_workflow(graph).plan


def run(base_url: str, made: Plan, calls: Calls | None = None) -> Ended:
    models = Registry(ModelSettings(base_url))
    ended = begin(made, {}, models)
    ended.deps = replace(ended.deps, calls=calls or patience(Clock(), random=0.05))
    run_inline(ended.deps, made, ended.run)
    models.close()
    ended.run = ended.store.get_run(ended.run.run_id)
    return ended


def fine(answer: Answer) -> None:
    answer.begin()
    answer.chunk("well")
    answer.chunk(finish_reason="stop")
    answer.done()


def fails(status: int) -> Callable[[Answer], None]:
    return lambda answer: answer.send(status, {"error": {"message": "bad day"}})


def cut(answer: Answer) -> None:
    answer.begin()
    answer.chunk("wel")


def silent(answer: Answer) -> None:
    answer.begin()
    answer.hang()


def only_posts(behave: Callable[[Answer], None]) -> Callable[[Answer], None]:
    """The provider also asks for the window; that is answered with a 404."""

    def chosen(answer: Answer) -> None:
        if answer.body is None:
            answer.send(404, {})
        else:
            behave(answer)

    return chosen


@pytest.mark.parametrize(
    ("behave", "code", "made"),
    [
        (fails(500), "model_unavailable", 6),
        (fails(429), "model_rate_limited", 8),
        (cut, "model_stream_broken", 3),
    ],
)
def test_a_fault_that_stays_ends_the_run_after_the_last_attempt(
    behave: Any, code: str, made: int
) -> None:
    with model_server(only_posts(behave)) as server:
        ended = run(server.url, plan("30s"))
        calls = [r for r in server.requests if r.body]
    assert ended.status == "failed"
    assert ended.run.error is not None
    assert ended.run.error["node_id"] == "a"
    assert ended.run.error["code"] == "attempts_exhausted"
    assert ended.run.error["details"]["cause"]["code"] == code
    assert len(calls) == made


@pytest.mark.parametrize(("behave", "attempts"), [(fails(500), 1), (fails(429), 1), (cut, 2)])
def test_a_fault_that_passes_is_tried_again(behave: Any, attempts: int) -> None:
    calls: list[int] = []

    def sometimes(answer: Answer) -> None:
        calls.append(1)
        (behave if len(calls) == 1 else fine)(answer)

    with model_server(only_posts(sometimes)) as server:
        ended = run(server.url, plan())
    assert ended.status == "completed"
    assert ended.outputs == {"x": "well"}
    (record,) = ended.store.nodes(ended.run.run_id)
    assert record.attempt == attempts
    assert record.usage["model_calls"] == 2


def test_a_model_that_never_speaks_ends_the_run_within_the_nodes_timeout() -> None:
    with model_server(only_posts(silent)) as server:
        began = time.monotonic()
        ended = run(server.url, plan(timeout="1s"))
        assert time.monotonic() - began < 2.5
    assert ended.status == "failed"
    assert ended.run.error is not None
    assert ended.run.error["code"] == "node_timeout"
    assert ended.run.error["node_id"] == "a"


def test_an_endpoint_that_is_down_ends_the_run_within_the_nodes_timeout() -> None:
    began = time.monotonic()
    ended = run("http://127.0.0.1:9/v1", plan(timeout="3s", attempts=9), Calls())
    assert time.monotonic() - began < 3.5
    assert ended.status == "failed"
    assert ended.run.error is not None
    assert "127.0.0.1" in ended.run.error["message"]


def test_a_refused_key_is_not_tried_again() -> None:
    with model_server(only_posts(fails(401))) as server:
        ended = run(server.url, plan())
        assert len([r for r in server.requests if r.body]) == 1
    assert ended.run.error is not None
    assert ended.run.error["code"] == "model_auth"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, {"message": "You exceeded your current quota, please check your plan and billing "
                          "details.", "type": "insufficient_quota", "code": "insufficient_quota"}),
        (402, {"message": "Insufficient Balance"}),
    ],
)  # fmt: skip
def test_an_account_that_is_empty_is_told_and_not_tried_again(status: int, body: Any) -> None:
    with model_server(only_posts(lambda a: a.send(status, {"error": body}))) as server:
        ended = run(server.url, plan("30s", attempts=5))
        assert len([r for r in server.requests if r.body]) == 1
    error = ended.run.error
    assert error is not None
    assert (error["code"], error["retryable"]) == ("model_quota", False)
    assert "no quota or no money left" in error["message"]


def test_prices_that_are_wrong_are_told_before_a_model_costs_something() -> None:
    with model_server(only_posts(fine)) as server:
        models, made = Registry(ModelSettings(server.url)), plan()
        ended = begin(made, {}, models)
        holed = {"JOINERY_PRICES": '{"local:m": {"input": 1}}'}
        deps = replace(ended.deps, calls=patience(Clock()), prices=lambda: prices_from(holed))
        run_inline(deps, made, ended.run)
        models.close()
        assert server.requests == []
    error = ended.store.get_run(ended.run.run_id).error
    assert error is not None
    assert (error["code"], error["node_id"]) == ("prices_invalid", "a")
    assert "local:m: 'output' is no price" in error["message"]
