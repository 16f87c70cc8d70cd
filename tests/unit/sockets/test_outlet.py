"""A connection that is busy is given time; one that is gone is told at once."""

from __future__ import annotations

from typing import Any

import pytest

from joinery.aws.outlet import TRIES, PatientOutlet
from joinery.aws.posting import Outcome
from joinery.errors import Unavailable


class Sender:
    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)

    def send(self, connection_id: str, message: Any) -> Outcome:
        return self.outcomes.pop(0)


def outlet(*outcomes: Outcome) -> tuple[PatientOutlet, list[float]]:
    slept: list[float] = []
    sender: Any = Sender(*outcomes)
    return PatientOutlet(sender, slept.append), slept


def test_it_waits_longer_each_time() -> None:
    sends, slept = outlet(Outcome.BUSY, Outcome.BUSY, Outcome.SENT)
    assert sends.send("c", {}) is True
    assert slept == [0.1, 0.2]


def test_gone_is_gone() -> None:
    sends, slept = outlet(Outcome.GONE)
    assert sends.send("c", {}) is False
    assert not slept


@pytest.mark.parametrize("outcomes", [[Outcome.BUSY] * TRIES, [Outcome.REFUSED]])
def test_it_gives_up(outcomes: list[Outcome]) -> None:
    sends, _ = outlet(*outcomes)
    with pytest.raises(Unavailable):
        sends.send("c", {})
