"""Text that streams out of nodes, put together from deltas in whatever order they come."""

from __future__ import annotations

import hashlib
from bisect import bisect_right, insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from joinery.events.make import Event

Place = tuple[str, str]
"""A node id and a path."""

HOLE = "[…]"
"""Stands for text that has not arrived."""


@dataclass(slots=True)
class StreamText:
    """One stream of one attempt. Offsets count Unicode code points.

    `_parts` is what is known from the beginning without a hole; `_later` holds
    pieces beyond the first hole, by offset, not overlapping; `_starts` has their
    offsets in order.

    Attributes:
        length: How far the text is known, or known to be lost, from the beginning.
        lost: How many code points of that are lost.
    """

    length: int = 0
    lost: int = 0
    _parts: list[str] = field(default_factory=list)
    _later: dict[int, str] = field(default_factory=dict)
    _starts: list[int] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether there is no hole in what has arrived."""
        return not self._later and not self.lost

    @property
    def next_start(self) -> int | None:
        """Where the text goes on behind the first hole; None when there is no hole."""
        return self._starts[0] if self._starts else None

    def add(self, offset: int, text: str) -> bool:
        """Merges a piece; returns whether it brought anything new."""
        return self.merge(offset, text)[0]

    def merge(self, offset: int, text: str) -> tuple[bool, str]:
        """Merges a piece.

        Returns:
            Whether it brought anything new, and the text that now follows what was
            known from the beginning.
        """
        fresh = self._trim(offset, text)
        at = len(self._parts)
        for start, piece in fresh:
            if start == self.length:
                self._append(piece)
            else:
                self._later[start] = piece
                insort(self._starts, start)
        self._close_up()
        return bool(fresh), "".join(self._parts[at:])

    def skip(self, to: int) -> str:
        """Gives up what is missing up to an offset; returns the text that follows it."""
        missing = to - self.length
        if missing <= 0:
            return ""
        self._parts.append(HOLE)
        at = len(self._parts)
        self.lost += missing
        self.length = to
        self._close_up()
        return "".join(self._parts[at:])

    def _append(self, piece: str) -> None:
        self._parts.append(piece)
        self.length += len(piece)

    def _close_up(self) -> None:
        done = 0
        while done < len(self._starts) and self._starts[done] == self.length:
            self._append(self._later.pop(self.length))
            done += 1
        del self._starts[:done]

    def _trim(self, offset: int, text: str) -> list[tuple[int, str]]:
        """Returns the parts of a piece that are not known yet."""
        if offset < self.length:
            text, offset = text[self.length - offset :], self.length
        if not self._later:
            return [(offset, text)] if text else []
        fresh: list[tuple[int, str]] = []
        end = offset + len(text)
        at = offset
        first = max(0, bisect_right(self._starts, offset) - 1)
        for start in self._starts[first:]:
            stop = start + len(self._later[start])
            if start >= end:
                break
            if at < start:
                fresh.append((at, text[at - offset : start - offset]))
            at = max(at, stop)
        if at < end:
            fresh.append((at, text[at - offset :]))
        return fresh

    def text(self) -> str:
        """Returns the text up to the first hole; what was given up is a `HOLE` in it."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    def pieces(self) -> Iterator[tuple[int, str]]:
        """Yields `(offset, text)`: one piece up to the first hole, then those beyond it."""
        if self.length:
            yield 0, self.text()
        yield from ((start, self._later[start]) for start in self._starts)

    def shown(self) -> str:
        """Returns all that has arrived, with `HOLE` wherever something is missing."""
        out = [self.text()]
        at = self.length
        for start in self._starts:
            if start > at:
                out.append(HOLE)
            out.append(self._later[start])
            at = start + len(self._later[start])
        return "".join(out)

    def differs(self, summary: Mapping[str, Any]) -> bool:
        """Whether the text from the beginning is not the one that a summary tells of."""
        if self.length != summary["length"]:
            return True
        expected = summary.get("sha256")
        if expected is None or self.lost:
            return False
        try:
            encoded = self.text().encode()
        except UnicodeEncodeError:
            # Half a surrogate pair has no UTF-8 and so no hash.
            return False
        return hashlib.sha256(encoded).hexdigest() != str(expected)


