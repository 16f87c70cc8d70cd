"""Server-sent events, as far as model servers use them.

Follows https://html.spec.whatwg.org/multipage/server-sent-events.html with two
allowances: the last event counts even when the blank line after it is missing,
and a line `error: …` (older llama.cpp) is an event named `error`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from joinery.model_errors import TransientModelStream

# One chunk of an answer is a few hundred bytes; a line of this size is not one.
MAX_EVENT_BYTES = 1 << 20

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One event; `name` is empty when the server names none."""

    name: str
    data: str


class SseParser:
    """Turns the bytes of a response into events, however the network splits them.

    A line is decoded only when it is complete, so a character of several bytes
    survives a split anywhere. Comments (keep-alives) produce nothing.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._after_cr = False
        self._at_start = True
        self._name = ""
        self._data: list[str] = []
        self._data_size = 0

    def feed(self, raw: bytes) -> list[SseEvent]:
        """Takes the next bytes and returns the events that they complete.

        Raises:
            TransientModelStream: One line or event is larger than `MAX_EVENT_BYTES`.
        """
        if self._after_cr and raw:
            # This LF belongs to the CR that ended the bytes before.
            raw = raw.removeprefix(b"\n")
            self._after_cr = False
        self._buffer += raw
        events: list[SseEvent] = []
        start = 0
        for end in _LINE_END.finditer(self._buffer, self._searched):
            event = self._line(bytes(self._buffer[start : end.start()]))
            if event is not None:
                events.append(event)
            start = end.end()
        self._after_cr = start == len(self._buffer) and self._buffer.endswith(b"\r")
        del self._buffer[:start]
        self._searched = len(self._buffer)
        if self._searched + self._data_size > MAX_EVENT_BYTES:
            raise TransientModelStream("The model's server sent one event of more than 1 MiB")
        return events

    def close(self) -> list[SseEvent]:
        """Returns the event that was still open when the bytes ended, if there was one."""
        if self._buffer:
            self._line(bytes(self._buffer))
            self._buffer.clear()
            self._searched = 0
        event = self._dispatch()
        return [] if event is None else [event]

    def _line(self, line: bytes) -> SseEvent | None:
        if self._at_start:
            line = line.removeprefix(_BOM)
            self._at_start = False
        if not line:
            return self._dispatch()
        field, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        match field:
            case "data":
                self._add(value)
            case "event":
                self._name = value
            case "error":
                self._name = "error"
                self._add(value)
        return None

    def _add(self, value: str) -> None:
        self._data.append(value)
        self._data_size += len(value)

    def _dispatch(self) -> SseEvent | None:
        name, data = self._name, self._data
        self._name, self._data, self._data_size = "", [], 0
        return SseEvent(name, "\n".join(data)) if data else None
