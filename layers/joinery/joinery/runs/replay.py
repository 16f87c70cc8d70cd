"""Reads the log of a run without gaps, for whoever was not there when it was written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

from joinery.events.make import Event
from joinery.runs.model import Control, NodeKey, NodeRecord, RunRecord
from joinery.runs.ports import TextPiece

HOLE_S: Final = 2.0
"""A number that is older than this without an event will hardly get one: it becomes a `void`."""


class Log(Protocol):
    """What reading a log needs of a store."""

    def control(self, run_id: str) -> Control:
        """Returns the control item."""
        ...

    def events(self, run_id: str, after_seq: int, limit: int) -> list[Event]:
        """Returns stored events above a seq, in order."""
        ...

    def put_void(self, run_id: str, seq: int) -> bool:
        """Stores a `void` at a number; returns False when something is stored there."""
        ...


@dataclass(frozen=True, slots=True)
class Page:
    """Events that follow each other without a gap.

    Attributes:
        events: The events; each has the `head` of when it was read.
        head: Highest seq drawn.
        next_after_seq: The `after_seq` of the next page.
    """

    events: list[Event] = field(default_factory=list)
    head: int = 0
    next_after_seq: int = 0


def read_page(log: Log, run: RunRecord, after_seq: int, limit: int, *, now: float) -> Page:
    """Returns the events right behind a seq, up to the first hole that may still fill.

    A hole older than `HOLE_S` is filled with a `void`. How old it is, the event
    behind it tells: numbers are drawn in order. A hole at the head has none behind
    it; it is only filled in a run that has ended, in an open one more will follow.

    Args:
        log: Where the events are.
        run: The run.
        after_seq: The reader's cursor.
        limit: Most events.
        now: Epoch seconds.
    """
    head = log.control(run.run_id).head
    found = log.events(run.run_id, after_seq, limit)
    ended = run.closed and now - run.ended_at > HOLE_S
    voids = [
        seq
        for seq, behind in _holes(found, after_seq, min(head, after_seq + limit))
        if (now - _epoch(behind) > HOLE_S if behind else ended)
    ]
    for seq in voids:
        log.put_void(run.run_id, seq)
    if voids:
        found = log.events(run.run_id, after_seq, limit)
    events: list[Event] = []
    cursor = after_seq
    for event in found:
        if event["seq"] != cursor + 1:
            break
        cursor += 1
        events.append(event)
    if events:
        head = max(head, cursor)
    return Page([{**event, "head": head} for event in events], head, cursor)


def _holes(found: Sequence[Event], after_seq: int, last: int) -> list[tuple[int, Event | None]]:
    """Returns the missing numbers with the event behind each, None at the head."""
    holes: list[tuple[int, Event | None]] = []
    cursor = after_seq
    for event in found:
        holes.extend((seq, event) for seq in range(cursor + 1, event["seq"]))
        cursor = event["seq"]
    holes.extend((seq, None) for seq in range(cursor + 1, last + 1))
    return holes


def _epoch(event: Event) -> float:
    return datetime.fromisoformat(event["timestamp"]).timestamp()


def read_settled(
    log: Log,
    run_id: str,
    after_seq: int,
    *,
    limit: int,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Page:
    """Returns the events behind a seq up to the head of this moment, waiting for late writers.

    Whoever draws a number later knows of a subscription that was stored before this
    is called. A number that was drawn before is waited for, up to `HOLE_S`; then its
    writer is taken for dead and the hole is filled.

    Args:
        log: Where the events are.
        run_id: The run.
        after_seq: The reader's cursor.
        limit: Most events; the rest is left out.
        clock: Seconds.
        sleep: Waits a number of seconds.
    """
    head = log.control(run_id).head
    last = min(head, after_seq + limit)
    begun, pause = clock(), 0.05
    while True:
        found = log.events(run_id, after_seq, limit)
        holes = [seq for seq, _ in _holes(found, after_seq, last) if seq <= last]
        if not holes:
            break
        if clock() - begun > HOLE_S:
            for seq in holes:
                log.put_void(run_id, seq)
            found = log.events(run_id, after_seq, limit)
            break
        sleep(pause)
        pause = min(0.4, pause * 2)
    shown = [event for event in found if event["seq"] <= last]
    return Page([{**event, "head": head} for event in shown], head, last)


# -- text --------------------------------------------------------------------------------


def text_rows(pieces: Sequence[TextPiece], nodes: Sequence[NodeRecord]) -> list[dict[str, Any]]:
    """Returns stored pieces as `{node_id, path, attempt, stream, offset, text}`."""
    names: Mapping[NodeKey, str] = {record.key: record.node_id for record in nodes}
    return [
        {
            "node_id": names[piece.key],
            "path": piece.key.path,
            "attempt": piece.attempt,
            "stream": piece.stream,
            "offset": piece.offset,
            "text": piece.text,
        }
        for piece in pieces
        if piece.key in names
    ]


def beyond(pieces: Iterable[tuple[int, str]], known: int) -> Iterator[tuple[int, str]]:
    """Yields the `(offset, text)` of one stream beyond what is known, touching ones as one.

    Args:
        pieces: `(offset, text)` by offset; they may overlap.
        known: How many code points from the start on are known.
    """
    parts: list[str] = []
    begin = end = known
    for offset, text in pieces:
        if offset + len(text) <= end:
            continue
        if offset > end:
            if parts:
                yield begin, "".join(parts)
            begin, parts, end = offset, [], offset
        parts.append(text[end - offset :])
        end = offset + len(text)
    if parts:
        yield begin, "".join(parts)