@dataclass(slots=True)
class _Attempt:
    """What was heard of an attempt; `before` is the one that it came after."""

    number: int
    streams: dict[str, StreamText] = field(default_factory=dict)
    before: dict[str, StreamText] = field(default_factory=dict)

    def keep(self, kept: Mapping[str, int]) -> bool:
        """Takes over as much of the attempt before as still counts; returns whether any."""
        news = False
        for name, length in kept.items():
            earlier = self.before.get(name)
            if earlier is None or earlier.lost:
                continue
            for offset, text in earlier.pieces():
                part = text[: max(0, length - offset)]
                if part:
                    stream = self.streams.setdefault(name, StreamText())
                    news = stream.add(offset, part) or news
        self.before = {}
        return news


class Transcript:
    """The streamed text of a run, by node, path and stream; the newest attempt counts."""

    def __init__(self) -> None:
        self._places: dict[Place, _Attempt] = {}

    def apply(self, message: Event) -> bool:
        """Takes any message of a run; returns whether it changed the text.

        `text.delta` is merged by its offset; `client.gap` gives up what is missing;
        `node.started` of a new attempt clears what the attempt before had said, but for
        what it says is kept. Everything else is ignored.
        """
        data = message.get("data") or {}
        if message["event"] == "text.delta":
            stream = self.open(message)
            return stream is not None and stream.add(data["offset"], data["text"])
        if message["event"] == "client.gap":
            stream = self.open(message)
            before = stream.length if stream else 0
            if stream is not None and data["reason"] != "differs":
                stream.skip(data["offset"] + data["length"])
            return stream is not None and stream.length != before
        if message["event"] == "node.started":
            before_it = self._places.get(_place(message))
            now = self._attempt(message, data)
            if now is None:
                return False
            kept = now.keep(data.get("kept") or {})
            return kept or (before_it is not None and now is not before_it)
        return False

    def open(self, message: Event, name: str = "") -> StreamText | None:
        """Returns the stream that a message belongs to, None when its attempt is past."""
        data = message["data"]
        held = self._attempt(message, data)
        if held is None:
            return None
        return held.streams.setdefault(name or data["stream"], StreamText())

    def _attempt(self, message: Event, data: Mapping[str, Any]) -> _Attempt | None:
        place, number = _place(message), int(data.get("attempt", 1))
        held = self._places.get(place)
        if held is None or number > held.number:
            before = held.streams if held else {}
            held = self._places[place] = _Attempt(number, before=before)
        return held if number == held.number else None

    def attempt(self, node_id: str, path: str = "") -> int:
        """Returns the number of the newest attempt that was heard of, 0 for none."""
        held = self._places.get((node_id, path))
        return held.number if held else 0

    def stream(self, node_id: str, path: str = "", name: str = "text") -> StreamText | None:
        """Returns a stream of the newest attempt, or None when nothing has arrived."""
        held = self._places.get((node_id, path))
        return held.streams.get(name) if held else None

    def text(self, node_id: str, path: str = "", name: str = "text") -> str:
        """Returns what has arrived of a stream, with `HOLE` wherever something is missing."""
        stream = self.stream(node_id, path, name)
        return stream.shown() if stream else ""

    def offsets(self) -> dict[str, int]:
        """Returns how far each stream is known from its beginning, as `subscribe` takes it.

        Returns:
            `{"<node_id>|<path>|<attempt>|<stream>": code points}`.
        """
        return {
            f"{node_id}|{path}|{held.number}|{name}": stream.length
            for (node_id, path), held in self._places.items()
            for name, stream in held.streams.items()
        }

    def lacking(self, message: Event) -> list[str]:
        """Returns the streams that are not what this end of a node says they are.

        `node.completed` and `node.failed` tell the length and hash of each stream. An
        attempt that a later one has replaced lacks nothing.
        """
        data = message.get("data") or {}
        streams = data.get("streams") or {}
        held = self._places.get(_place(message))
        if held is not None and held.number > data.get("attempt", held.number):
            return []
        if held is not None and held.number < data.get("attempt", held.number):
            held = None
        found = []
        for name, summary in streams.items():
            stream = held.streams.get(name) if held else None
            if stream is None:
                if summary.get("length"):
                    found.append(name)
            elif stream.differs(summary):
                found.append(name)
        return found

    def lacks(self, message: Event) -> bool:
        """Whether text is missing of a node that this event says has ended."""
        return bool(self.lacking(message))


def _place(message: Event) -> Place:
    return str(message.get("node_id", "")), str(message.get("path", ""))
