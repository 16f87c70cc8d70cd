"""One run that is watched on a socket, with HTTP to help."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from joinery.client.outbox import Outbox
from joinery.client.pull import CLOSED, Pull
from joinery.client.timing import Timing
from joinery.events.make import Event

OFFSETS_MAX: Final = 500
"""A message has at most 128 KB; an offset with its names takes up to 200 bytes."""


class Watch(Pull):
    """Subscribes, and takes what the socket brings."""

    def __init__(
        self,
        run_id: str,
        after_seq: int,
        now: float,
        *,
        timing: Timing,
        rand: Callable[[], float],
        out: Outbox,
    ) -> None:
        super().__init__(run_id, after_seq, now, timing=timing, rand=rand, out=out)
        self.connection = 0
        self.request_id = ""
        self._subscribe_at = now
        self._refusals = 0
        self._resync = False
        self._resyncs = 0
        self._resync_at = now

    # -- frames ------------------------------------------------------------------------

    def heard(self, message: Event, now: float) -> None:
        """Takes an event or a delta of this run."""
        self.heard_at, self._quiet_s = now, self._timing.quiet_s
        self._give(self.feed.take(message))

    def hint(self, message: Event, now: float) -> None:
        """Takes a `hint`: something has happened, and HTTP has it."""
        self.heard_at = now
        self.feed.cursor.note_head(message)
        self._events_wanted = self._open_wanted = True

    def resync(self, message: Event, now: float) -> None:
        """Takes a `resync`: something was left out, and nothing more comes for now."""
        self.heard_at = now
        self.feed.cursor.note_head(message)
        self._events_wanted = self._open_wanted = True
        calm = now - self._resync_at > self._timing.quiet_max_s
        self._resyncs = 1 if calm else self._resyncs + 1
        self._resync, self._resync_at = True, now
        self._subscribe_at = now + self._pause(self._resyncs)

    def acknowledged(self, frame: Event, now: float) -> None:
        """Takes the `ack` of its subscription."""
        self.heard_at, self.request_id, self._refusals = now, "", 0
        self.feed.cursor.note_head(frame)
        if (frame.get("data") or {}).get("status") in CLOSED:
            self._closed_head = self.feed.cursor.head

    def refused(self, error: Mapping[str, Any], now: float) -> None:
        """Takes the `error` of its subscription."""
        self.request_id = ""
        if not error.get("retryable"):
            self.fail({name: error[name] for name in error if name != "request_id"})
            return
        self._refusals += 1
        self.connection, self._subscribe_at = 0, now + self._pause(self._refusals)

    # -- what is due -------------------------------------------------------------------

    def settle(self, now: float, *, connection: int, pulling: bool) -> dict[str, Any] | None:
        """Does what is due; returns the fields of a `subscribe` that is to be sent.

        Args:
            now: The time.
            connection: Number of the open connection, 0 when there is none.
            pulling: HTTP has to do, as there is no socket.
        """
        if self.done:
            return None
        head, cursor = self._closed_head, self.feed.cursor
        if head is not None and cursor.seq >= head and not self.feed.blocked:
            self.fail(None)
            return None
        command = self._subscribe(connection, now) if connection else None
        pull = pulling or self._resync
        self._ask_events(now, connection=connection, pulling=pull)
        self._ask_texts(now, connection=connection, pulling=pull)
        if pull and not self._run.id and cursor.seq and not cursor.behind:
            self._ask_run(now)
        return command

    def _subscribe(self, connection: int, now: float) -> dict[str, Any] | None:
        if self._resync and (self._wanting or self.feed.cursor.behind):
            return None
        if self.connection == connection and not self._resync:
            return None
        if not self._out.due(self._subscribe_at, now):
            return None
        self._resync, self.connection = False, connection
        # What is known beyond these comes again, which is harmless.
        some = list(self.feed.transcript.offsets().items())[-OFFSETS_MAX:]
        return {"run_id": self.run_id, "after_seq": self.feed.cursor.seq, "offsets": dict(some)}

    # -- connections -------------------------------------------------------------------

    def cut(self) -> None:
        """Takes that the connection is gone."""
        self.connection, self.request_id, self._resync = 0, "", False

    def unanswered(self) -> None:
        """Takes that its subscription got no answer in time: it is sent again."""
        self.connection, self.request_id = 0, ""
