"""When a model is left alone, and when it is asked again."""

from __future__ import annotations

import pytest

from joinery.errors import InvalidRequest, TransientStore
from joinery.llm.breaker import (
    CACHED_S,
    FAILURES,
    OPEN_S,
    PROBE_S,
    WINDOW_S,
    Breaker,
    BreakerOpen,
    MemoryBreakers,
)
from joinery.llm.calls import Calls
from joinery.llm.rates import Limit, parse_limits
from joinery.model_errors import TransientModelUnavailable


class Time:
    def __init__(self) -> None:
        self.at = 1_000.0

    def __call__(self) -> float:
        return self.at


def opened(store: MemoryBreakers, time: Time) -> Breaker:
    breaker = Breaker(store, clock=time)
    for _ in range(FAILURES):
        breaker.failed(breaker.admit("m"))
    return breaker


def test_failures_in_a_row_open_it_for_all_processes() -> None:
    store, time = MemoryBreakers(), Time()
    breaker = Breaker(store, clock=time)
    assert [breaker.failed(breaker.admit("m")) for _ in range(FAILURES)] == [
        *[False] * (FAILURES - 1),
        True,
    ]
    for worker in (breaker, Breaker(store, clock=time)):
        with pytest.raises(BreakerOpen) as stopped:
            worker.admit("m")
        assert stopped.value.again_s == OPEN_S
        worker.admit("another model")


def test_an_answer_between_them_or_much_time_does_not_open_it() -> None:
    time = Time()
    breaker = Breaker(MemoryBreakers(), clock=time)
    for _ in range(3 * FAILURES):
        breaker.failed(breaker.admit("m"))
        breaker.failed(breaker.admit("m"))
        breaker.answered(breaker.admit("m"))
    for _ in range(3 * FAILURES):
        breaker.failed(breaker.admit("m"))
        time.at += WINDOW_S / (FAILURES - 2)
    breaker.admit("m")


def test_after_its_time_one_call_is_let_through_and_closes_it() -> None:
    store, time = MemoryBreakers(), Time()
    opened(store, time)
    time.at += OPEN_S
    first, second = Breaker(store, clock=time), Breaker(store, clock=time)
    permit = first.admit("m")
    assert permit.probe is not None
    with pytest.raises(BreakerOpen):
        second.admit("m")
    first.answered(permit)
    assert store.read("m", time.at) is None
    time.at += CACHED_S
    assert second.admit("m").probe is None


def test_a_probe_that_fails_opens_it_for_twice_as_long() -> None:
    store, time = MemoryBreakers(), Time()
    breaker = opened(store, time)
    waits = []
    for _ in range(6):
        state = store.read("m", time.at)
        assert state is not None
        waits.append(round(state.until - time.at))
        time.at = state.until
        breaker.failed(breaker.admit("m"))
    assert waits == [30, 60, 120, 240, 300, 300]


def test_a_probe_that_died_is_followed_by_another() -> None:
    store, time = MemoryBreakers(), Time()
    breaker = opened(store, time)
    time.at += OPEN_S
    breaker.admit("m")
    time.at += PROBE_S - 1
    with pytest.raises(BreakerOpen):
        breaker.admit("m")
    time.at += 1
    assert breaker.admit("m").probe is not None


def test_a_probe_that_called_nobody_leaves_the_place_to_another() -> None:
    store, time = MemoryBreakers(), Time()
    breaker = opened(store, time)
    time.at += OPEN_S
    breaker.left(breaker.admit("m"))
    assert breaker.admit("m").probe is not None


def test_it_can_be_switched_off() -> None:
    breaker = Breaker(MemoryBreakers(), failures=0, clock=Time())
    assert not any(breaker.failed(breaker.admit("m")) for _ in range(50))


class Broken(MemoryBreakers):
    def read(self, key: str, now: float) -> None:
        raise TransientStore("throttled")

    def change(self, *_: object) -> bool:
        raise TransientStore("throttled")


def test_a_store_that_does_not_answer_stops_nobody() -> None:
    calls = Calls(breaker=Breaker(Broken(), clock=Time()))
    for _ in range(2 * FAILURES):
        calls.settle(calls.admit("openai", "m"), down=True)


def test_an_open_breaker_says_when_to_come_back() -> None:
    time = Time()
    calls = Calls(breaker=opened(MemoryBreakers(), time))
    calls.breaker.admit("openai/m")
    for _ in range(FAILURES):
        calls.settle(calls.admit("openai", "m"), down=True)
    with pytest.raises(TransientModelUnavailable) as stopped:
        calls.admit("openai", "m")
    assert stopped.value.details == {"breaker": "open", "retry_after_s": OPEN_S}


def test_limits_are_read_from_json() -> None:
    assert parse_limits("") == {}
    assert parse_limits('{"openai": {"requests": 5}, "local/m": {"tokens": 9}}') == {
        "openai": Limit(requests=5),
        "local/m": Limit(tokens=9),
    }


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"a": 5}', '{"a": {"requests": 0}}', '{"a": {"other": 1}}']
)
def test_limits_that_are_wrong_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_limits(text)
