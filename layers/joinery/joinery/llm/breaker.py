"""A breaker for each model: one that keeps failing is left alone for a while, by all workers.

closed     calls go through. Failures are counted in the process, so while all is
           well nothing is written, and what is stored is read once in `CACHED_S`.
open       after `failures` in a row within `WINDOW_S`: nobody calls.
half open  once that time is over: one call at a time is let through, by a lease. It
           closes the breaker when it is answered, and opens it for twice as long
           when it fails.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

FAILURES: Final = 6
"""Failures in a row after which a breaker opens: one question's calls. 0 switches breakers off."""

WINDOW_S: Final = 60.0
"""Failures that lie further apart are not in a row."""

OPEN_S: Final = 30.0
OPEN_MAX_S: Final = 300.0

PROBE_S: Final = 130.0
"""Lease of the one call: as long as a model may take for its first token, and a little."""

CACHED_S: Final = 5.0
"""What is stored is believed for so long."""

FORGOTTEN_S: Final = 3_600.0
"""A breaker that nobody has asked for so long after its time is closed."""


@dataclass(frozen=True, slots=True)
class BreakerState:
    """A breaker that is not closed. Times are epoch seconds.

    Attributes:
        opened: A name of this opening; every write is conditional on it.
        until: Nobody calls before.
        times: How often it was opened without being closed.
        probe: A name of the one call that was let through, or `""`.
        probe_until: When its lease ends.
    """

    opened: str
    until: float
    times: int = 1
    probe: str = ""
    probe_until: float = 0.0

    @property
    def ends(self) -> float:
        """When the state means nothing any more."""
        return max(self.until, self.probe_until) + FORGOTTEN_S


class Breakers(Protocol):
    """Keeps the breakers of all models, as far as they are not closed."""

    def read(self, key: str, now: float) -> BreakerState | None:
        """Returns a breaker; None when it is closed."""
        ...

    def change(
        self, key: str, before: BreakerState | None, after: BreakerState | None, now: float
    ) -> bool:
        """Puts a state in place of another; returns False when another one is stored.

        A state is the same when its `opened` and `probe` are. None stands for a closed
        breaker.
        """
        ...


class MemoryBreakers:
    """Keeps the breakers of one process."""

    def __init__(self) -> None:
        self._states: dict[str, BreakerState] = {}
        self._lock = threading.Lock()

    def read(self, key: str, now: float) -> BreakerState | None:
        """See `Breakers.read`."""
        with self._lock:
            return self._live(key, now)

    def change(
        self, key: str, before: BreakerState | None, after: BreakerState | None, now: float
    ) -> bool:
        """See `Breakers.change`."""
        with self._lock:
            if _name(self._live(key, now)) != _name(before):
                return False
            if after is None:
                self._states.pop(key, None)
            else:
                self._states[key] = after
            return True

    def _live(self, key: str, now: float) -> BreakerState | None:
        held = self._states.get(key)
        return held if held is not None and now <= held.ends else None


def _name(state: BreakerState | None) -> tuple[str, str] | None:
    return None if state is None else (state.opened, state.probe)


class BreakerOpen(Exception):
    """A model is left alone; `again_s` is after how many seconds it may be asked."""

    def __init__(self, again_s: float) -> None:
        super().__init__("the breaker is open")
        self.again_s = again_s


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to call a model; `probe` is the state that it probes, None while all is well."""

    key: str
    probe: BreakerState | None = None


class Breaker:
    """One process's view of all breakers.

    Args:
        store: What all processes share.
        failures: Failures in a row after which a breaker opens; 0 for never.
        clock: Epoch seconds.
    """

    def __init__(
        self, store: Breakers, *, failures: int = FAILURES, clock: Callable[[], float]
    ) -> None:
        self._store, self._failures, self._clock = store, failures, clock
        self._failed: dict[str, list[float]] = {}
        self._known: dict[str, tuple[float, BreakerState | None]] = {}
        self._lock = threading.Lock()

    def admit(self, key: str) -> Permit:
        """Returns leave to call a model; tell it what came of that.

        Raises:
            BreakerOpen: The model is to be left alone.
        """
        if not self._failures:
            return Permit(key)
        now = self._clock()
        state = self._state(key, now)
        if state is None:
            return Permit(key)
        if now < state.until:
            raise BreakerOpen(state.until - now)
        if state.probe and now < state.probe_until:
            raise BreakerOpen(min(CACHED_S, state.probe_until - now))
        probe = replace(state, probe=uuid.uuid4().hex, probe_until=now + PROBE_S)
        if self._change(key, state, probe, now):
            return Permit(key, probe)
        self._forget(key)
        raise BreakerOpen(CACHED_S)

    def answered(self, permit: Permit) -> None:
        """The model's server has answered, be it by refusing the request."""
        with self._lock:
            self._failed.pop(permit.key, None)
        if permit.probe is not None:
            self._change(permit.key, permit.probe, None, self._clock())

    def left(self, permit: Permit) -> None:
        """The model was not called after all: another call may probe it."""
        if permit.probe is not None:
            free = replace(permit.probe, probe="", probe_until=0.0)
            self._change(permit.key, permit.probe, free, self._clock())

    def failed(self, permit: Permit) -> bool:
        """The model's server did not answer; returns whether that opened the breaker."""
        if not self._failures:
            return False
        now = self._clock()
        if permit.probe is not None:
            times = permit.probe.times + 1
            until = now + min(OPEN_MAX_S, OPEN_S * 2.0 ** (times - 1))
            opened = BreakerState(uuid.uuid4().hex, until, times)
            return self._change(permit.key, permit.probe, opened, now)
        with self._lock:
            recent = [at for at in self._failed.get(permit.key, []) if now - at < WINDOW_S]
            self._failed[permit.key] = [*recent, now]
            if len(recent) + 1 < self._failures:
                return False
            del self._failed[permit.key]
        opened = BreakerState(uuid.uuid4().hex, now + OPEN_S)
        return self._change(permit.key, None, opened, now)

    def _state(self, key: str, now: float) -> BreakerState | None:
        with self._lock:
            known = self._known.get(key)
        if known is None or now - known[0] >= CACHED_S:
            known = (now, self._store.read(key, now))
            with self._lock:
                self._known[key] = known
        return known[1]

    def _change(
        self, key: str, before: BreakerState | None, after: BreakerState | None, now: float
    ) -> bool:
        changed = self._store.change(key, before, after, now)
        if changed:
            with self._lock:
                self._known[key] = (now, after)
        else:
            self._forget(key)
        return changed

    def _forget(self, key: str) -> None:
        with self._lock:
            self._known.pop(key, None)
