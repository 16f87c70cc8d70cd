"""What every store promises of budgets and breakers: each change is one atomic write."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from joinery.events.make import make_event
from joinery.runs.ledger import Amount, Count, Hold, LedgerRefused, Limit

if TYPE_CHECKING:
    from collections.abc import Callable

    from contract.backends import Started


def hold(tokens: int, pico: int = 0, *, attempt: int = 1, call: int = 1) -> Hold:
    return Hold(Amount(tokens, pico), attempt, call, 2_000_000_000.0)


def together(count: int, work: Callable[[int], None]) -> None:
    """Runs a piece of work in threads that begin at the same moment."""
    gate = threading.Barrier(count)

    def begin(number: int) -> None:
        gate.wait()
        work(number)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_call_takes_its_estimate_and_gives_back_what_it_did_not_need(started: Started) -> None:
    ledgers = started.store.ledgers
    assert ledgers.get(started.id, 1) is None
    with pytest.raises(LedgerRefused) as refused:
        ledgers.reserve(started.id, 1, "3:", hold(10))
    assert refused.value.ledger is None
    ledgers.open(started.id, Limit(100, 5_000))
    ledgers.open(started.id, Limit(7, 7))  # one that is there stays as it is
    now = ledgers.reserve(started.id, 1, "3:", hold(60, 3_000))
    assert (now.left, now.held, now.spent) == (Amount(40, 2_000), Amount(60, 3_000), Amount())
    for wanted in (hold(41, 0), hold(1, 2_001)):
        with pytest.raises(LedgerRefused) as refused:
            ledgers.reserve(started.id, 1, "4:", wanted)
        assert refused.value.ledger is not None
        assert refused.value.ledger.left == Amount(40, 2_000)
    done = ledgers.settle(
        started.id, 1, "3:", hold(60, 3_000), used=Amount(25, 1_000), count=Count(25, 5, 12)
    )
    assert done is not None
    assert (done.left, done.spent, done.holds) == (Amount(75, 4_000), Amount(25, 1_000), {})
    assert (done.used, dict(done.windows)) == (25, {12: 5})
    assert (
        ledgers.settle(started.id, 1, "3:", hold(60, 3_000), used=Amount(25, 1_000), count=None)
        is None
    )
    assert started.again().ledgers.get(started.id, 1) == done


def test_what_is_without_a_limit_is_counted_and_never_refused(started: Started) -> None:
    ledgers = started.store.ledgers
    ledgers.open(started.id, Limit())
    ledgers.reserve(started.id, 1, "1:", hold(10**9, 10**15))
    done = ledgers.settle(
        started.id, 1, "1:", hold(10**9, 10**15), used=Amount(7, 9), count=Count(7, 3, 8)
    )
    assert done is not None
    assert (done.spent, done.limit, done.used) == (Amount(7, 9), Limit(), 7)


def test_an_attempt_takes_the_place_of_one_that_died(started: Started) -> None:
    ledgers = started.store.ledgers
    ledgers.open(started.id, Limit(100))
    first, second = hold(60), hold(70, attempt=2)
    ledgers.reserve(started.id, 1, "1:", first)
    with pytest.raises(LedgerRefused) as refused:
        ledgers.reserve(started.id, 1, "1:", second)
    assert refused.value.ledger is not None
    assert refused.value.ledger.holds["1:"] == first
    now = ledgers.reserve(started.id, 1, "1:", second, was=first)
    assert (now.left, now.holds) == (Amount(30), {"1:": second})
    # The one that was taken for dead comes back: what it used is taken besides.
    late = ledgers.settle(started.id, 1, "1:", first, used=Amount(5), count=None)
    assert late is not None
    assert (late.left, late.holds) == (Amount(25), {"1:": second})
    ledgers.forget(started.id, 1, "1:", first)
    ledgers.forget(started.id, 1, "1:", second)
    now = ledgers.get(started.id, 1)
    assert (now.left, now.holds) == (Amount(95), {})


def test_the_same_reservation_again_is_the_same(started: Started) -> None:
    ledgers = started.store.ledgers
    ledgers.open(started.id, Limit(100))
    if started.backend.name == "memory":
        return  # nothing is sent there, so nothing is sent twice
    for _ in range(2):
        assert ledgers.reserve(started.id, 1, "1:", hold(60)).left == Amount(40)


def test_a_new_limit_counts_what_was_used_and_warns_anew(started: Started) -> None:
    ledgers = started.store.ledgers
    ledgers.open(started.id, Limit(100))
    ledgers.reserve(started.id, 1, "1:", hold(60))
    assert [ledgers.mark_warned(started.id) for _ in range(2)] == [True, False]
    now = ledgers.set_limit(started.id, 1, Limit(150, 9_000))
    assert (now.limit, now.left, now.warned) == (Limit(150, 9_000), Amount(90, 9_000), False)
    assert ledgers.mark_warned(started.id)
    now = ledgers.set_limit(started.id, 1, Limit(pico=10_000))
    assert (now.limit, now.left) == (Limit(150, 10_000), Amount(90, 10_000))


def test_a_limit_may_be_set_before_anything_was_held(started: Started) -> None:
    now = started.store.ledgers.set_limit(started.id, 1, Limit(50))
    assert (now.limit, now.left) == (Limit(50), Amount(50))
    assert started.store.ledgers.reserve(started.id, 1, "1:", hold(50)).left == Amount()


def test_each_incarnation_counts_from_nothing(started: Started) -> None:
    ledgers = started.store.ledgers
    ledgers.open(started.id, Limit())
    for incarnation, window in ((1, 5), (1, 6), (1, 7), (2, 7)):
        ledgers.reserve(started.id, incarnation, "1:", hold(1))
        ledgers.settle(
            started.id, incarnation, "1:", hold(1), used=Amount(1), count=Count(10, 4, window)
        )
    first, second = ledgers.get(started.id, 1), ledgers.get(started.id, 2)
    assert (first.used, second.used) == (30, 10)
    assert dict(second.windows) == {7: 4}
    assert 5 not in first.windows  # only the last two are looked at


# -- suspended ---------------------------------------------------------------------------

ERROR = {"code": "breaker_tripped", "message": "too much", "retryable": True}


def suspend(started: Started, store: Any) -> list[Any]:
    event = make_event("breaker.tripped", started.id, {"reason": "loop"}, at=1_700_000_000.0)
    stored: list[Any] = store.suspend_run(store.get_run(started.id), event, ERROR, ledger=True)
    return stored


def test_of_many_who_suspend_a_run_one_does(started: Started) -> None:
    store = started.store
    store.mark_started(started.id, "arn", started.now)
    told: list[Any] = []
    together(6, lambda _: told.extend(suspend(started, store)))
    assert len(told) == 1
    run = started.again().get_run(started.id)
    assert (run.status, run.error) == ("suspended", ERROR)
    assert started.again().control(started.id).pause
    events = started.again().events(started.id, 0, 50)
    assert [e["event"] for e in events if e["event"] != "void"] == ["breaker.tripped"]


def test_no_call_is_held_once_the_run_is_suspended_but_the_next_incarnation_may(
    started: Started,
) -> None:
    store = started.store
    store.ledgers.open(started.id, Limit(100))
    store.ledgers.reserve(started.id, 1, "1:", hold(10))
    assert suspend(started, store)
    with pytest.raises(LedgerRefused) as refused:
        store.ledgers.reserve(started.id, 1, "2:", hold(10))
    assert refused.value.ledger is not None
    assert refused.value.ledger.stopped == 1
    # What was under way is settled.
    assert (
        store.ledgers.settle(started.id, 1, "1:", hold(10), used=Amount(4), count=None) is not None
    )
    unlocked = make_event("breaker.unlocked", started.id, {}, at=1_700_000_001.0)
    resumed = make_event("run.resumed", started.id, {}, at=1_700_000_001.0)
    told = store.reopen_run(store.get_run(started.id), resumed, unlocked, at=started.now)
    assert [event["event"] for event in told] == ["breaker.unlocked", "run.resumed"]
    run = started.again().get_run(started.id)
    assert (run.status, run.incarnation, run.error) == ("running", 2, None)
    assert run.resumed_at == pytest.approx(started.now)
    assert store.ledgers.reserve(started.id, 2, "2:", hold(96)).left == Amount()


def test_a_run_that_is_paused_or_closed_is_not_suspended(started: Started) -> None:
    store = started.store
    event = make_event("run.paused", started.id, {}, at=1_700_000_000.0)
    store.pause_run(store.get_run(started.id), event)
    assert suspend(started, store) == []
    assert store.get_run(started.id).status == "paused"


def test_a_run_may_be_suspended_before_its_ledger_is_opened(started: Started) -> None:
    store = started.store
    assert suspend(started, store)
    store.ledgers.open(started.id, Limit(100))
    with pytest.raises(LedgerRefused) as refused:
        store.ledgers.reserve(started.id, 1, "1:", hold(10))
    assert refused.value.ledger is not None
    assert (refused.value.ledger.stopped, refused.value.ledger.left) == (1, Amount(100))


def test_forty_branches_never_hold_more_than_there_is(started: Started) -> None:
    ledgers = started.store.ledgers
    ledgers.open(started.id, Limit(100, 1_000))
    seen: list[Amount] = []
    refused: list[int] = []

    def call(number: int) -> None:
        own = hold(10, 100)
        try:
            seen.append(ledgers.reserve(started.id, 1, f"1:{number}", own).committed)
        except LedgerRefused:
            refused.append(number)
            return
        done = ledgers.settle(
            started.id, 1, f"1:{number}", own, used=own.amount, count=Count(10, 5, 8)
        )
        assert done is not None
        seen.append(done.committed)

    together(40, call)
    assert len(refused) == 30
    assert len(seen) == 20
    assert max(a.tokens for a in seen) == 100
    assert max(a.pico for a in seen) == 1_000
    end = ledgers.get(started.id, 1)
    assert (end.left, end.holds, end.used) == (Amount(), {}, 100)


# -- sessions ----------------------------------------------------------------------------


def usage(calls: int, usd: float | None = 0.25) -> dict[str, Any]:
    row = {
        "provider": "openai", "model": "gpt-4o", "model_calls": calls, "input_tokens": 10 * calls,
        "output_tokens": calls, "estimated": False, **({} if usd is None else {"usd": usd}),
    }  # fmt: skip
    from joinery.runs.usage import total

    return total([{"models": [row], "model_calls": calls}])


def close(started: Started, run_id: str, used: dict[str, Any], status: str = "failed") -> None:
    store = started.store
    event = make_event(f"run.{status}", run_id, {}, at=1_700_000_002.0)
    run = store.get_run(run_id)
    assert store.close_run(run, status=status, at=started.now, event=event, usage=used)


def test_a_session_adds_up_what_its_runs_used_each_call_once(started: Started) -> None:
    from dataclasses import replace

    from joinery.runs.ids import new_run_id

    store, session = started.store, f"s-{started.id}"
    assert store.ledgers.session("ada", session) is None
    ids = []
    for _ in range(2):
        run = replace(started.run, run_id=new_run_id(time.time()), session_id=session)
        store.create_run(run, {}, [], {})
        ids.append(run.run_id)
    close(started, ids[0], usage(2))
    # It is resumed and used one call more: that one is added.
    event = make_event("run.resumed", ids[0], {}, at=1_700_000_003.0)
    store.reopen_run(store.get_run(ids[0]), event)
    close(started, ids[0], usage(3, 0.375), "completed")
    close(started, ids[1], usage(4, 0.5))
    found = started.again().ledgers.session("ada", session)
    assert found == usage(7, 0.875)
    assert store.ledgers.session("bob", session) is None
