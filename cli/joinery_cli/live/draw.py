"""Draws a run's state into lines that fit a terminal of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from joinery_cli.live.glyphs import STYLES, Glyphs
from joinery_cli.live.nodes import node_lines
from joinery_cli.live.words import footer_parts, label, seconds
from joinery_cli.live.wrap import TailWrap
from joinery_cli.output import clean

if TYPE_CHECKING:
    from joinery_cli.live.state import RunState, Visit

COLUMN_MIN: Final = 26
"""Narrower columns of text are hard to read; what does not fit beside waits for its turn."""

_CALLS: Final = 4
"""Most calls of an agent that are shown above its text."""

_ROOMY: Final = 16
"""Terminals of fewer lines get no blank ones."""


class Painter:
    """Draws frames; keeps the wrapped text of each node between them."""

    def __init__(self, glyphs: Glyphs) -> None:
        self._glyphs = glyphs
        self._wraps: dict[tuple[str, str], TailWrap] = {}

    def frame(
        self, state: RunState, width: int, height: int, now: float, notice: str = ""
    ) -> list[Text]:
        """Returns at most `height` lines of at most `width` cells.

        Args:
            state: The run.
            width: Cells of a line.
            height: Lines.
            now: Epoch seconds.
            notice: What the footer is to say on its right side.
        """
        width, height = max(10, width), max(3, height)
        blank = [Text("")] if height >= _ROOMY else []
        spoken = self._finished(state, width, min(4, height // 8))
        speaking = self._speaking(state)
        fixed = 2 + len(spoken) + len(blank) * (2 + bool(spoken))
        room = height - fixed
        nodes = node_lines(state, self._glyphs, width, max(1, room // 2 if speaking else room), now)
        columns = self._columns(state, speaking, width, room - len(nodes), now)
        lines = [self._header(state, width, now), *blank, *nodes, *blank, *columns]
        if spoken:
            lines += [*blank, *spoken]
        lines = lines[: height - 1]
        return [*lines, self._footer(state, width, now, notice)]

    # -- first and last line -----------------------------------------------------------

    def _header(self, state: RunState, width: int, now: float) -> Text:
        style = STYLES.get(state.status, "")
        right = Text(f"{self._glyphs.of(state.status, now)} {state.status}", style=style)
        left = Text.assemble((clean(state.name) or "run", "bold"), "  ", (state.run_id, "dim"))
        return _sides(left, right, width)

    def _footer(self, state: RunState, width: int, now: float, notice: str) -> Text:
        left = Text(f" {self._glyphs.dot} ".join(footer_parts(state, now)), style="dim")
        if state.status == "paused":
            notice = notice or f"go on with: joinery resume {state.run_id}"
        return _sides(left, Text(notice, style="bold yellow" if notice else ""), width)

    # -- text --------------------------------------------------------------------------

    def _speaking(self, state: RunState) -> list[Visit]:
        """Returns the visits whose text is worth the columns: what runs, else what ended last."""
        running = [v for v in state.running() if state.speaks(v.node_id)]
        return running or state.finished()[-1:]

    def _columns(
        self, state: RunState, visits: list[Visit], width: int, height: int, now: float
    ) -> list[Text]:
        if height < 2 or not visits:
            return []
        count = min(len(visits), max(1, (width + 3) // (COLUMN_MIN + 3)))
        shown = visits[:count]
        each = (width - 3 * (count - 1)) // count
        columns = [self._column(state, visit, each, height - 1, now) for visit in shown]
        deepest = max(len(column) for column in columns)
        lines = []
        for row in range(deepest):
            line = Text(no_wrap=True)
            for place, column in enumerate(columns):
                if place:
                    line.append(f" {self._glyphs.bar} ", style="dim")
                cell = column[row] if row < len(column) else Text("")
                cell.truncate(each, pad=place < count - 1)
                line.append_text(cell)
            lines.append(line)
        if len(visits) > count:
            names = ", ".join(visit.title for visit in visits[count:])
            lines.append(_fit(Text(f"also running: {names}", style="dim"), width))
        return lines[:height]

    def _column(
        self, state: RunState, visit: Visit, width: int, height: int, now: float
    ) -> list[Text]:
        title = Text(no_wrap=True)
        title.append(f"{self._glyphs.of(visit.status, now)} ", style=STYLES.get(visit.status, ""))
        title.append(label(visit), style="bold")
        title.append(f" {seconds(visit.seconds(now))}", style="dim")
        head = [title, *self._tools(visit, width, height, now)]
        height -= len(head) - 1
        place = (visit.node_id, visit.path)
        text, style = state.transcript.text(*place), ""
        if not text:
            text, style = state.transcript.text(*place, name="reasoning"), "dim italic"
        if not text:
            waits = visit.error
            if not waits and visit.status == "running":
                waits = f"reading the prompt {self._glyphs.more}"
            return [*head, *(Text(line, style="dim") for line in _wrapped(waits, width, height))]
        wrap = self._wraps.setdefault(place, TailWrap(width))
        wrap.update(text, width)
        return [*head, *(Text(line, style=style) for line in wrap.tail(height))]

    def _tools(self, visit: Visit, width: int, height: int, now: float) -> list[Text]:
        """Returns the newest calls of an agent, a line each, in a third of the column."""
        if visit.ended_at or height < _CALLS:
            return []
        lines = []
        for call in list(visit.rounds.calls.values())[-min(_CALLS, height // 3) :]:
            line = Text(no_wrap=True)
            line.append(f"{self._glyphs.of(call.status, now)} ", style=STYLES.get(call.status, ""))
            line.append(call.line, style="dim")
            lines.append(_fit(line, width))
        return lines

    def _finished(self, state: RunState, width: int, most: int) -> list[Text]:
        """Returns the texts of nodes that have ended, a line each, newest last."""
        ended = state.finished()
        if not any(state.speaks(v.node_id) for v in state.running()):
            ended = ended[:-1]  # the last one has the column
        lines = []
        for visit in ended[-most:] if most else []:
            line = Text(no_wrap=True)
            line.append(f"{self._glyphs.of(visit.status, 0)} ", style=STYLES.get(visit.status, ""))
            line.append(label(visit))
            said = state.transcript.text(visit.node_id, visit.path)[: 4 * width]
            line.append(f"  {' '.join(clean(visit.error or said).split())}", style="dim")
            lines.append(_fit(line, width))
        return lines


def _wrapped(text: str, width: int, height: int) -> list[str]:
    wrap = TailWrap(width)
    wrap.update(text, width)
    return wrap.tail(height)


def _sides(left: Text, right: Text, width: int) -> Text:
    """Returns a line with one text at each end; the right one stays whole."""
    room = width - right.cell_len
    if room < 8:
        right.truncate(width)
        return right
    left.truncate(room - 1 if right.cell_len else room, overflow="ellipsis", pad=True)
    line = Text(no_wrap=True)
    line.append_text(left)
    if right.cell_len:
        line.append(" ")
    line.append_text(right)
    return line


def _fit(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    return line
