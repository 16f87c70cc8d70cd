"""What all calls of models share: limits, breakers, a clock and patience."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from joinery.errors import TransientStore
from joinery.llm.breaker import Breaker, BreakerOpen, MemoryBreakers, Permit
from joinery.llm.rates import (
    JITTER_S,
    Limit,
    LimitReached,
    MemoryRates,
    Rates,
)
from joinery.llm.timeouts import CANCEL_POLL_S
from joinery.model_errors import TransientModelRateLimited, TransientModelUnavailable

log = logging.getLogger(__name__)

ALONE = frozenset({"scripted"})
"""Providers that have no server: nothing of theirs is shared with other runs."""


@dataclass(frozen=True, slots=True)
class Calls:
    """What all calls of models share.

    Attributes:
        rates: The buckets of limited models.
        breaker: Leaves models alone that keep failing.
        limits: Of the installation, by `provider/model` or `provider`.
        clock: Epoch seconds.
        now: Seconds on the clock of deadlines, `time.monotonic`.
        sleep: Waits a number of seconds.
        random: Returns a number from 0 to 1.
    """

    rates: Rates = field(default_factory=MemoryRates)
    breaker: Breaker = field(default_factory=lambda: Breaker(MemoryBreakers(), clock=time.time))
    limits: Mapping[str, Limit] = field(default_factory=dict)
    clock: Callable[[], float] = time.time
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep
    random: Callable[[], float] = random.random

    def pause(self, seconds: float, cancelled: Callable[[], bool]) -> bool:
        """Waits; returns False when the run was cancelled meanwhile."""
        left = seconds
        while left > 0:
            if cancelled():
                return False
            self.sleep(min(left, CANCEL_POLL_S))
            left -= CANCEL_POLL_S
        return not cancelled()

    def admit(self, provider: str, model: str) -> Permit:
        """Returns leave to call a model.

        Raises:
            TransientModelUnavailable: It is left alone for now; `details.breaker` is `open`.
        """
        name = f"{provider}/{model}"
        if provider in ALONE:
            return Permit(name)
        try:
            return self.breaker.admit(name)
        except BreakerOpen as stopped:
            raise TransientModelUnavailable(
                f"{name} is left alone: its last calls failed, and it is asked again in "
                f"{stopped.again_s:.0f} s",
                breaker="open",
                retry_after_s=round(stopped.again_s, 1),
            ) from None
        except TransientStore:
            log.warning("the breaker of %s cannot be read: it counts as closed", name)
            return Permit(name)

    def settle(self, permit: Permit, *, down: bool | None) -> None:
        """Tells a model's breaker what came of a call.

        Args:
            permit: What `admit` gave.
            down: Whether the server did not answer; None where nobody asked it.
        """
        if permit.key.partition("/")[0] in ALONE:
            return
        try:
            if down is None:
                self.breaker.left(permit)
            elif not down:
                self.breaker.answered(permit)
            elif self.breaker.failed(permit):
                log.warning("%s keeps failing: its breaker is open", permit.key)
        except TransientStore:
            log.warning("the breaker of %s cannot be written", permit.key)

    def place(
        self, provider: str, model: str, own: Limit | None, tokens: int, left_s: float
    ) -> float:
        """Takes a call's place within the model's limit; returns the seconds to wait for it.

        Args:
            provider: The provider.
            model: The model there.
            own: The limit that the workflow sets, for a model that the installation
                has none for.
            tokens: About how many the call will take.
            left_s: Longest wait.

        Raises:
            TransientModelRateLimited: It would begin later than that.
        """
        name, limit = self._limit(provider, model, own)
        cost = limit.cost(tokens) if limit else None
        if cost is None:
            return 0.0
        now = self.clock()
        try:
            begins = self.rates.take(name, cost, now, now + left_s)
        except LimitReached as reached:
            wait = max(0.0, reached.begins - now)
            raise TransientModelRateLimited(
                f"the limit of {provider}/{model} lets this call begin in {wait:.0f} s only",
                limit="own",
                retry_after_s=round(wait, 1),
            ) from None
        except TransientStore:
            log.warning("the limit of %s cannot be kept: the call is made without", name)
            return 0.0
        if begins <= now:
            return 0.0
        return begins - now + min(JITTER_S, cost.span) * self.random()

    def block(self, provider: str, model: str, own: Limit | None, seconds: float) -> None:
        """Lets nobody call a limited model for a while: its server asked for that."""
        name, limit = self._limit(provider, model, own)
        cost = limit.cost(1) if limit else None
        if cost is None:
            return
        try:
            self.rates.block(name, cost, self.clock() + seconds)
        except TransientStore:
            log.warning("others are not told that %s asks for a pause", name)

    def _limit(self, provider: str, model: str, own: Limit | None) -> tuple[str, Limit | None]:
        """Returns a model's bucket and its limit: the installation's, else the workflow's."""
        name = f"{provider}/{model}"
        if provider in ALONE:
            return name, None
        found = self.limits.get(name) or self.limits.get(provider)
        if found is None and own is not None:
            # Workflows that set different limits cannot share a bucket.
            return f"{name}#{own.requests or 0}-{own.tokens or 0}", own
        return name, found
