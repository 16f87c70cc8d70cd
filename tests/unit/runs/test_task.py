"""One node invocation: claims, attempts, failure policies, and what a repetition does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from kit.engines import Ended, begin, interpreted
from kit.models import Says
from kit.workflows import workflow

from joinery.compiler.compile import compile_workflow
from joinery.compiler.plan import Plan
from joinery.errors import (
    NodeError,
    PermanentAttemptsExhausted,
    PermanentTimeout,
    RunCancelled,
    RunSuspended,
    TransientClaimed,
    TransientOutputInvalid,
)
from joinery.events.make import make_event
from joinery.model_errors import PermanentModelAuth, TransientModelStream, TransientModelUnavailable
from joinery.runs.model import NodeKey
from joinery.runs.task import run_task


def plan_of(edges: list[str], nodes: dict[str, Any] | None = None, **more: Any) -> Plan:
    # Level 1: a Task for each node, so that a test can run one alone.
    return compile_workflow(workflow(edges, nodes, **more), opt=1).plan


def one_llm(**more: Any) -> Plan:
    return plan_of(["start -> a -> end"], {"a": {"type": "llm", "prompt": "hi", **more}})


def run(ended: Ended, plan: Plan, node: str = "a", path: str = "") -> dict[str, Any]:
    return run_task(ended.deps, plan, ended.run, node, path, deadline=time.monotonic() + 60)


def record(ended: Ended, node: str = "a") -> Any:
    (found,) = [r for r in ended.store.nodes(ended.run.run_id) if r.node_id == node]
    return found


def test_a_second_invocation_calls_no_model_and_puts_the_event_out_again() -> None:
    plan, says = one_llm(), Says(lambda r, c: "hello")
    ended = begin(plan, {}, says)

    first = run(ended, plan)
    stored = ended.listener.named("node.completed")
    second = run(ended, plan)

    assert first == second
    assert len(says.calls) == 1
    assert ended.listener.named("node.completed") == stored * 2
    assert ended.store.control(ended.run.run_id).head == stored[0]["head"]


def test_a_live_claim_is_waited_for() -> None:
    plan, says = one_llm(), Says(lambda r, c: "hello")
    ended = begin(plan, {}, says)
    now = time.time()
    key = NodeKey(plan.by_id["a"].ord, "")
    ended.store.claim(ended.run.run_id, key, "a", holder="other", now=now, until=now + 9)

    with pytest.raises(TransientClaimed) as held:
        run(ended, plan)
    assert 0 < held.value.details["retry_after_s"] <= 9
    assert says.calls == []


def test_a_dead_claim_is_taken_over_and_its_attempt_counts() -> None:
    plan, says = one_llm(), Says(lambda r, c: "hello")
    ended = begin(plan, {}, says)
    now = time.time()
    key = NodeKey(plan.by_id["a"].ord, "")
    ended.store.claim(ended.run.run_id, key, "a", holder="dead", now=now - 60, until=now - 45)

    run(ended, plan)
    assert record(ended).attempt == 2
    assert record(ended).status == "completed"


def test_what_a_lost_attempt_writes_does_not_count() -> None:
    plan = one_llm()
    box: dict[str, Any] = {}

    def steal(request: Any, call: Any) -> Iterator[str]:
        yield "mine "
        if call.call == 1:
            ended: Ended = box["ended"]
            later = time.time() + 100
            key = NodeKey(plan.by_id["a"].ord, "")
            ended.store.claim(
                ended.run.run_id, key, "a", holder="thief", now=later, until=later + 5
            )
        yield "only"

    ended = box["ended"] = begin(plan, {}, Says(steal))
    with pytest.raises(TransientClaimed):
        run(ended, plan)
    assert record(ended).status == "running"
    assert record(ended).holder == "thief"
    assert ended.listener.named("node.completed") == []


def test_transient_errors_are_tried_again_until_the_attempts_are_used_up() -> None:
    plan = one_llm(retry={"attempts": 2, "backoff": "1s"})

    def fails(request: Any, call: Any) -> Iterator[str]:
        yield "half an ans"
        raise TransientModelStream("cut")

    ended = begin(plan, {}, Says(fails))
    with pytest.raises(TransientModelStream):
        run(ended, plan)
    assert record(ended).status == "running"
    assert record(ended).claim_until == 0
    with pytest.raises(PermanentAttemptsExhausted) as last:
        run(ended, plan)
    assert last.value.details["cause"]["code"] == "model_stream_broken"
    assert record(ended).status == "failed"
    assert [e["event"] for e in ended.listener.messages if "seq" in e] == [
        "run.started",
        "node.started",
        "node.retrying",
        "node.started",
        "node.failed",
    ]
    deltas = ended.listener.named("text.delta")
    assert {d["data"]["attempt"] for d in deltas} == {1, 2}
    assert record(ended).usage["model_calls"] == 2


def test_a_failed_node_stays_failed_when_it_is_invoked_again() -> None:
    plan, says = one_llm(), Says(lambda r, c: _raise(PermanentModelAuth("no key")))
    ended = begin(plan, {}, says)
    with pytest.raises(PermanentModelAuth):
        run(ended, plan)
    with pytest.raises(PermanentAttemptsExhausted) as again:
        run(ended, plan)
    assert again.value.message == "no key"
    assert len(says.calls) == 1


def test_only_listed_errors_are_retried() -> None:
    plan = one_llm(retry={"attempts": 3, "errors": ["model_rate_limited"]})
    ended = begin(plan, {}, Says(lambda r, c: _raise(TransientModelUnavailable("down"))))
    with pytest.raises(PermanentAttemptsExhausted):
        run(ended, plan)


def test_timeout_counts_from_the_first_attempt() -> None:
    plan = one_llm(timeout="5s", retry={"attempts": 9, "backoff": "4s"})
    ended = begin(plan, {}, Says(lambda r, c: _raise(TransientModelUnavailable("down"))))
    key = NodeKey(plan.by_id["a"].ord, "")
    past = time.time() - 6
    ended.store.claim(ended.run.run_id, key, "a", holder="x", now=past, until=past + 1)
    with pytest.raises(PermanentTimeout):
        run(ended, plan)
    assert record(ended).error["code"] == "node_timeout"


def test_an_attempt_that_could_not_begin_in_time_is_not_waited_for() -> None:
    plan = one_llm(timeout="5s", retry={"attempts": 9, "backoff": "60s"})
    ended = begin(plan, {}, Says(lambda r, c: _raise(TransientModelUnavailable("down"))))
    with pytest.raises(PermanentAttemptsExhausted):
        run(ended, plan)


@pytest.mark.parametrize(
    ("answer", "word"),
    [("no json", "not JSON"), ('{"score": 101}', "maximum"), ('{"score": "x"}', "integer")],
)
def test_answers_that_do_not_match_the_schema_are_tried_again(answer: str, word: str) -> None:
    plan = one_llm(output={"score": {"type": "integer", "maximum": 100}})
    ended = begin(plan, {}, Says(lambda r, c: answer if c.call == 1 else '{"score": 7}'))
    with pytest.raises(TransientOutputInvalid) as wrong:
        run(ended, plan)
    assert word in wrong.value.message
    run(ended, plan)
    assert record(ended).result == {"text": '{"score": 7}', "output": {"score": 7}}
    assert record(ended).usage["model_calls"] == 2


def test_cancel_is_seen_in_mid_stream_and_nothing_is_stored() -> None:
    plan = one_llm()
    box: dict[str, Ended] = {}

    def cancels(request: Any, call: Any) -> Iterator[str]:
        yield "one "
        box["e"].store.request_cancel(box["e"].run.run_id)
        yield "two"

    ended = box["e"] = begin(plan, {}, Says(cancels))
    with pytest.raises(RunCancelled):
        run(ended, plan)
    assert record(ended).status == "running"
    with pytest.raises(RunCancelled):
        run(ended, plan)


@pytest.mark.parametrize(
    ("event", "error"), [("run.cancelled", RunCancelled), ("run.paused", RunSuspended)]
)
def test_a_node_does_not_begin_that_was_claimed_while_its_run_was_stopped(
    event: str, error: type[NodeError], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, says = one_llm(), Says(lambda r, c: "hello")
    ended = begin(plan, {}, says)
    claim = ended.store.claim

    def stopped_meanwhile(*args: Any, **more: Any) -> Any:
        found = claim(*args, **more)
        if event == "run.cancelled":
            ended.store.request_cancel(ended.run.run_id)
        else:
            told = make_event(event, ended.run.run_id, {"incarnation": 1}, at=1.0)
            ended.store.pause_run(ended.store.get_run(ended.run.run_id), told)
        return found

    monkeypatch.setattr(ended.store, "claim", stopped_meanwhile)
    with pytest.raises(error):
        run(ended, plan)
    assert (says.calls, ended.listener.named("node.started")) == ([], [])
    # It was no attempt: all are left.
    assert (record(ended).status, record(ended).tries) == ("pending", 0)


def test_the_end_of_a_run_goes_out_again() -> None:
    plan = one_llm()
    ended = begin(plan, {}, Says(lambda r, c: "hello"))
    for node in ("a", "end", "end"):
        run(ended, plan, node)
    first, second = ended.listener.named("run.completed")
    assert first == second


@pytest.mark.parametrize(
    ("policy", "status", "outputs"),
    [
        ("fail", "failed", None),
        ("continue", "completed", {"x": "nothing"}),
        ({"default": "fallback"}, "completed", {"x": "fallback"}),
    ],
)
def test_failure_policies(policy: Any, status: str, outputs: Any) -> None:
    plan = plan_of(
        ["start -> a -> b -> end"],
        {
            "a": {"type": "llm", "prompt": "hi", "on_error": policy},
            "b": {"type": "template", "template": "{{ nodes.a.text ?? 'nothing' }}"},
        },
        outputs={"x": "{{ nodes.b.text }}"} if policy != "fail" else {},
    )
    ended = interpreted(plan, {}, Says(lambda r, c: _raise(PermanentModelAuth("no key"))))
    assert ended.status == status
    assert ended.outputs == outputs
    (failed,) = ended.listener.named("node.failed")
    assert failed["data"]["error"]["code"] == "model_auth"
    if status == "failed":
        assert ended.run.error is not None
        assert ended.run.error["node_id"] == "a"
        assert ended.nodes().keys() == {("a", "")}


def test_unexpected_exceptions_do_not_leak() -> None:
    plan = one_llm()
    ended = interpreted(plan, {}, Says(lambda r, c: _raise(RuntimeError("secret"))))
    assert ended.status == "failed"
    assert "secret" not in str(ended.run.error)
    assert "secret" not in str(ended.listener.messages)


def test_an_output_that_cannot_be_computed_fails_the_run_at_end() -> None:
    plan = plan_of(["start -> a -> end"], {}, outputs={"x": "{{ nodes.a.output.none }}"})
    ended = interpreted(plan, {})
    assert ended.status == "failed"
    assert ended.run.error is not None
    assert ended.run.error["node_id"] == "end"


def test_the_judge_sees_both_sides_in_branch_order_whatever_the_order_of_completion() -> None:
    plan = plan_of(
        ["start -> slow, fast", "slow, fast -> judge -> end"],
        {
            "slow": {"type": "llm", "prompt": "s"},
            "fast": {"type": "llm", "prompt": "f"},
            "judge": {"type": "llm", "prompt": "{{ nodes.slow.text }}|{{ nodes.fast.text }}"},
        },
    )

    def answer(request: Any, call: Any) -> Iterator[str]:
        if call.node_id == "slow":
            time.sleep(0.1)
        yield call.node_id

    says = Says(answer)
    ended = interpreted(plan, {}, says)
    assert ended.status == "completed"
    assert says.calls[-1] == ("judge", "", 1)
    assert says.prompts[-1] == "slow|fast"
    assert [c[0] for c in says.calls].count("judge") == 1


def test_values_that_look_like_expressions_are_not_evaluated() -> None:
    plan = plan_of(
        ["start -> a -> end"],
        {"a": {"type": "template", "template": "{{ inputs.x }}"}},
        inputs={"x": {"type": "string"}},
        outputs={"y": "{{ nodes.a.text }}"},
    )
    ended = interpreted(plan, {"x": "{{ run.id }}"})
    assert ended.outputs == {"y": "{{ run.id }}"}


def _raise(error: Exception) -> Any:
    raise error
