"""One run, by HTTP: what to ask for, and when."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from joinery.client.feed import Feed
from joinery.client.frames import is_page, is_texts
from joinery.client.outbox import Outbox
from joinery.client.timing import Timing
from joinery.events.make import Event

CLOSED: Final = frozenset({"completed", "failed", "cancelled", "timed_out"})
"""Statuses of a run that has ended."""

POLL_SOON_S: Final = 0.1
"""Time between two questions by HTTP of which the first brought something."""

NONSENSE: Final = {
    "code": "internal",
    "message": "the API answered something that makes no sense",
    "retryable": True,
}

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


class Pull:
    """Knows of one run what is missing, and asks for it by HTTP.

    It is asked where there is no socket, for what stays missing, and after a `resync`
    or a `hint`.
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
        self._events, self._texts, self._run = _Asked(), _Asked(), _Asked()
        self._events_wanted = self._open_wanted = False
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
        self._closed = False
        self._closed_head: int | None = None

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
        if id_ not in (self._events.id, self._texts.id, self._run.id):
            return
        if not self._makes_sense(id_, answer):
            self.failed(id_, NONSENSE, now)
            return
        self._failures, self._failing_since = 0, None
        if id_ == self._events.id:
            self._events.id = 0
            self._page(answer, now)
        elif id_ == self._texts.id:
            self._texts.id = 0
            self._rows(answer, now)
        else:
            self._run.id = 0
            self._run_at = now + self._timing.answer_s
            self._closed = self._closed or answer.get("status") in CLOSED

    def _makes_sense(self, id_: int, answer: Any) -> bool:
        if id_ == self._texts.id:
            return is_texts(answer)
        return is_page(answer) if id_ == self._events.id else isinstance(answer, dict)

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
        at_end = self.feed.ending and self.feed.blocked <= asked.through
        given = self.feed.take_rows(rows, swept=asked.everything and at_end)
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
            self._texts.id, self._open_wanted = 0, True
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

    @property
    def _wanting(self) -> bool:
        """Whether HTTP still owes what a `resync` has left out."""
        asking = self._events.id or self._texts.id
        return bool(self._events_wanted or self._open_wanted or asking)

    def _ask_events(self, now: float, *, connection: int, pulling: bool) -> None:
        behind = self.feed.cursor.behind
        if not behind:
            self._behind_at, self._behind_s = None, self._timing.behind_s
        elif self._behind_at is None and not self._events.id:
            self._behind_at = now + self._behind_s
        if self._events.id:
            return
        due = self._out.due
        wanted = (pulling or self._events_wanted) and due(self._events_at, now)
        late = not pulling and self._behind_at is not None and due(self._behind_at, now)
        quiet = bool(connection) and due(self.heard_at + self._quiet_s, now)
        if not (wanted or late or quiet):
            return
        if quiet:
            self.heard_at, self._open_wanted = now, True
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
        open_ = self._open(pulling=pulling) and due(self._texts_at, now)
        if not (blocked or hole or open_):
            return
        names = self.feed.wanted()
        if names is not None and open_:
            names |= {node_id for node_id, _ in self.feed.unfinished}
        node = next(iter(names)) if names and len(names) == 1 else None
        self._open_wanted = False
        id_ = self._out.fetch("texts", self.run_id, node_id=node)
        self._texts = _Asked(id_, self.feed.last_waiting, node is None)

    def _open(self, *, pulling: bool) -> bool:
        """Whether to ask for the text of nodes that have not ended."""
        if self.feed.unfinished:
            return pulling or self._open_wanted
        if not self._events_wanted and not self._events.id:
            self._open_wanted = False
        return False

    def _ask_run(self, now: float) -> None:
        """Asks whether a run has ended whose end was seen before, or never told."""
        if self._run_at is not None and self._out.due(self._run_at, now):
            self._run = _Asked(self._out.fetch("run", self.run_id))
