"""Text that streams out of nodes, put together from deltas in whatever order they come."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
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
    pieces beyond the first hole, by offset, not overlapping.
    """

    length: int = 0
    _parts: list[str] = field(default_factory=list)
    _later: dict[int, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether there is no hole in what has arrived."""
        return not self._later

    def add(self, offset: int, text: str) -> bool:
        """Merges a piece; returns whether it brought anything new."""
        fresh = self._trim(offset, text)
        for start, piece in fresh:
            if start == self.length:
                self._parts.append(piece)
                self.length += len(piece)
            else:
                self._later[start] = piece
        while (piece := self._later.pop(self.length, "")) != "":
            self._parts.append(piece)
            self.length += len(piece)
        return bool(fresh)

    def _trim(self, offset: int, text: str) -> list[tuple[int, str]]:
        """Returns the parts of a piece that are not known yet."""
        if offset < self.length:
            text, offset = text[self.length - offset :], self.length
        if not self._later:
            return [(offset, text)] if text else []
        fresh: list[tuple[int, str]] = []
        starts = sorted(self._later)
        end = offset + len(text)
        at = offset
        first = max(0, bisect_right(starts, offset) - 1)
        for start in starts[first:]:
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
        """Returns the text up to the first hole."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    def pieces(self) -> Iterator[tuple[int, str]]:
        """Yields `(offset, text)`: one piece up to the first hole, then those beyond it."""
        if self.length:
            yield 0, self.text()
        yield from sorted(self._later.items())

    def shown(self) -> str:
        """Returns all that has arrived, with `HOLE` wherever something is missing."""
        out: list[str] = []
        at = 0
        for offset, text in self.pieces():
            if offset > at:
                out.append(HOLE)
            out.append(text)
            at = offset + len(text)
        return "".join(out)


@dataclass(slots=True)
class _Attempt:
    number: int
    streams: dict[str, StreamText] = field(default_factory=dict)


class Transcript:
    """The streamed text of a run, by node, path and stream; the newest attempt counts."""

    def __init__(self) -> None:
        self._places: dict[Place, _Attempt] = {}

    def apply(self, message: Event) -> bool:
        """Takes any message of a run; returns whether it changed the text.

        `text.delta` is merged by its offset; `node.started` of a new attempt clears
        what the attempt before had said. Everything else is ignored.
        """
        data = message.get("data") or {}
        if message["event"] == "text.delta":
            held = self._attempt(message, data)
            if held is None:
                return False
            stream = held.streams.setdefault(data["stream"], StreamText())
            return stream.add(data["offset"], data["text"])
        if message["event"] == "node.started":
            before = self._places.get(_place(message))
            now = self._attempt(message, data)
            return before is not None and now is not None and now is not before
        return False

    def _attempt(self, message: Event, data: Mapping[str, Any]) -> _Attempt | None:
        place, number = _place(message), int(data.get("attempt", 1))
        held = self._places.get(place)
        if held is None or number > held.number:
            held = self._places[place] = _Attempt(number)
        return held if number == held.number else None

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

    def lacks(self, message: Event) -> bool:
        """Whether text is missing of a node that this event says has ended.

        `node.completed` and `node.failed` tell the length and hash of each stream.
        """
        data = message.get("data") or {}
        held = self._places.get(_place(message))
        for name, summary in (data.get("streams") or {}).items():
            if not summary.get("length"):
                continue
            stream = held.streams.get(name) if held else None
            if held is None or stream is None or held.number != data.get("attempt", held.number):
                return True
            if stream.length != summary["length"] or not _same(stream.text(), summary):
                return True
        return False


def _same(text: str, summary: Mapping[str, Any]) -> bool:
    expected = summary.get("sha256")
    return (
        expected is None
        or hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() == expected
    )


def _place(message: Event) -> Place:
    return str(message.get("node_id", "")), str(message.get("path", ""))
