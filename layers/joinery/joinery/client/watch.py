"""One run that is watched: what to ask for, and when."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from joinery.client.feed import Feed
from joinery.client.outbox import Outbox
from joinery.client.timing import Timing
from joinery.events.make import Event

CLOSED: Final = frozenset({"completed", "failed", "cancelled", "timed_out"})
"""Statuses of a run that has ended."""

OFFSETS_MAX: Final = 500
"""A message has at most 128 KB; an offset with its names takes up to 200 bytes."""

POLL_SOON_S: Final = 0.1
"""Time between two questions by HTTP of which the first brought something."""

TEXT_TRIES: Final = 2
"""Answers without the text of a node that has ended, before it is given up."""


@dataclass(slots=True)
class _Asked:
    """A question by HTTP; `id` is 0 when none is under way.

    `through` is the last event that waited for text when it was asked; `everything` says
    of texts that all nodes were asked for, of events that the run was known to have ended.
    """

    id: int = 0
    through: int = 0
    everything: bool = False


class Watch:
    """Knows of one run what is missing and whom to ask for it.

    The socket brings what happens. HTTP is asked where there is none, for what stays
    missing, and after a `resync` or a `hint`.
    """

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
        self.run_id, self.feed = run_id, Feed(run_id, after_seq)
        self.heard_at = now
        self.done = False
        self._timing, self._rand, self._out = timing, rand, out
        # Subscribing.
        self.connection = 0
        self.request_id = ""
        self._subscribe_at = now
        self._refusals = 0
        # Asking by HTTP.
        self._events, self._texts, self._run = _Asked(), _Asked(), _Asked()
        self._events_wanted = self._texts_wanted = False
        self._events_at = self._texts_at = now
        self._run_at: float | None = None
        self._behind_at: float | None = None
        self._behind_s = timing.behind_s
        self._hole_at: float | None = None
        self._hole_s = timing.behind_s
        self._quiet_s = timing.quiet_s
        self._text_pause_s = timing.poll_s
        self._tries = 0
        self._failures = 0
        self._failing_since: float | None = None
        # After a resync.
        self._resync = False
        self._resyncs = 0
        self._resync_at = now
        self._closed = False
        self._closed_head: int | None = None

    # -- frames ------------------------------------------------------------------------

    def heard(self, message: Event, now: float) -> None:
        """Takes an event or a delta of this run."""
        self.heard_at, self._quiet_s = now, self._timing.quiet_s
        self._give(self.feed.take(message))

    def hint(self, message: Event, now: float) -> None:
        """Takes a `hint`: something has happened, and HTTP has it."""
        self.heard_at = now
        self.feed.cursor.note_head(message)
        self._events_wanted = self._texts_wanted = True

    def resync(self, message: Event, now: float) -> None:
        """Takes a `resync`: something was left out, and nothing more comes for now."""
        self.heard_at = now
        self.feed.cursor.note_head(message)
        self._events_wanted = self._texts_wanted = True
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
            self.fail(error)
            return
        self._refusals += 1
        self.connection, self._subscribe_at = 0, now + self._pause(self._refusals)

    def _pause(self, failures: int) -> float:
        return self._timing.jittered(self._rand(), failures)

    def fail(self, error: Mapping[str, Any] | None) -> None:
        """Ends it, with an error or well."""
        if not self.done:
            self.done = True
            self._out.put("done", run_id=self.run_id, error=dict(error) if error else None)

    def _give(self, messages: Sequence[Event]) -> None:
        for message in messages:
            self._out.put("give", message=message)
        if self.feed.ended:
            self.fail(None)

    # -- answers -----------------------------------------------------------------------

    def fetched(self, id_: int, answer: Any, now: float) -> None:
        """Takes the answer to a question by HTTP."""
        self._failures, self._failing_since = 0, None
        if id_ == self._events.id:
            self._events.id = 0
            self._page(answer, now)
        elif id_ == self._texts.id:
            self._texts.id = 0
            self._rows(answer, now)
        elif id_ == self._run.id:
            self._run.id = 0
            self._run_at = now + self._timing.answer_s
            self._closed = self._closed or answer.get("status") in CLOSED

    def _page(self, page: Mapping[str, Any], now: float) -> None:
        self.feed.cursor.note_head(page)
        for event in page["events"]:
            self._give(self.feed.take(event))
        found = bool(page["events"])
        if self._events.everything and not found:
            self._closed_head = self.feed.cursor.head
        if found and self.feed.cursor.behind:
            self._events_at, self._events_wanted = now, True
        else:
            self._events_at = now + (POLL_SOON_S if found else self._timing.poll_s)
        if found:
            self._quiet_s, self._behind_s = self._timing.quiet_s, self._timing.behind_s
            self._run_at = now + self._timing.answer_s
            return
        self._run_at = now if self._run_at is None else self._run_at
        self._behind_s = min(self._timing.poll_max_s, self._behind_s * 2)

    def _rows(self, rows: Sequence[Mapping[str, Any]], now: float) -> None:
        asked = self._texts
        given = self.feed.take_rows(rows, swept=asked.everything and self.feed.ending)
        self._give(given)
        pause = self._text_pause_s * 2
        self._text_pause_s = self._timing.poll_s if given else min(pause, self._timing.poll_max_s)
        self._texts_at = now + self._text_pause_s
        self._hole_s = min(self._timing.poll_max_s, self._hole_s * 2)
        self._hole_at = None
        if not 0 < self.feed.blocked <= asked.through:
            self._tries = 0
            return
        self._tries += 1
        if self._tries < TEXT_TRIES:
            self._texts_at = now + self._timing.behind_s
            return
        self._tries = 0
        while 0 < self.feed.blocked <= asked.through and not self.feed.ended:
            self._give(self.feed.give_up())

    def failed(self, id_: int, error: Mapping[str, Any], now: float) -> None:
        """Takes that a question by HTTP got no answer."""
        if id_ not in (self._events.id, self._texts.id, self._run.id):
            return
        if id_ == self._events.id:
            self._events.id, self._events_wanted = 0, True
        elif id_ == self._texts.id:
            self._texts.id, self._texts_wanted = 0, self._texts_wanted or self._texts.everything
        else:
            self._run.id = 0
        if self._failing_since is None:
            self._failing_since = now
        long = now - self._failing_since >= self._timing.give_up_s
        if long or not error.get("retryable"):
            self.fail(error)
            return
        again = now + max(POLL_SOON_S, self._pause(self._failures))
        self._failures += 1
        self._events_at = self._texts_at = again
        self._run_at = None if self._run_at is None else again

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

    @property
    def _wanting(self) -> bool:
        """Whether HTTP still owes what a `resync` has left out."""
        asking = self._events.id or self._texts.id
        return bool(self._events_wanted or self._texts_wanted or asking)

    def _ask_events(self, now: float, *, connection: int, pulling: bool) -> None:
        behind = self.feed.cursor.behind
        if not behind:
            self._behind_at, self._behind_s = None, self._timing.behind_s
        elif self._behind_at is None:
            self._behind_at = now + self._behind_s
        if self._events.id:
            return
        due = self._out.due
        wanted = (pulling or self._events_wanted) and due(self._events_at, now)
        late = not pulling and self._behind_at is not None and due(self._behind_at, now)
        quiet = bool(connection) and due(self.heard_at + self._quiet_s, now)
        if not (wanted or late or quiet):
            return
        if quiet and not wanted and not late:
            self._texts_wanted = self._texts_wanted or bool(self.feed.unfinished)
        if quiet:
            self.heard_at = now
            self._quiet_s = min(self._timing.quiet_max_s, self._quiet_s * 2)
        self._events_wanted, self._behind_at = False, None
        wait = 0 if connection or behind else self._timing.wait_s
        after_seq = self.feed.cursor.seq
        id_ = self._out.fetch("events", self.run_id, after_seq=after_seq, wait=wait)
        self._events = _Asked(id_, everything=self._closed)

    def _ask_texts(self, now: float, *, connection: int, pulling: bool) -> None:
        holes = bool(self.feed.holes())
        if not holes:
            self._hole_at, self._hole_s = None, self._timing.behind_s
        elif self._hole_at is None:
            self._hole_at = now + self._hole_s
        if self._texts.id:
            return
        due = self._out.due
        first = self._tries == 0 and not self._failures
        blocked = bool(self.feed.blocked) and (first or due(self._texts_at, now))
        hole = self._hole_at is not None and due(self._hole_at, now)
        open_ = pulling and bool(self.feed.unfinished)
        wanted = (open_ or self._texts_wanted) and due(self._texts_at, now)
        if not (blocked or hole or wanted):
            return
        node = None if self._texts_wanted or open_ else self.feed.wanted()
        if open_ and not self._texts_wanted and not holes and not self.feed.blocked:
            names = {node_id for node_id, _ in self.feed.unfinished}
            node = names.pop() if len(names) == 1 else None
        self._texts_wanted = False
        id_ = self._out.fetch("texts", self.run_id, node_id=node)
        self._texts = _Asked(id_, self.feed.last_waiting, node is None)

    def _ask_run(self, now: float) -> None:
        """Asks whether a run has ended whose end was seen before, or never told."""
        if self._run_at is not None and self._out.due(self._run_at, now):
            self._run = _Asked(self._out.fetch("run", self.run_id))

    # -- connections -------------------------------------------------------------------

    def cut(self) -> None:
        """Takes that the connection is gone."""
        self.connection, self.request_id, self._resync = 0, "", False

    def unanswered(self) -> None:
        """Takes that its subscription got no answer in time: it is sent again."""
        self.connection, self.request_id = 0, ""
