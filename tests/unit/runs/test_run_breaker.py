"""The breaker: each rule at its limit, once for all branches, and unlocking."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from kit.engines import Ended, Listener, NoModels, begin, interpreted
from kit.models import Says
from kit.workflows import workflow

from joinery.compiler.compile import compile_workflow
from joinery.compiler.plan import Plan
from joinery.errors import Conflict, InvalidRequest, RunSuspended
from joinery.llm.types import Usage
from joinery.nodes.guard import CallEstimate
from joinery.runs.control import resume, unlock
from joinery.runs.deps import Deps
from joinery.runs.guarding import RunGuard
from joinery.runs.idle import waited_s
from joinery.runs.interpreter import run_inline
from joinery.runs.invocation import Invocation
from joinery.runs.lifecycle import close_ended
from joinery.runs.memory_store import MemoryStore
from joinery.runs.model import NodeKey, NodeRecord
from joinery.runs.novelty import novelty
from joinery.runs.start import create_run
from joinery.runs.suspend import suspend
from joinery.runs.terms import Rules, Terms, limit_of

ASK = {"type": "llm", "prompt": "{{ inputs.q ?? 'Well?' }}"}
PLAN = compile_workflow(workflow(["start -> a, b, c -> end"], dict.fromkeys("abc", ASK))).plan


class Clock:
    """Epoch seconds that stand still; at the beginning of a window of ten."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def world(plan: Plan = PLAN, store: Any = None, clock: Any = time.time) -> Ended:
    store, listener = store or MemoryStore(), Listener()
    deps = Deps(store, listener, NoModels(), clock=clock, background=False)
    run, _ = create_run(deps, plan, owner="me", workflow_id="wf", version=1, given={})
    store.mark_started(run.run_id, "arn", clock())
    return Ended(deps, store, store.get_run(run.run_id), listener)


def guard(
    ended: Ended, node: str = "a", path: str = "", plan: Plan = PLAN, **terms: Any
) -> RunGuard:
    named = plan.by_id[node]
    run = ended.store.get_run(ended.run.run_id)
    inv = Invocation(ended.deps, plan, run, named, path, time.monotonic() + 60, {})
    record = NodeRecord(NodeKey(named.ord, path), node, "running", attempt=1)
    held = Terms(run.run_id, limit_of({}), Rules(), 1_000, 1)
    return RunGuard(
        inv, record, replace(held, **terms), cancelled=lambda: False,
        deadline=time.monotonic() + 60,
    )  # fmt: skip


def call(a_guard: RunGuard, into: int, out: int, text: str = "") -> None:
    reservation = a_guard.before(CallEstimate("scripted", "m", into, out))
    a_guard.after(reservation, Usage(into, out), text)


def told(ended: Ended, name: str = "breaker.tripped") -> list[Any]:
    found = ended.store.events(ended.run.run_id, 0, 1_000)
    return [event["data"] for event in found if event["event"] == name]


def tripped(ended: Ended) -> list[str]:
    return [data["reason"] for data in told(ended)]


# -- the rules ---------------------------------------------------------------------------


def test_three_times_the_estimate_is_allowed_and_one_token_more_is_not() -> None:
    ended = world()
    one = guard(ended)
    call(one, 2_000, 1_000)
    assert told(ended) == []
    call(one, 1, 0)
    (event,) = told(ended)
    assert (event["reason"], event["value"], event["limit"]) == ("token_surge", 3_001, 3_000)
    assert event["used"] == {"tokens": 3_001}
    assert (event["node_id"], event["path"], event["incarnation"]) == ("a", "", 1)
    run = ended.store.get_run(ended.run.run_id)
    assert (run.status, (run.error or {})["code"]) == ("suspended", "breaker_tripped")
    assert (run.error or {})["message"] == event["message"]
    for node in "abc":
        with pytest.raises(RunSuspended):
            guard(ended, node).before(CallEstimate("scripted", "m", 1, 1))


