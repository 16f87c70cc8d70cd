"""What a new subscriber is sent first: stored events and text, in the order of the run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from joinery.events.make import Event, make_delta
from joinery.events.streams import DELTA_TEXT_BYTES, split_encoded
from joinery.runs.model import NodeRecord
from joinery.runs.replay import Page, beyond, read_settled, text_rows
from joinery.sockets.frames import Command, resync_frame
from joinery.sockets.ports import SocketServices

BURST: Final = 50
"""Messages that go out as fast as they can; the ones after keep a distance."""

PACE_S: Final = 0.02
"""That distance: API Gateway's own limits are shared by the whole account."""

BUDGET_S: Final = 20.0
"""A replay that takes longer ends with `resync`: the integration is cut off after 29 s."""

EVENTS_MAX: Final = 2_000
"""Most events that one replay reads."""

Row = Mapping[str, Any]


class Gone(Exception):
    """The connection was closed meanwhile."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """How much was sent."""

    events: int
    deltas: int


def replay(services: SocketServices, connection_id: str, command: Command) -> Replayed:
    """Sends the stored events above a cursor and the stored text beyond offsets.

    The subscription must be stored before: what is written from then on is sent by
    whoever writes it, and what was being written is waited for.

    Raises:
        Gone: The connection was closed.
    """
    page = read_settled(
        services.subscribers,
        command.run_id,
        command.after_seq,
        limit=EVENTS_MAX,
        clock=time.monotonic,
        sleep=services.sleep,
    )
    # Text after events: a node's text is stored before the event of its end.
    store = services.deps.store
    pieces, records = store.texts(command.run_id), store.nodes(command.run_id)
    rows = text_rows(pieces, records)
    command = replace(command, offsets=_trusted(command.offsets, records))
    lane = _Lane(services, connection_id)
    events = deltas = 0
    for message in _messages(services, command, page, rows):
        if not lane.send(message):
            break
        deltas += message["event"] == "text.delta"
        events += "seq" in message
    if page.next_after_seq < page.head or lane.out_of_time:
        at = services.deps.clock()
        lane.post(resync_frame(command.run_id, at=at, head=page.head))
    return Replayed(events, deltas)


def _trusted(offsets: Mapping[str, int], records: Sequence[NodeRecord]) -> dict[str, int]:
    """Returns what a client has of each stream, less what it cannot have.

    Text goes out before it is stored, so a client may be ahead of what is stored of a
    stream that is being written; of one that has ended it cannot have more than all.
    """
    lengths = {
        f"{record.node_id}|{record.key.path}|{record.attempt}|{stream}": summary["length"]
        for record in records
        if record.terminal
        for stream, summary in record.streams.items()
    }
    return {name: had for name, had in offsets.items() if had <= lengths.get(name, had)}


def _messages(
    services: SocketServices, command: Command, page: Page, rows: Sequence[Row]
) -> Iterator[Event]:
    """Yields events with the text of each node before the event of its end."""
    by_node = {
        place: list(group) for place, group in groupby(rows, key=itemgetter("node_id", "path"))
    }
    for event in page.events:
        if event["event"] in {"node.completed", "node.failed"}:
            place = (event["node_id"], event["path"])
            yield from _deltas(services, command, page.head, by_node.pop(place, []))
        yield event
    for left in by_node.values():
        yield from _deltas(services, command, page.head, left)


def _deltas(
    services: SocketServices, command: Command, head: int, rows: Sequence[Row]
) -> Iterator[Event]:
    """Yields what a client lacks of the streams of one node, in as few frames as can be."""
    for (attempt, stream), pieces in groupby(rows, key=itemgetter("attempt", "stream")):
        first, *rest = pieces
        node_id, path = first["node_id"], first["path"]
        known = command.offsets.get(f"{node_id}|{path}|{attempt}|{stream}", 0)
        held = ((piece["offset"], piece["text"]) for piece in (first, *rest))
        for offset, text in beyond(held, known):
            for start, piece in split_encoded(text, DELTA_TEXT_BYTES):
                yield make_delta(
                    command.run_id,
                    at=services.deps.clock(),
                    head=head,
                    node_id=node_id,
                    path=path,
                    attempt=attempt,
                    stream=stream,
                    offset=offset + start,
                    text=piece,
                )


class _Lane:
    """Sends at a bounded pace for a bounded time."""

    def __init__(self, services: SocketServices, connection_id: str) -> None:
        self._services, self._connection_id = services, connection_id
        self._sent = 0
        self._end = time.monotonic() + BUDGET_S
        self.out_of_time = False

    def send(self, message: Event) -> bool:
        """Sends a message; False when time is up. Raises: Gone."""
        self.out_of_time = time.monotonic() > self._end
        if not self.out_of_time:
            self.post(message)
        return not self.out_of_time

    def post(self, message: Event) -> None:
        """Sends a message. Raises: Gone."""
        self._sent += 1
        if self._sent > BURST:
            self._services.sleep(PACE_S)
        if not self._services.outlet.send(self._connection_id, message):
            raise Gone
