"""A run as lines of JSON, for `joinery watch --json`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from joinery.client.transcript import HOLE
from joinery.events.make import make_delta
from joinery_cli.live.views import SilentView
from joinery_cli.output import print_json

if TYPE_CHECKING:
    from joinery.events.make import Event
    from joinery_cli.live.state import RunState

FLUSH_S: Final = 0.5
"""Text is printed at most this much later than it came."""

Stream = tuple[str, str, str]
"""A node id, a path and the name of a stream."""


class LinePrinter(SilentView):
    """Prints every event as a line, once and in order, and the text between them.

    Text that follows on is put together in one `text.delta`, without repetitions; all
    of a node's text stands before the event of its end.
    """

    def __init__(self) -> None:
        self._printed: dict[Stream, tuple[int, int]] = {}
        self._waiting: dict[Stream, int] = {}
        self._flushed = time.monotonic()
        self._state: RunState | None = None

    def heard(self, state: RunState, message: Event, events: list[Event]) -> None:
        """See `View.heard`."""
        self._state = state
        if message["event"] == "text.delta":
            stream = (message["node_id"], message["path"], message["data"]["stream"])
            self._waiting[stream] = message["data"]["attempt"]
        elif message["event"] == "client.gap":
            self._gap(message)
        for event in events:
            place = (event.get("node_id"), event.get("path"))
            self._flush([stream for stream in self._waiting if stream[:2] == place])
            print_json(event, indent=None)

    def draw(self, state: RunState) -> None:
        """See `View.draw`."""
        now = time.monotonic()
        if self._waiting and now - self._flushed >= FLUSH_S:
            self._flushed = now
            self._flush(list(self._waiting))

    def close(self) -> None:
        """See `View.close`."""
        self._flush(list(self._waiting))

    def _flush(self, streams: list[Stream]) -> None:
        for stream in streams:
            attempt = self._waiting.pop(stream)
            assert self._state is not None
            held = self._state.transcript.stream(*stream)
            if held is not None:
                self._go_on(stream, attempt, held.length, held.text())

    def _go_on(self, stream: Stream, attempt: int, length: int, text: str) -> None:
        """Prints what a text, known up to a length, has beyond what is printed."""
        known, printed = self._printed.get(stream, (attempt, 0))
        if known != attempt:
            printed = 0
        if length > printed:
            self._printed[stream] = (attempt, length)
            # Counted from the end: what was lost before it has another length there.
            self._print(stream, attempt, printed, text[len(text) - (length - printed) :])

    def _gap(self, message: Event) -> None:
        """Prints that text is missing, at its place among the rest."""
        data = message["data"]
        stream = (message["node_id"], message["path"], data["stream"])
        assert self._state is not None
        held = self._state.transcript.stream(*stream)
        if self._waiting.pop(stream, None) is not None and held is not None:
            before = held.text().removesuffix(HOLE)
            self._go_on(stream, data["attempt"], data["offset"], before)
        self._printed[stream] = (data["attempt"], data["offset"] + data["length"])
        print_json(message, indent=None)

    def _print(self, stream: Stream, attempt: int, offset: int, text: str) -> None:
        assert self._state is not None
        node_id, path, name = stream
        delta = make_delta(
            self._state.run_id,
            at=time.time(),
            head=self._state.head,
            node_id=node_id,
            path=path,
            attempt=attempt,
            stream=name,
            offset=offset,
            text=text,
        )
        print_json(delta, indent=None)