def test_what_three_agents_add_at_once_trips_it_once() -> None:
    times = int(os.environ.get("JOINERY_EXAMPLES", "200"))
    for _ in range(times):
        ended = world()
        guards = [guard(ended, node) for node in "abc"]
        gate = threading.Barrier(3)

        def add(one: RunGuard, gate: threading.Barrier = gate) -> None:
            reservation = one.before(CallEstimate("scripted", "m", 1_000, 1_000))
            gate.wait()
            one.after(reservation, Usage(2_500, 1_000))

        threads = [threading.Thread(target=add, args=(one,)) for one in guards]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert tripped(ended) == ["token_surge"]
        ledger = ended.store.ledgers.get(ended.run.run_id, 1)
        assert ledger is not None
        assert (ledger.used, ledger.holds) == (10_500, {})


def test_a_text_and_three_repeats_trip_it_and_two_do_not() -> None:
    first = "The second paragraph names no source for its figures; the others do."
    assert novelty([first] * 3) is None
    for said, repeats in ((first, 3), (first.replace("no source", "no sources"), 3)):
        ended = world()
        one = guard(ended)
        call(one, 1, 1, first)
        for number in range(1, repeats + 1):
            assert tripped(ended) == []
            call(one, 1, 1, said if number == 1 else first)
        (event,) = told(ended)
        assert event["reason"] == "loop"
        assert 0 <= event["value"] < 0.1


def test_answers_that_say_something_new_never_trip_it() -> None:
    texts = [
        "The study covers twelve towns and shows that buses arrive later in winter.",
        "Winter is not the cause: the timetable was cut in October, before the snow.",
        "Both may hold; the data of the depots would tell the one from the other.",
        "Depot data show late departures on dry days too, so the timetable explains most.",
        "Then the report should say so, and leave the weather to an appendix.",
        "Agreed on the appendix; the summary still names the weather first, which is wrong.",
    ]
    found = [novelty(texts[: end + 1]) for end in range(3, len(texts))]
    assert all(value is not None and value > 0.7 for value in found)
    ended = world()
    one = guard(ended)
    for text in texts:
        call(one, 1, 1, text)
    assert told(ended) == []


def test_answers_with_a_schema_may_say_the_same() -> None:
    ended = world()
    one = guard(ended)
    for _ in range(6):
        reservation = one.before(CallEstimate("scripted", "m", 1, 1, formal=True))
        one.after(reservation, Usage(1, 1), '{"good": false}')
    assert told(ended) == []


LOOPED = compile_workflow(
    workflow(
        ["start -> a -> l", "l.repeat -> a", "l.done -> end"],
        {"a": ASK, "l": {"type": "loop", "max_rounds": 50}},
        outputs={"text": "{{ nodes.a.text }}"},
    )
).plan


def test_a_loop_whose_rounds_repeat_each_other_is_stopped_and_may_go_on() -> None:
    model = Says(lambda r, c: "I agree with all that was said before.")
    ended = interpreted(LOOPED, {}, model)
    assert (ended.status, tripped(ended)) == ("suspended", ["loop"])
    assert len(model.calls) == 4  # one answer and three repeats
    with pytest.raises(Conflict, match="unlock"):
        resume(ended.deps, ended.run, lambda run: "arn")
    unlock(ended.deps, ended.run, lambda run: "arn", because="it has to agree")
    run_inline(ended.deps, LOOPED, ended.store.get_run(ended.run.run_id), sleep=lambda _: None)
    # What was said before it was unlocked does not count any more.
    assert len(model.calls) == 8
    assert tripped(ended) == ["loop", "loop"]


