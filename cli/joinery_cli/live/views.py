"""Three ways to watch: drawn on a terminal, as plain lines, and not at all."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from joinery_cli.live.state import RunState, Visit
from joinery_cli.live.tools import SAID
from joinery_cli.live.words import label, seconds, trouble
from joinery_cli.output import clean, is_live, say

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

    from joinery.events.make import Event

FRAME_S: Final = 0.08
"""12 frames a second."""

PATIENCE_S: Final = 0.3
"""A run that is over sooner is not worth the change of the screen."""


class View(Protocol):
    """Shows a run while it goes on."""

    def heard(self, state: RunState, message: Event, events: list[Event]) -> None:
        """Takes note of a message and of the events that it made known."""
        ...

    def draw(self, state: RunState) -> None:
        """Called many times a second."""
        ...

    def notice(self, text: str) -> None:
        """Says something to the person who watches."""
        ...

    def rest(self) -> None:
        """Leaves the terminal for a question and its answer; drawing goes on after that."""
        ...

    def close(self) -> None:
        """Leaves the terminal as it was; a second time does nothing."""
        ...


def choose_view(*, json: bool) -> View:
    """Returns the view that fits where stdout goes."""
    if json:
        return SilentView()
    return LiveView() if is_live() else PlainView()


class SilentView:
    """Shows nothing but notices, for `--json`."""

    def heard(self, state: RunState, message: Event, events: list[Event]) -> None:
        """See `View.heard`."""

    def draw(self, state: RunState) -> None:
        """See `View.draw`."""

    def notice(self, text: str) -> None:
        """See `View.notice`."""
        if text:
            say(text)

    def rest(self) -> None:
        """See `View.rest`."""

    def close(self) -> None:
        """See `View.close`."""


class PlainView(SilentView):
    """One line on stderr for each thing that happens, for logs and pipes."""

    def heard(self, state: RunState, message: Event, events: list[Event]) -> None:
        """See `View.heard`."""
        for event in events:
            for line in _lines(state, event):
                say(line)


_OF_RUNS: Final = {
    "run.started": "{name} started",
    "run.paused": "{name} is paused; go on with: joinery resume {run_id}",
    "run.resumed": "{name} goes on",
}


def _lines(state: RunState, event: Event) -> list[str]:
    name, data = event["event"], event.get("data") or {}
    if name in _OF_RUNS:
        return [_OF_RUNS[name].format(name=state.name, run_id=event["run_id"])]
    if name == "nodes.skipped":
        return [
            f"{label(state.visits[row['node_id'], row['path']])} skipped" for row in data["nodes"]
        ]
    if name == "nodes.cancelled":
        visits = [state.visits[row["node_id"], row["path"]] for row in data["nodes"]]
        return [f"{label(visit)} cancelled: {visit.note}" for visit in visits]
    if name == "loop.round":
        return [f"{event['node_id']} begins round {data['round']} of {data['max_rounds']}"]
    if "node_id" not in event:
        return []
    return _of_node(state.visits[event["node_id"], event["path"]], event)


def _of_node(visit: Visit, event: Event) -> list[str]:
    name, data = event["event"], event.get("data") or {}
    who = label(visit)
    match name:
        case "node.started":
            return [f"{who} started"]
        case "node.completed":
            note = f" ({visit.note})" if visit.note else ""
            return [f"{who} completed in {seconds(visit.seconds(visit.ended_at))}{note}"]
        case "node.failed":
            note = f"; {visit.note}" if visit.note else ""
            return [f"{who} failed: {visit.error}{note}"]
        case "node.retrying":
            return [f"{who} is tried again: {visit.error}"]
        case "child.started":
            return [f"{who} waits for {data['workflow']['name']}, {visit.note}"]
        case "input.requested" | "input.received" | "input.cut":
            return [_of_input(name, who, visit.note, data)]
        case name if name in SAID:
            return [f"{who}: {visit.said}"]
    return [f"{who}: {told}"] if (told := trouble(name, data)) else []


def _of_input(name: str, who: str, note: str, data: Mapping[str, Any]) -> str:
    if name == "input.cut":
        return f"{who}: {note}"
    return f"{who} asks: {data['prompt']}" if name == "input.requested" else f"{who} is answered"


class LiveView:
    """Draws the run over and over on a screen of its own, which it leaves at the end.

    The terminal's second screen survives any change of size, and leaves what was
    there before untouched.
    """

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console

        from joinery_cli.live.draw import Painter
        from joinery_cli.live.glyphs import glyphs_for

        self._console = console or Console(highlight=False, markup=False, emoji=False)
        self._painter = Painter(glyphs_for(self._console.encoding))
        self._live: Live | None = None
        self._opened = time.monotonic()
        self._drawn = 0.0
        self._changed = True
        self._notice = ""
        self._closed = False
        self._size = (0, 0)

    def heard(self, state: RunState, message: Event, events: list[Event]) -> None:
        """See `View.heard`."""
        self._changed = True

    def notice(self, text: str) -> None:
        """See `View.notice`."""
        self._notice = text
        self._changed = True

    def draw(self, state: RunState) -> None:
        """See `View.draw`."""
        now = time.monotonic()
        if self._closed or now - self._drawn < FRAME_S:
            return
        if self._live is None and now - self._opened < PATIENCE_S and not self._notice:
            return
        size = (self._console.size.width, self._console.size.height)
        if not (self._changed or size != self._size or state.running()):
            return
        self._open()
        self._drawn, self._changed, self._size = now, False, size
        self._show(state, *size)

    def _open(self) -> None:
        if self._live is None:
            from rich.live import Live

            self._live = Live(console=self._console, screen=True, auto_refresh=False)
            self._live.start()

    def _show(self, state: RunState, width: int, height: int) -> None:
        from rich.console import Group

        assert self._live is not None
        lines = self._painter.frame(state, width, height, time.time(), clean(self._notice))
        self._live.update(Group(*lines), refresh=True)

    def rest(self) -> None:
        """See `View.rest`."""
        self._changed = True
        if self._live is not None:
            self._live.stop()
            self._live = None

    def close(self) -> None:
        """See `View.close`."""
        self._closed = True
        if self._live is not None:
            self._live.stop()
            self._live = None
            if self._notice:
                say(self._notice)


def restore_terminal() -> None:
    """Shows the cursor and leaves the second screen, for when the process must end at once."""
    if sys.stdout.isatty():
        sys.stdout.write("\x1b[?1049l\x1b[?25h")
        sys.stdout.flush()
