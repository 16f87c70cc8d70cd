"""How many requests and tokens a model may be sent in a minute, by all workers together.

Each model has a bucket: one moment, up to which its time is spoken for. A call moves
it on by what the call costs and begins at the place in the queue that it got so. Who
comes first is served first, nobody asks twice, and a call costs one write.

What a call costs is time: a model of 60 requests a minute gives a call about a second.
A tenth of a minute's calls may begin at once, the rest evenly. So no window of 60
seconds, wherever it begins, holds more than the limit, which a bucket that fills up
over a minute and may then be emptied at once does not promise.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from joinery.errors import InvalidRequest
from joinery.strictjson import parse_json

WINDOW_S: Final = 60.0

SLACK_S: Final = 1.0
"""How much later than its place in the queue a call may begin."""

JITTER_S: Final = 0.25
"""Most of that slack which is spread on purpose."""

BURST: Final = 0.1
"""Part of a minute's calls that may begin at once."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call takes of a bucket, in seconds.

    Attributes:
        span: How far it moves the bucket's moment on.
        ahead: How far that moment may lie ahead of the clock when a call begins.
    """

    span: float
    ahead: float

    @property
    def step(self) -> float:
        """How far the moment moves; a call beyond what may begin at once also waits first."""
        return self.span + self.late

    @property
    def late(self) -> float:
        """How much later than the bucket's moment the call begins at the earliest."""
        return max(0.0, self.span - self.ahead)

    def begins(self, moment: float, now: float) -> float:
        """Returns when a call may begin that finds the bucket's moment there."""
        return max(now, max(moment, now) + self.span - self.ahead)


@dataclass(frozen=True, slots=True)
class Limit:
    """What a model may be sent in a minute.

    Attributes:
        requests: Calls, or None for any number.
        tokens: Tokens of prompts and answers, or None for any number.
    """

    requests: int | None = None
    tokens: int | None = None

    def cost(self, tokens: int) -> Cost | None:
        """Returns what a call of so many tokens takes; None when there is no limit.

        Of two limits the one counts that the call takes more of.
        """
        costs = []
        if self.requests is not None:
            burst = max(1.0, BURST * self.requests)
            # Calls are whole: below one more than the limit is within it.
            rate = (self.requests + 1 - burst) / (WINDOW_S + SLACK_S)
            costs.append((1 / rate, burst / rate))
        if self.tokens is not None:
            burst = BURST * self.tokens
            rate = (self.tokens - burst) / (WINDOW_S + SLACK_S)
            costs.append((min(tokens, self.tokens) / rate, burst / rate))
        if not costs:
            return None
        return Cost(max(span for span, _ in costs), min(ahead for _, ahead in costs))

    @staticmethod
    def from_data(said: Any, what: str) -> Limit:
        """Returns the limit of `{requests?, tokens?}`, both per minute.

        Raises:
            InvalidRequest: It is something else.
        """
        fits = isinstance(said, Mapping) and set(said) <= {"requests", "tokens"}
        if not fits or not all(_is_count(value) for value in said.values()):
            raise InvalidRequest(f"{what} must be {{requests, tokens}}, whole numbers a minute")
        return Limit(said.get("requests"), said.get("tokens"))


def _is_count(value: Any) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0)


def parse_limits(text: str) -> dict[str, Limit]:
    """Returns limits by `provider/model` or `provider`, from JSON; none from an empty text.

    Raises:
        InvalidRequest: It is malformed.
    """
    if not text.strip():
        return {}
    said = parse_json(text.encode(), "the limits of models")
    if not isinstance(said, dict):
        raise InvalidRequest("the limits of models must be an object by provider/model")
    return {name: Limit.from_data(limit, f"the limit of {name}") for name, limit in said.items()}


class LimitReached(Exception):
    """A call could not begin in time; `begins` is when it could."""

    def __init__(self, begins: float) -> None:
        super().__init__("the limit is reached")
        self.begins = begins


class Rates(Protocol):
    """Keeps the buckets of all models. Times are epoch seconds."""

    def take(self, key: str, cost: Cost, now: float, latest: float) -> float:
        """Takes a call's place in the queue; returns when it begins.

        Raises:
            LimitReached: That would be after `latest`; nothing was taken.
        """
        ...

    def block(self, key: str, cost: Cost, until: float) -> None:
        """Lets no call begin before `until`; what has its place already keeps it."""
        ...


class MemoryRates:
    """Keeps the buckets of one process."""

    def __init__(self) -> None:
        self._moments: dict[str, float] = {}
        self._lock = threading.Lock()

    def take(self, key: str, cost: Cost, now: float, latest: float) -> float:
        """See `Rates.take`."""
        with self._lock:
            moment = self._moments.get(key, -math.inf)
            begins = cost.begins(moment, now)
            if begins > latest:
                raise LimitReached(begins)
            self._moments[key] = max(moment, now) + cost.step
            return begins

    def block(self, key: str, cost: Cost, until: float) -> None:
        """See `Rates.block`."""
        with self._lock:
            held = self._moments.get(key, -math.inf)
            self._moments[key] = max(held, until + cost.ahead)