def test_no_loop_passes_its_tenth_round_whatever_the_workflow_says() -> None:
    said = iter(f"{number * 7919:b} {number}" * 9 for number in range(1_000))
    model = Says(lambda r, c: next(said))
    plan = replace(LOOPED, breaker={"novelty": "off"})
    ended = interpreted(plan, {}, model)
    assert (ended.status, tripped(ended)) == ("suspended", ["depth"])
    assert len(model.calls) == 10
    (event,) = told(ended)
    assert (event["value"], event["limit"], event["path"]) == (11, 10, "11")
    unlock(ended.deps, ended.run, lambda run: "arn", because="it gets better")
    run_inline(ended.deps, plan, ended.store.get_run(ended.run.run_id), sleep=lambda _: None)
    assert len(model.calls) == 20
    wider = replace(LOOPED, breaker={"novelty": "off", "depth": 60, "token_surge": "off"})
    assert interpreted(wider, {}, model).status == "completed"


def test_ten_minutes_are_allowed_and_waits_for_people_do_not_count() -> None:
    clock = Clock()
    ended = world(clock=clock)
    clock.now += 600
    call(guard(ended), 1, 1)
    clock.now += 1
    with pytest.raises(RunSuspended):
        guard(ended).before(CallEstimate("scripted", "m", 1, 1))
    (event,) = told(ended)
    assert (event["reason"], event["value"], event["limit"]) == ("wall_time", 601, 600)
    clock.now += 7_000
    unlock(ended.deps, ended.store.get_run(ended.run.run_id), lambda run: "arn", because="slow")
    clock.now += 599
    call(guard(ended), 1, 1)
    assert tripped(ended) == ["wall_time"]


def test_waits_for_people_count_once_where_they_overlap() -> None:
    clock = Clock()
    ended = world(clock=clock)
    node = replace(PLAN.by_id["a"], type="review")
    other = replace(PLAN.by_id["b"], type="question")
    plan = replace(PLAN, nodes=(node, other, *PLAN.nodes[2:]))
    since = clock.now
    records = [
        NodeRecord(NodeKey(node.ord, ""), "a", "completed", started_at=since + 100,
                   ended_at=since + 400),
        NodeRecord(NodeKey(other.ord, ""), "b", "waiting", started_at=since + 300),
    ]  # fmt: skip
    ended.store.adopt(ended.run.run_id, records)
    clock.now += 1_000
    assert waited_s(ended.deps, plan, ended.run, since) == 900
    assert waited_s(ended.deps, plan, ended.run, since + 600) == 400
    assert waited_s(ended.deps, PLAN, ended.run, since) == 0
    call(guard(ended, "c", plan=plan), 1, 1)
    assert told(ended) == []


@pytest.mark.parametrize(("width", "expected"), [(1, ["velocity"]), (2, [])])
def test_a_thousand_tokens_of_answers_a_second_are_allowed_for_each_branch(
    width: int, expected: list[str]
) -> None:
    clock = Clock()
    ended = world(clock=clock)
    one = guard(ended, width=width, estimate=0)
    call(one, 50_000, 10_000)
    assert told(ended) == []
    call(one, 0, 1)
    assert tripped(ended) == expected
    clock.now += 15  # half of the last window still counts
    call(guard(world(clock=clock), width=width, estimate=0), 0, 5_000)


def test_a_long_answer_counts_as_fast_as_it_came() -> None:
    clock = Clock()
    ended = world(clock=clock)
    one = guard(ended, estimate=0)
    reservation = one.before(CallEstimate("scripted", "m", 1, 1))
    one._begun_at -= 100.0  # it took a hundred seconds
    one.after(reservation, Usage(1, 60_000))
    assert told(ended) == []
    ledger = ended.store.ledgers.get(ended.run.run_id, 1)
    assert ledger is not None
    assert sum(ledger.windows.values()) == pytest.approx(6_000, abs=2)


@pytest.mark.parametrize("rule", ["token_surge", "novelty", "wall_time", "velocity", "depth"])
def test_each_rule_can_be_switched_off_and_set(rule: str) -> None:
    field = {"wall_time": "wall_s"}.get(rule, rule)
    off = Rules.of({rule: "off"})
    assert off == replace(Rules(), **{field: None})
    value: Any = 5 if rule == "depth" else 0.5 if rule == "novelty" else 2.0
    written = "2s" if rule == "wall_time" else value
    asked = workflow(["start -> a -> end"], {"a": ASK}, breaker={rule: written})
    assert Rules.of(compile_workflow(asked).plan.breaker) == replace(Rules(), **{field: value})


