"""What limits and breakers cost at DynamoDB."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from contract.backends import moto_backend

from joinery.aws.dynamo_limits import DynamoBreakers, DynamoRates
from joinery.llm.breaker import Breaker
from joinery.llm.rates import Limit


class Counting:
    """A client that notes the operations."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.names: list[str] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.client, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            self.names.append(name)
            return found(*args, **kwargs)

        return call


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with moto_backend() as backend:
        yield backend.client


def test_a_call_within_a_limit_costs_one_write(client: Any) -> None:
    counting = Counting(client)
    rates = DynamoRates(counting, "catalog")
    cost = Limit(60).cost(0)
    assert cost is not None
    now = time.time()
    for index in range(12):
        rates.take("local/one-write", cost, now + index / 10, now + 3_600)
    assert counting.names == ["update_item"] * 12


def test_a_closed_breaker_is_read_once_in_a_while_and_never_written(client: Any) -> None:
    counting = Counting(client)
    moment = [1_000.0]
    breaker = Breaker(DynamoBreakers(counting, "catalog"), clock=lambda: moment[0])
    for _ in range(100):
        breaker.answered(breaker.admit("local/well"))
        moment[0] += 0.04
    assert counting.names == ["get_item"]
