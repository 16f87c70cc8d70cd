"""What every keeper of limits and breakers promises."""

from __future__ import annotations

import itertools
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from contract.backends import Backend

from joinery.aws.dynamo_limits import DynamoBreakers, DynamoRates
from joinery.llm.breaker import Breakers, BreakerState, MemoryBreakers
from joinery.llm.rates import Limit, LimitReached, MemoryRates, Rates

HOUR_S = 3_600.0


@pytest.fixture
def key() -> str:
    return f"local/{uuid.uuid4().hex}"


@pytest.fixture
def rates(backend: Backend) -> Rates:
    if backend.client is None:
        return MemoryRates()
    return DynamoRates(backend.client, backend.catalog_table)


@pytest.fixture
def breakers(backend: Backend) -> Breakers:
    if backend.client is None:
        return MemoryBreakers()
    return DynamoBreakers(backend.client, backend.catalog_table)


def another(rates: Rates, backend: Backend) -> Rates:
    """The same buckets as another process sees them."""
    if backend.client is None:
        return rates
    return DynamoRates(backend.client, backend.catalog_table)


def cost(requests: int | None = 60, tokens: int | None = None, used: int = 0) -> Any:
    found = Limit(requests, tokens).cost(used)
    assert found is not None
    return found


def most_in_a_minute(begins: list[float]) -> int:
    return max(sum(1 for at in begins if start <= at < start + 60) for start in begins)


def test_first_calls_begin_at_once_and_the_others_evenly(rates: Rates, key: str) -> None:
    now = time.time()
    begins = [rates.take(key, cost(), now, now + HOUR_S) for _ in range(20)]
    assert [at - now for at in begins[:6]] == [0.0] * 6
    steps = [b - a for a, b in itertools.pairwise(begins[6:])]
    assert all(step == pytest.approx(61 / 55) for step in steps)


def test_no_window_of_a_minute_holds_more_than_the_limit(rates: Rates, key: str) -> None:
    now = time.time()
    begins = [rates.take(key, cost(12), now, now + HOUR_S) for _ in range(40)]
    # After an idle minute the burst is there again.
    later = begins[-1] + 300
    begins += [rates.take(key, cost(12), later, later + HOUR_S) for _ in range(20)]
    # Each may begin a second later than its place: the worst is when only the first ones do.
    assert most_in_a_minute(begins) <= 12
    assert (
        most_in_a_minute([at + (0.9 if index < 12 else 0) for index, at in enumerate(begins)]) <= 12
    )


def test_tokens_are_limited_like_calls(rates: Rates, key: str) -> None:
    now = time.time()
    price = cost(None, 1_000, used=400)
    begins = [rates.take(key, price, now, now + HOUR_S) for _ in range(6)]
    assert begins == sorted(begins)
    for start in begins:
        assert sum(400 for at in begins if start <= at < start + 60) <= 1_000


def test_a_call_that_would_begin_too_late_takes_nothing(rates: Rates, key: str) -> None:
    now = time.time()
    first = rates.take(key, cost(1), now, now)
    with pytest.raises(LimitReached) as reached:
        rates.take(key, cost(1), now, now + 1)
    assert reached.value.begins > now + 30
    assert first == now
    # Nothing was taken by the one that could not wait.
    assert rates.take(key, cost(1), now, now + HOUR_S) == pytest.approx(reached.value.begins)


def test_a_blocked_bucket_lets_nobody_begin_before(
    rates: Rates, key: str, backend: Backend
) -> None:
    now = time.time()
    rates.take(key, cost(), now, now + HOUR_S)
    rates.block(key, cost(), now + 30)
    rates.block(key, cost(), now + 10)
    other = another(rates, backend)
    assert other.take(key, cost(), now, now + HOUR_S) >= now + 30
    with pytest.raises(LimitReached):
        rates.take(key, cost(), now, now + 5)


def test_all_processes_share_one_queue(rates: Rates, key: str, backend: Backend) -> None:
    now = time.time()
    workers = [another(rates, backend) for _ in range(4)]

    def work(mine: Rates) -> list[float]:
        return [mine.take(key, cost(), now, now + HOUR_S) for _ in range(6)]

    with ThreadPoolExecutor(4) as pool:
        begins = sorted(at for some in pool.map(work, workers) for at in some)
    alone = MemoryRates()
    expected = [alone.take(key, cost(), now, now + HOUR_S) for _ in range(24)]
    assert begins == pytest.approx(expected, abs=0.001)


def test_a_closed_breaker_is_none(breakers: Breakers, key: str) -> None:
    now = time.time()
    assert breakers.read(key, now) is None
    assert breakers.change(key, None, None, now)


def test_one_of_many_opens_and_one_of_many_probes(breakers: Breakers, key: str) -> None:
    now = time.time()
    first, second = (BreakerState(uuid.uuid4().hex, now + 30) for _ in range(2))
    assert breakers.change(key, None, first, now)
    assert not breakers.change(key, None, second, now)
    assert breakers.read(key, now) == first
    probe = BreakerState(first.opened, first.until, 1, "me", now + 90)
    other = BreakerState(first.opened, first.until, 1, "you", now + 90)
    assert breakers.change(key, first, probe, now)
    assert not breakers.change(key, first, other, now)
    assert not breakers.change(key, other, None, now)
    assert breakers.read(key, now) == probe
    assert breakers.change(key, probe, None, now)
    assert breakers.read(key, now) is None


def test_a_breaker_that_nobody_asked_for_long_is_closed(breakers: Breakers, key: str) -> None:
    now = time.time()
    old = BreakerState("a", now + 30)
    assert breakers.change(key, None, old, now)
    assert breakers.read(key, old.ends + 1) is None
    assert not breakers.change(key, old, None, old.ends + 1)
    again = BreakerState("b", old.ends + 40)
    assert breakers.change(key, None, again, old.ends + 1)
    assert breakers.read(key, old.ends + 1) == again
