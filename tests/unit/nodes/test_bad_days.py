"""Models that fail, each in its own way: the text is right at the end, and events say why."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pytest
from kit.bad_days import (
    Behave,
    Clock,
    ask_server,
    begins_and,
    cuts,
    fails,
    hangs,
    malformed,
    one_model,
    opens_and,
    patience,
    play,
    says,
    script,
    seen,
)
from kit.engines import begin
from kit.model_server import model_server
from kit.models import Says

from joinery.compiler.plan import Plan
from joinery.llm.breaker import FAILURES
from joinery.llm.rates import Limit
from joinery.llm.registry import ModelSettings, Registry
from joinery.model_errors import TransientModelRateLimited, TransientModelUnavailable
from joinery.runs.task import run_task

SHORT = {"name": "m", "timeouts": {"first_token": "150ms", "idle": "150ms"}}


def names(ended: Any) -> list[str]:
    return [m["event"] for m in ended.listener.messages if m["event"] != "text.delta"]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (fails(500), "model_unavailable"),
        (fails(429), "model_rate_limited"),
        (opens_and(cuts), "model_stream_broken"),
        (opens_and(malformed), "model_stream_broken"),
    ],
)
def test_a_fault_before_the_first_token_is_repeated_in_the_same_attempt(
    fault: Behave, reason: str
) -> None:
    clock = Clock()
    with model_server(script(fault, says("all is well"))) as server:
        ended = ask_server(server.url, one_model(), patience(clock))
    assert (ended.status, ended.outputs) == ("completed", {"x": "all is well"})
    assert seen(ended) == "all is well"
    (again,) = ended.listener.named("model.retrying")
    assert again["data"]["reason"] == again["data"]["error"]["code"] == reason
    assert (again["data"]["attempt"], again["data"]["calls"]) == (1, 1)
    assert again["data"]["wait_ms"] == round(clock.total * 1000) > 0
    assert "node.retrying" not in names(ended)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (begins_and(cuts), "model_stream_broken"),
        (begins_and(malformed), "model_stream_broken"),
        (begins_and(hangs), "model_timeout"),
        (opens_and(hangs), "model_timeout"),
    ],
)
def test_a_broken_stream_begins_anew_in_a_new_attempt(fault: Behave, reason: str) -> None:
    with model_server(script(fault, says("all is well"))) as server:
        ended = ask_server(server.url, one_model(model=SHORT), patience(Clock()))
    assert (ended.status, ended.outputs) == ("completed", {"x": "all is well"})
    assert seen(ended) == "all is well"
    (again,) = ended.listener.named("node.retrying")
    assert again["data"]["error"]["code"] == reason
    assert "model.retrying" not in names(ended)
    (done,) = ended.listener.named("node.completed")
    assert done["data"]["attempt"] == 2
    assert done["data"]["streams"]["text"]["length"] == len("all is well")


def test_a_model_that_is_down_is_called_six_times_with_growing_waits() -> None:
    clock = Clock()
    with model_server(script(fails(503))) as server:
        ended = ask_server(server.url, one_model(timeout="1m"), patience(clock))
        calls = len([r for r in server.requests if r.body])
    assert ended.status == "failed"
    waits = [m["data"]["wait_ms"] for m in ended.listener.named("model.retrying")]
    assert waits == [1200, 3000, 6000, 12000, 20000]
    # The second attempt finds the breaker open: the first one's six calls have opened it.
    assert calls == 6
    error = ended.run.error
    assert error is not None
    assert error["details"]["cause"]["details"]["breaker"] == "open"
    assert "HTTP 503" in error["message"]


def test_waits_are_spread_from_nothing_to_the_whole() -> None:
    clock = Clock()
    with model_server(script(fails(503), fails(503), says("well"))) as server:
        ask_server(server.url, one_model(), patience(clock, random=0.25))
    assert clock.total == pytest.approx(0.25 * 1.2 + 0.25 * 3.0)


def test_what_a_server_asks_for_is_waited_for_and_a_little_more() -> None:
    clock = Clock()
    with model_server(script(fails(429, Retry_After="7"), says("well"))) as server:
        ended = ask_server(server.url, one_model(), patience(clock, random=0.5))
    assert ended.status == "completed"
    assert clock.total == pytest.approx(7.5)


def test_a_wait_that_goes_beyond_the_nodes_time_is_not_begun() -> None:
    clock = Clock()
    with model_server(script(fails(429, Retry_After="70"), says("well"))) as server:
        ended = ask_server(server.url, one_model(timeout="20s"), patience(clock))
    assert ended.status == "failed"
    assert clock.total == 0


def test_a_wait_beyond_the_invocations_time_is_taken_by_the_next_attempt() -> None:
    clock = Clock()
    plan = one_model(timeout="5m")
    ended = begin(plan, {}, None)
    with model_server(script(fails(429, Retry_After="40"), says("well"))) as server:
        models = Registry(ModelSettings(server.url))
        deps = replace(ended.deps, models=models, calls=patience(clock, random=0.0))
        with pytest.raises(TransientModelRateLimited):
            run_task(deps, plan, ended.run, "a", "", deadline=time.monotonic() + 10)
        assert clock.total == 0
        clock.at += 3  # the backoff of the state machine
        run_task(deps, plan, ended.run, "a", "", deadline=time.monotonic() + 100)
        models.close()
    assert clock.total == pytest.approx(37, abs=0.2)
    assert seen(ended) == "well"


def test_attempts_of_one_mean_one_call() -> None:
    clock = Clock()
    with model_server(script(fails(500), says("well"))) as server:
        ended = ask_server(server.url, one_model(retry={"attempts": 1}), patience(clock))
        assert len([r for r in server.requests if r.body]) == 1
    assert (ended.status, clock.total) == ("failed", 0)


def test_errors_that_are_not_to_be_retried_are_not_repeated_either() -> None:
    retry = {"attempts": 3, "errors": ["model_timeout"]}
    with model_server(script(fails(500), says("well"))) as server:
        ended = ask_server(server.url, one_model(retry=retry), patience(Clock()))
        assert len([r for r in server.requests if r.body]) == 1
    assert ended.status == "failed"


def test_an_empty_answer_is_asked_for_again_three_times() -> None:
    with model_server(script(says(""), says(""), says(""), says("well"))) as server:
        ended = ask_server(server.url, one_model(), patience(Clock()))
    assert ended.outputs == {"x": "well"}
    reasons = [m["data"]["reason"] for m in ended.listener.named("model.retrying")]
    assert reasons == ["empty_answer"] * 3


SCORE = {"score": {"type": "integer", "minimum": 0}}


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ('{"score": "high"}', "score: 'high' is not of type 'integer'"),
        ("{}", "answer: 'score' is a required property"),
        ("I think it is 7", "the answer is not JSON: Expecting value: line 1 column 1 (char 0)"),
    ],
)
def test_a_model_is_told_what_was_wrong_with_its_answer(wrong: str, problem: str) -> None:
    with model_server(script(says(wrong), says('{"score": 7}'))) as server:
        ended = ask_server(server.url, one_model(output=SCORE), patience(Clock()))
        first, second = [r.body["messages"] for r in server.requests if r.body]
    assert ended.status == "completed"
    assert json.loads(seen(ended)) == {"score": 7}
    (rejected,) = ended.listener.named("output.rejected")
    assert rejected["data"] == {"attempt": 1, "problems": [problem], "reason": "stop"}
    assert [m["role"] for m in first] == ["user"]
    assert [m["role"] for m in second] == ["user", "assistant", "user"]
    assert second[0] == first[0]
    assert second[1]["content"] == wrong
    assert problem in second[2]["content"]


def test_an_answer_that_stays_wrong_ends_the_node_after_its_attempts() -> None:
    with model_server(script(says("no"))) as server:
        ended = ask_server(server.url, one_model(output=SCORE), patience(Clock()))
        assert len([r for r in server.requests if r.body]) == 3
    assert ended.status == "failed"
    assert ended.run.error is not None
    assert ended.run.error["details"]["cause"]["code"] == "output_invalid"
    assert len(ended.listener.named("output.rejected")) == 3


# -- several models ------------------------------------------------------------------------


class Two:
    """Two models behind one address book, told apart by their names."""

    def __init__(self, first: Any, second: Any) -> None:
        self.providers = {"first": first, "second": second}

    def resolve(self, ref: Any) -> Any:
        return self.providers[ref["name"]], ref["name"]


def with_fallback(plan: Plan) -> Plan:
    model = {"name": "first", "fallback": [{"name": "second", "provider": "says"}]}
    nodes = tuple(
        replace(node, spec={**node.spec, "model": model}) if node.id == "a" else node
        for node in plan.nodes
    )
    return replace(plan, nodes=nodes)


def down(*_: Any) -> str:
    raise TransientModelUnavailable("down")


def test_the_next_model_answers_where_one_is_down() -> None:
    first, second = Says(down), Says(lambda *_: "well")
    clock = Clock()
    ended = play(with_fallback(one_model()), Two(first, second), patience(clock))
    assert (ended.status, ended.outputs) == ("completed", {"x": "well"})
    # The one that another can stand in for is called twice, not six times.
    assert (len(first.calls), len(second.calls)) == (2, 1)
    (told,) = ended.listener.named("model.fallback")
    assert told["data"]["next"] == "says/second"
    assert told["data"]["reason"] == "model_unavailable"
    assert seen(ended) == "well"


def test_where_all_are_down_the_error_tells_of_all() -> None:
    first, second = Says(down), Says(down)
    ended = play(with_fallback(one_model()), Two(first, second), patience(Clock()))
    assert ended.status == "failed"
    assert ended.run.error is not None
    cause = ended.run.error["details"]["cause"]
    assert [row["model"] for row in cause["details"]["tried"]] == ["first", "says/second"]


def test_what_was_shown_is_never_followed_by_another_models_text() -> None:
    def breaks(*_: Any) -> Any:
        yield "some "
        raise TransientModelUnavailable("gone")

    calls: list[int] = []

    def once(*_: Any) -> Any:
        calls.append(1)
        return breaks() if len(calls) == 1 else "all is well"

    first, second = Says(once), Says(lambda *_: "other")
    ended = play(with_fallback(one_model()), Two(first, second), patience(Clock()))
    assert (ended.outputs, seen(ended)) == ({"x": "all is well"}, "all is well")
    assert second.calls == []
    assert [m["data"]["attempt"] for m in ended.listener.named("node.retrying")] == [1]


def test_a_prompt_that_is_too_long_goes_to_a_model_with_a_larger_window() -> None:
    first, second = Says(lambda *_: "no", window=20), Says(lambda *_: "well", window=4_000)
    plan = with_fallback(one_model(prompt="word " * 200))
    ended = play(plan, Two(first, second), patience(Clock()))
    assert (ended.outputs, first.calls) == ({"x": "well"}, [])
    (told,) = ended.listener.named("model.fallback")
    assert told["data"]["reason"] == "context_too_long"
    smaller = Says(lambda *_: "no", window=10)
    ended = play(plan, Two(first, smaller), patience(Clock()))
    assert (ended.status, smaller.calls) == ("failed", [])


def test_a_timeout_of_the_workflow_says_nothing_about_the_server() -> None:
    calls = patience(Clock())
    plan = one_model(model=SHORT, retry={"attempts": 1})
    with model_server(script(*[opens_and(hangs)] * (FAILURES + 1), says("well"))) as server:
        for _ in range(FAILURES + 1):
            assert ask_server(server.url, plan, calls).status == "failed"
        assert ask_server(server.url, plan, calls).status == "completed"


# -- limits ----------------------------------------------------------------------------------


def test_a_call_waits_for_its_place_in_the_limit() -> None:
    clock = Clock()
    calls = patience(clock, random=0.0, limits={"says": Limit(requests=6)})
    for _ in range(2):
        ended = play(one_model(), Says(lambda *_: "well"), calls)
        assert ended.status == "completed"
    (told,) = ended.listener.named("model.waiting")
    assert told["data"]["wait_ms"] == round(clock.total * 1000) == round(61 / 6 * 1000)


def test_a_place_beyond_the_nodes_time_is_not_waited_for() -> None:
    clock = Clock()
    calls = patience(clock, limits={"says": Limit(requests=1)})
    assert play(one_model(), Says(lambda *_: "well"), calls).status == "completed"
    says_no = Says(lambda *_: "well")
    ended = play(one_model(timeout="10s"), says_no, calls)
    assert (ended.status, says_no.calls, clock.total) == ("failed", [], 0)
    assert ended.run.error is not None
    assert ended.run.error["details"]["cause"]["details"]["limit"] == "own"


def test_a_429_of_one_call_holds_back_the_others() -> None:
    clock = Clock()
    calls = patience(clock, random=0.0, limits={"local": Limit(requests=600)})
    with model_server(script(fails(429, Retry_After="8"), says("well"))) as server:
        retry = {"attempts": 1}
        assert ask_server(server.url, one_model(retry=retry), calls).status == "failed"
        began = clock.at
        assert ask_server(server.url, one_model(), calls).status == "completed"
    # And a tenth of a second for its own place in the queue.
    assert clock.at - began == pytest.approx(8 + 61 / 540, abs=0.01)


def test_a_cancel_ends_a_wait() -> None:
    clock = Clock()
    calls = patience(clock)
    began = time.monotonic()
    assert not calls.pause(60, lambda: clock.total > 1)
    assert clock.total < 1.5
    assert time.monotonic() - began < 1
