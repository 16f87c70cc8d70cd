"""One connection's way out: bounded, in order, merging text while it is behind."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from joinery.aws.frames import Frame, frame_of, merged, resync, stream_of
from joinery.aws.posting import Outcome, Pacer

log = logging.getLogger(__name__)

LANE_FRAMES: Final = 256
LANE_BYTES: Final = 512 * 1024
"""What waits for one slow client at most; beyond it the client is told to pull."""

IDLE_S: Final = 1.0
"""A lane's thread ends after this long without work: ten delta intervals."""

BACKOFF_S: Final = 0.05
BACKOFF_MAX_S: Final = 1.0
BUSY_TRIES: Final = 5
"""After so many refusals in a row what waits is dropped for a `resync`."""

STUCK_S: Final = 0.5
SLOW_S: Final = 0.25
"""A client whose message is on its way for so long, or whose messages take that long on
average, cannot follow: a post takes 10 to 30 ms."""

_LOOK_S: Final = 0.05

_MERGE_REACH: Final = 8
"""How many waiting deltas of other streams a delta may pass to join its own."""


class Lane:
    """Sends frames to one connection from a thread of its own, which ends when idle.

    Args:
        connection_id: The connection.
        post: Posts bytes to it.
        pacer: The pace that all lanes share.
        on_gone: Called from the lane's thread once the connection is gone.
        clock: Epoch seconds.

    Attributes:
        runs: Ids of the runs that the connection watches.
        expires_at: Epoch seconds from which nothing is sent.
    """

    def __init__(
        self,
        connection_id: str,
        post: Callable[[str, bytes], Outcome],
        pacer: Pacer,
        *,
        on_gone: Callable[[Lane], None],
        clock: Callable[[], float],
    ) -> None:
        self.connection_id = connection_id
        self.runs: set[str] = set()
        self.expires_at = 0.0
        self._post, self._pacer, self._on_gone, self._clock = post, pacer, on_gone, clock
        self._queue: deque[Frame] = deque()
        self._bytes = 0
        # Heads of the runs whose messages were dropped; while there are any, nothing waits.
        self._behind: dict[str, int] = {}
        self._failures = 0
        # Since when the message is on its way that was not taken yet (monotonic).
        self._trying_since: float | None = None
        self._post_s = 0.0
        self._dead = self._working = False
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()

    @property
    def dead(self) -> bool:
        """Whether nothing will be sent any more."""
        return self._dead

    @property
    def running(self) -> bool:
        """Whether its thread is there."""
        return self._thread is not None

    @property
    def slow(self) -> bool:
        """Whether the connection takes too long for its messages, or takes none."""
        since = self._trying_since
        stuck = since is not None and time.monotonic() - since > STUCK_S
        return not self._dead and (stuck or self._post_s > SLOW_S)

    # -- from the publisher --------------------------------------------------------------

    def put(self, frames: list[Frame]) -> None:
        """Takes frames; returns at once, whatever the connection does."""
        with self._changed:
            if self._dead:
                return
            for frame in frames:
                self._add(frame)
            if self._thread is None:
                name = f"lane-{self.connection_id}"
                self._thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def wait_empty(self, timeout_s: float) -> bool:
        """Waits until everything is sent, or the connection is slow; whether it is sent."""
        until = time.monotonic() + timeout_s
        with self._changed:
            while self._has_work():
                left = until - time.monotonic()
                if left <= 0 or self.slow:
                    return False
                self._changed.wait(min(left, _LOOK_S))
            return True

    def abandon(self) -> None:
        """Drops everything; the thread ends once its post has come back."""
        with self._changed:
            self._die()

    def stop(self, timeout_s: float) -> None:
        """Drops everything and ends the thread."""
        with self._changed:
            self._die()
            thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    # -- under the lock ------------------------------------------------------------------

    def _has_work(self) -> bool:
        waiting = bool(self._queue or self._behind)
        return not self._dead and (self._working or waiting)

    def _add(self, frame: Frame) -> None:
        run_id, head = frame.message["run_id"], int(frame.message.get("head", 0))
        if self._behind:
            self._behind[run_id] = max(head, self._behind.get(run_id, 0))
            return
        if self._merge(frame):
            return
        self._queue.append(frame)
        self._bytes += len(frame.data)
        if len(self._queue) > LANE_FRAMES or self._bytes > LANE_BYTES:
            log.warning("a client is too slow: it is told to pull")
            self._drop_backlog()

    def _merge(self, frame: Frame) -> bool:
        stream = stream_of(frame.message)
        if stream is None:
            return False
        for back in range(1, min(_MERGE_REACH, len(self._queue)) + 1):
            waiting = self._queue[-back]
            of = stream_of(waiting.message)
            if of is None:
                return False
            if of == stream:
                both = merged(waiting, frame)
                if both is not None:
                    self._queue[-back] = both
                    self._bytes += len(both.data) - len(waiting.data)
                return both is not None
        return False

    def _drop_backlog(self) -> None:
        for frame in self._queue:
            run_id, head = frame.message["run_id"], int(frame.message.get("head", 0))
            self._behind[run_id] = max(head, self._behind.get(run_id, 0))
        self._queue.clear()
        self._bytes = 0

    def _die(self) -> None:
        self._dead, self._trying_since = True, None
        self._queue.clear()
        self._behind.clear()
        self._bytes = 0
        self._changed.notify_all()

    # -- the thread ----------------------------------------------------------------------

    def _work(self) -> None:
        while self._await_work():
            self._sleep(self._pacer.delay())
            frame = self._take()
            if frame is not None:
                begun = time.monotonic()
                outcome = self._post(self.connection_id, frame.data)
                self._post_s += (time.monotonic() - begun - self._post_s) / 2
                self._settle(frame, outcome)

    def _await_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._has_work() or self._dead, IDLE_S)
            if self._has_work():
                return True
            self._thread = None
            return False

    def _sleep(self, seconds: float) -> None:
        if seconds > 0:
            with self._changed:
                self._changed.wait_for(lambda: self._dead, seconds)

    def _take(self) -> Frame | None:
        with self._changed:
            if self.expires_at <= self._clock():
                self._die()
            frame = None
            if self._behind:
                run_id = next(iter(self._behind))
                frame = frame_of(resync(run_id, self._behind.pop(run_id), self._clock()))
            elif self._queue:
                frame = self._queue.popleft()
                self._bytes -= len(frame.data)
            self._working = frame is not None
            if frame is not None and self._trying_since is None:
                self._trying_since = time.monotonic()
            return frame

    def _settle(self, frame: Frame, outcome: Outcome) -> None:
        if outcome is Outcome.GONE:
            self._on_gone(self)
        with self._changed:
            self._working = False
            if outcome is Outcome.SENT:
                self._failures, self._trying_since = 0, None
            elif outcome is Outcome.BUSY and not self._dead:
                self._put_back(frame)
            else:
                self._die()
            self._changed.notify_all()
        if outcome is Outcome.BUSY:
            self._sleep(min(BACKOFF_MAX_S, BACKOFF_S * 2 ** (self._failures - 1)))

    def _put_back(self, frame: Frame) -> None:
        self._failures += 1
        self._queue.appendleft(frame)
        self._bytes += len(frame.data)
        if self._behind or self._failures >= BUSY_TRIES:
            self._drop_backlog()
