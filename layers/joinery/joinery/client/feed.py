"""What one run has said, given out in order: events by seq, text by offset, holes by name.

No clock and no connection: `watch.py` knows when to ask for what is missing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from joinery.client.cursor import EventCursor
from joinery.client.transcript import StreamText, Transcript
from joinery.events.make import PROTOCOL_VERSION, Event

FINAL: Final = frozenset({"run.completed", "run.failed", "run.cancelled", "run.timed_out"})
"""Events that end a run."""

LAST: Final = frozenset({"run.completed", "run.cancelled"})
"""Those that nothing follows; a run that has failed may have been resumed since."""

ENDS: Final = frozenset({"node.completed", "node.failed"})
"""Events that tell what a node's text must be."""


class Feed:
    """Puts the messages of one run in order.

    Text comes out without holes: each `text.delta` begins where the one before it of
    the same stream ended, and a text is whole before the end of its node comes out.
    What cannot be had is told by a `client.gap`, and the text goes on behind it.

    Attributes:
        cursor: Place in the log of events that have arrived.
        transcript: Text that has arrived.
        ended: Whether the end of the run came out.
        unfinished: Nodes that have begun and not ended, as `(node_id, path)`.
    """

    def __init__(self, run_id: str, after_seq: int = 0) -> None:
        self.run_id = run_id
        self.cursor = EventCursor(after_seq)
        self.transcript = Transcript()
        self.ended = False
        self.unfinished: dict[tuple[str, str], None] = {}
        self._waiting: deque[Event] = deque()
        self._holes: dict[tuple[str, str, str], StreamText] = {}
        self._swept = False
        self._over = False
        self._given_up = 0
        self._timestamp = "1970-01-01T00:00:00.000Z"

    # -- what arrives ------------------------------------------------------------------

    def take(self, message: Event) -> list[Event]:
        """Takes an event or a delta; returns what comes out, in order."""
        if self.ended:
            return []
        self.cursor.note_head(message)
        self._timestamp = str(message.get("timestamp", self._timestamp))
        if message["event"] == "text.delta":
            return self._text(message) + self._release()
        if "seq" in message:
            self._waiting.extend(self.cursor.offer(message))
            return self._release()
        return []

    def take_rows(self, rows: Iterable[Mapping[str, Any]], *, swept: bool = False) -> list[Event]:
        """Takes stored text.

        Args:
            rows: `{node_id, path, attempt, stream, offset, text}`.
            swept: They are all there is, read after the run had ended.
        """
        if self.ended:
            return []
        self._swept = self._swept or swept
        out: list[Event] = []
        for row in rows:
            data = {name: row[name] for name in ("attempt", "stream", "offset", "text")}
            out += self._text(self._made("text.delta", row["node_id"], row["path"], data))
        return out + self._release()

    def _made(self, name: str, node_id: str, path: str, data: dict[str, Any]) -> Event:
        return {
            "v": PROTOCOL_VERSION,
            "event": name,
            "run_id": self.run_id,
            "head": self.cursor.head,
            "timestamp": self._timestamp,
            "node_id": node_id,
            "path": path,
            "data": data,
        }

    # -- text --------------------------------------------------------------------------

    def _text(self, delta: Event) -> list[Event]:
        """Merges a piece; returns what now follows the text that has come out."""
        stream, data = self.transcript.open(delta), delta["data"]
        if stream is None:
            return []
        at = stream.length
        _, text = stream.merge(data["offset"], data["text"])
        key = (delta["node_id"], delta["path"], data["stream"])
        if stream.next_start is not None:
            self._holes[key] = stream
        elif key in self._holes:
            del self._holes[key]
        return [{**delta, "data": {**data, "offset": at, "text": text}}] if text else []

    def holes(self) -> list[StreamText]:
        """Returns the streams with a hole, of attempts that count."""
        for (node_id, path, name), stream in list(self._holes.items()):
            if self.transcript.stream(node_id, path, name) is not stream:
                del self._holes[node_id, path, name]
        return list(self._holes.values())

    # -- events ------------------------------------------------------------------------

    @property
    def blocked(self) -> int:
        """Seq of the event that waits for text; 0 when none does."""
        return int(self._waiting[0]["seq"]) if self._waiting else 0

    @property
    def last_waiting(self) -> int:
        """Seq of the last event behind that one; 0 when none waits."""
        return int(self._waiting[-1]["seq"]) if self._waiting else 0

    @property
    def ending(self) -> bool:
        """Whether it is the end of the run that waits."""
        return bool(self._waiting) and self._waiting[0]["event"] in FINAL

    def wanted(self) -> set[str] | None:
        """Returns nodes whose text is missing, not more than two; None when it may be any."""
        found = {node_id for node_id, _, _ in self._holes}
        for event in self._waiting:
            if event["event"] in FINAL:
                return None
            if len(found) > 1:
                break
            if event["event"] in ENDS and self._lacks(event):
                found.add(event["node_id"])
        return found

    def _release(self) -> list[Event]:
        out: list[Event] = []
        while self._waiting and not self._lacks(self._waiting[0]):
            event = self._waiting.popleft()
            self.transcript.apply(event)
            self._note(event)
            if event["event"] != "void":
                out.append(event)
            out += self._behind_kept(event)
            if event["event"] in LAST:
                self.ended = True
                self._waiting.clear()
            elif event["event"] in FINAL or event["event"] == "run.resumed":
                self._over = event["event"] in FINAL
        if self._over and not self._waiting and not self.cursor.behind:
            self.ended = True
        return out

    def _behind_kept(self, event: Event) -> Iterator[Event]:
        """Yields text that came before the event which says what it follows."""
        for name, length in ((event.get("data") or {}).get("kept") or {}).items():
            stream = self.transcript.stream(event["node_id"], event["path"], name)
            if stream is None or stream.length <= length or stream.lost:
                continue
            text = stream.text()[length:]
            data = {"attempt": event["data"]["attempt"], "stream": name, "offset": length}
            yield self._made("text.delta", event["node_id"], event["path"], {**data, "text": text})

    def _note(self, event: Event) -> None:
        if "node_id" not in event:
            return
        place = (event["node_id"], event["path"])
        if event["event"] == "node.started":
            self.unfinished[place] = None
        elif event["event"] in ENDS:
            self.unfinished.pop(place, None)

    def _lacks(self, event: Event) -> bool:
        if event["seq"] <= self._given_up:
            return False
        if event["event"] in ENDS:
            return self.transcript.lacks(event)
        if event["event"] in FINAL:
            # A node that was stopped does not tell how much it had said.
            stopped = bool(self.unfinished) and event["event"] != "run.completed"
            return bool(self.holes()) or (stopped and not self._swept)
        return False

    # -- giving up ---------------------------------------------------------------------

    def give_up(self) -> list[Event]:
        """Names what the waiting event lacks, and goes on behind it."""
        event = self._waiting[0]
        self._given_up = event["seq"]
        if event["event"] in FINAL:
            out = [m for key in list(self._holes) for m in self._close(*key)]
        else:
            out = [m for name in self.transcript.lacking(event) for m in self._end(event, name)]
        return out + self._release()

    def _close(self, node_id: str, path: str, name: str) -> Iterator[Event]:
        """Yields the gaps of a stream, each with the text behind it."""
        stream = self._holes.pop((node_id, path, name))
        attempt = self.transcript.attempt(node_id, path)
        while (to := stream.next_start) is not None:
            yield from self._gap(stream, (node_id, path, attempt, name), to)

    def _end(self, event: Event, name: str) -> Iterator[Event]:
        """Yields the gaps of a stream whose length is known."""
        stream, data = self.transcript.open(event, name), event["data"]
        if stream is None:
            return
        place = (event["node_id"], event["path"], int(data.get("attempt", 1)), name)
        length = data["streams"][name]["length"]
        while stream.length < length:
            to = stream.next_start
            yield from self._gap(stream, place, length if to is None else min(to, length))
        self._holes.pop((place[0], place[1], name), None)
        if stream.differs(data["streams"][name]):
            yield self._gap_message(place, 0, stream.length, "differs")

    def _gap(
        self, stream: StreamText, place: tuple[str, str, int, str], to: int
    ) -> Iterator[Event]:
        offset = stream.length
        text = stream.skip(to)
        yield self._gap_message(place, offset, to - offset, "not_stored")
        if text:
            node_id, path, attempt, name = place
            data = {"attempt": attempt, "stream": name, "offset": to, "text": text}
            yield self._made("text.delta", node_id, path, data)

    def _gap_message(
        self, place: tuple[str, str, int, str], offset: int, length: int, reason: str
    ) -> Event:
        node_id, path, attempt, name = place
        data = {"attempt": attempt, "stream": name, "offset": offset, "length": length}
        return self._made("client.gap", node_id, path, {**data, "reason": reason})
