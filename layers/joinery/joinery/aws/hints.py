"""Tells the viewers for whom there is no room, or who cannot follow, that there is news."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from joinery.aws.frames import frame_of, hint, resync
from joinery.aws.lanes import IDLE_S
from joinery.aws.posting import Outcome, Pacer
from joinery.aws.subscribers import Subscriber

HINT_S: Final = 2.0
"""A viewer is told of news at most this often by a run."""


@dataclass(slots=True)
class _Told:
    """A viewer with the head that it was told last, and when (monotonic).

    Whoever is new here was told when it subscribed, or by the process before.
    """

    viewer: Subscriber
    head: int = 0
    at: float = field(default_factory=time.monotonic)


@dataclass(slots=True)
class _Crowd:
    """The viewers of one run, the one told longest ago first."""

    viewers: deque[_Told] = field(default_factory=deque)
    head: int = 0
    ended: bool = False


class Hinter:
    """Sends hints in turn from one thread, within the pace that the lanes share.

    Hints are best effort: one that fails is not repeated, since the next is as good.

    Args:
        post: Posts bytes to a connection.
        pacer: The pace that all posts share.
        on_gone: Called with the run and the connection that is gone.
        clock: Epoch seconds.
    """

    def __init__(
        self,
        post: Callable[[str, bytes], Outcome],
        pacer: Pacer,
        *,
        on_gone: Callable[[str, str], None],
        clock: Callable[[], float],
    ) -> None:
        self._post, self._pacer, self._on_gone, self._clock = post, pacer, on_gone, clock
        self.every_s = HINT_S
        self._crowds: dict[str, _Crowd] = {}
        # Whose viewer a hint is on its way to: it is told only once that has arrived.
        self._telling = ""
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()

    def begin(self, run_id: str, every_s: float) -> None:
        """Forgets other runs, and says how often viewers of this one are told."""
        with self._changed:
            self._crowds = {run_id: self._crowds.get(run_id, _Crowd())}
            self.every_s = every_s

    def watch(self, run_id: str, viewers: Sequence[Subscriber]) -> None:
        """Says whom to tell of a run; who is known keeps its turn."""
        with self._changed:
            if not viewers and run_id not in self._crowds:
                return
            crowd = self._crowds.setdefault(run_id, _Crowd())
            known = {told.viewer.connection_id: told for told in crowd.viewers}
            rows = [known.get(v.connection_id, _Told(v)) for v in viewers]
            for row, viewer in zip(rows, viewers, strict=True):
                row.viewer = viewer
            crowd.viewers = deque(sorted(rows, key=lambda told: told.at))

    def news(self, run_id: str, head: int, *, ended: bool) -> None:
        """Notes that a run has come to a head; returns at once."""
        with self._changed:
            crowd = self._crowds.get(run_id)
            if crowd is None or not crowd.viewers:
                return
            crowd.head, crowd.ended = max(crowd.head, head), crowd.ended or ended
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="hints", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def wait_told(self, timeout_s: float) -> bool:
        """Waits until everybody was told of the runs that have ended; whether they are."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._owed(), max(0.0, timeout_s))

    def rest(self) -> None:
        """Leaves what is not told yet: the process is about to be frozen."""
        with self._changed:
            for crowd in self._crowds.values():
                crowd.head, crowd.ended = 0, False
            self._changed.notify_all()

    def stop(self, timeout_s: float) -> None:
        """Forgets everybody and ends the thread."""
        with self._changed:
            self._crowds.clear()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    # -- inside --------------------------------------------------------------------------

    def _owed(self) -> bool:
        return any(
            crowd.ended
            and (run_id == self._telling or any(told.head < crowd.head for told in crowd.viewers))
            for run_id, crowd in self._crowds.items()
        )

    def _due(self, now: float) -> tuple[str, _Crowd] | None:
        """Returns a run whose first viewer is to be told now; the caller holds the lock."""
        for run_id, crowd in self._crowds.items():
            if not crowd.viewers or crowd.viewers[0].head >= crowd.head:
                continue
            if crowd.ended or now - crowd.viewers[0].at >= self.every_s:
                return run_id, crowd
        return None

    def _work(self) -> None:
        while (found := self._next()) is not None:
            run_id, told, head = found
            time.sleep(self._pacer.delay())
            connection_id = told.viewer.connection_id
            make = resync if told.viewer.lagging else hint
            frame = frame_of(make(run_id, head, self._clock()))
            outcome = None
            if told.viewer.expires_at > self._clock():
                outcome = self._post(connection_id, frame.data)
            with self._changed:
                self._telling = ""
                self._changed.notify_all()
            if outcome is Outcome.GONE:
                self._on_gone(run_id, connection_id)

    def _next(self) -> tuple[str, _Told, int] | None:
        """Takes the next turn; None once there has been nothing to do for a while."""
        idle_at = time.monotonic() + max(IDLE_S, self.every_s)
        with self._changed:
            while self._crowds and time.monotonic() < idle_at:
                due = self._due(time.monotonic())
                if due is not None:
                    run_id, crowd = due
                    told = crowd.viewers.popleft()
                    told.head, told.at = crowd.head, time.monotonic()
                    crowd.viewers.append(told)
                    self._telling = run_id
                    return run_id, told, crowd.head
                self._changed.wait(0.1)
            self._thread = None
            return None