# -- tripped -----------------------------------------------------------------------------


def test_what_runs_may_finish_and_nothing_begins_any_more() -> None:
    plan = compile_workflow(
        workflow(
            ["start -> a -> b -> c -> end"],
            {n: {**ASK, "model": {"max_tokens": 10}} for n in "abc"},
            breaker={"token_surge": 1},
        )
    ).plan
    model = Says(lambda r, c: iter(["word "] * 200))
    ended = interpreted(plan, {}, model)
    assert (ended.status, tripped(ended)) == ("suspended", ["token_surge"])
    # The answer that tripped it was paid for, and is kept.
    assert ended.nodes() == {("a", ""): ("completed", "")}
    assert len(model.calls) == 1
    detail = {"name": ended.run.run_id, "status": "FAILED"}
    assert close_ended(ended.deps, detail) == "suspended"
    for incarnation in (2, 3):
        unlock(ended.deps, ended.run, lambda run: "arn", because="long")
        run_inline(ended.deps, plan, ended.store.get_run(ended.run.run_id), sleep=lambda _: None)
        ended.run = ended.store.get_run(ended.run.run_id)
        assert ended.run.incarnation == incarnation
    assert len(model.calls) == 3
    # The last call trips it as well: the run is unlocked once more, and has only to end.
    unlock(ended.deps, ended.run, lambda run: "arn", because="long")
    run_inline(ended.deps, plan, ended.store.get_run(ended.run.run_id), sleep=lambda _: None)
    assert ended.store.get_run(ended.run.run_id).status == "completed"
    assert len(model.calls) == 3


@pytest.mark.parametrize(
    ("because", "checks", "good"),
    [
        ("the document is longer than we thought", (), True),
        ("", ("content", "cost", "risk"), True),
        ("  ", ("content", "cost"), False),
        ("", (), False),
    ],
)
def test_unlocking_needs_a_reason_or_all_three_checks(
    because: str, checks: tuple[str, ...], good: bool
) -> None:
    ended = world()
    data = {"incarnation": 1, "reason": "loop", "message": "nothing new", "value": 0, "limit": 0.1}
    assert suspend(ended.deps, ended.run, "breaker.tripped", data)
    assert not suspend(ended.deps, ended.run, "breaker.tripped", data)
    run = ended.store.get_run(ended.run.run_id)
    if not good:
        with pytest.raises(InvalidRequest, match="needs a reason, or all of the checks"):
            unlock(ended.deps, run, lambda _: "arn", because=because, checks=checks)
        assert ended.store.get_run(run.run_id).status == "suspended"
        return
    now = unlock(ended.deps, run, lambda _: "arn", because=because, checks=checks)
    assert (now.status, now.incarnation, now.error) == ("running", 2, None)
    (event,) = told(ended, "breaker.unlocked")
    assert event["reason"] == "loop"
    assert event.get("because", "") == because
    assert tuple(event.get("checks", ())) == checks
    assert [data["after"] for data in told(ended, "run.resumed")] == ["suspended"]
    assert unlock(ended.deps, now, lambda _: "arn", because="again") == now


def test_only_what_the_breaker_has_stopped_can_be_unlocked() -> None:
    ended = begin(PLAN, {}, NoModels())
    with pytest.raises(Conflict):
        unlock(ended.deps, ended.run, lambda _: "arn", because="I want to")
    data = {"incarnation": 1, "message": "used up", "budget": {}, "used": {}, "wanted": {}}
    suspend(ended.deps, ended.run, "budget.exceeded", data)
    with pytest.raises(Conflict):
        unlock(
            ended.deps, ended.store.get_run(ended.run.run_id), lambda _: "arn", because="I want to"
        )
