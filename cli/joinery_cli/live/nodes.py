"""Draws the graph as a compact list of its nodes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from joinery_cli.live.glyphs import STYLES, Glyphs
from joinery_cli.live.words import seconds
from joinery_cli.output import clean

if TYPE_CHECKING:
    from joinery_cli.live.state import NodeView, RunState

_NAME_MAX: Final = 24
_WITH_PARENTS: Final = 72
"""Narrower terminals do not show where a node's edges come from."""


def node_lines(state: RunState, glyphs: Glyphs, width: int, height: int, now: float) -> list[Text]:
    """Returns the nodes: a line each where there is room, else several to a line, else counts."""
    nodes = list(state.nodes.values())
    if len(nodes) <= height:
        name_width = min(_NAME_MAX, max((cell_len(node.title) for node in nodes), default=0))
        type_width = max((len(node.type) for node in nodes), default=0)
        return [_row(state, node, glyphs, (width, name_width, type_width), now) for node in nodes]
    flowing = _flow(nodes, glyphs, width, now)
    if len(flowing) <= height:
        return flowing
    return _counts(nodes, glyphs, width, height, now)


def _row(
    state: RunState, node: NodeView, glyphs: Glyphs, widths: tuple[int, int, int], now: float
) -> Text:
    width, name_width, type_width = widths
    visit = node.visit
    line = Text(no_wrap=True)
    style = STYLES.get(visit.status, "")
    line.append(f"{glyphs.of(visit.status, now)} ", style=style)
    name = Text(node.title, style="bold" if visit.status == "running" else style)
    name.truncate(name_width, overflow="ellipsis", pad=True)
    line.append_text(name)
    line.append(f"  {node.type:{type_width}}", style="dim")
    taken = visit.seconds(now)
    line.append(f"  {seconds(taken) if visit.started_at else '':>9}", style="dim")
    for text, colour in _facts(state, node):
        line.append(f"  {text}", style=colour)
    if node.parents and width >= _WITH_PARENTS:
        line.append(f"  {glyphs.arrow} {', '.join(map(state.title, node.parents))}", style="dim")
    line.truncate(width, overflow="ellipsis")
    return line


def _facts(state: RunState, node: NodeView) -> list[tuple[str, str]]:
    """Returns what else there is to say of a node, with its colour."""
    visit = node.visit
    facts: list[tuple[str, str]] = []
    if node.type == "loop" and node.node_id in state.rounds:
        current, most = state.rounds[node.node_id]
        facts.append((f"round {current} of {most}", "dim"))
    elif visit.path:
        facts.append((f"round {visit.path}", "dim"))
    if visit.rounds.fact:
        facts.append((visit.rounds.fact, "dim"))
    if visit.status == "skipped":
        facts.append(("skipped", "dim"))
    if visit.attempt > 1:
        facts.append((f"attempt {visit.attempt}", "yellow"))
    if visit.error:
        colour = "yellow" if visit.status == "retrying" else "red"
        facts.append((" ".join(clean(visit.error).split()), colour))
    if visit.note:
        facts.append((clean(visit.note), "dim"))
    return facts


def _flow(nodes: list[NodeView], glyphs: Glyphs, width: int, now: float) -> list[Text]:
    lines = [Text(no_wrap=True)]
    for node in nodes:
        item = _item(node, glyphs, now)
        item.truncate(width, overflow="ellipsis")
        gap = 2 if lines[-1].cell_len else 0
        if lines[-1].cell_len + gap + item.cell_len > width:
            lines.append(Text(no_wrap=True))
            gap = 0
        lines[-1].append(" " * gap)
        lines[-1].append_text(item)
    return lines


def _item(node: NodeView, glyphs: Glyphs, now: float) -> Text:
    status = node.visit.status
    name = set_cell_size(node.title, _NAME_MAX).rstrip()
    return Text(f"{glyphs.of(status, now)} {name}", style=STYLES.get(status, ""))


def _counts(
    nodes: list[NodeView], glyphs: Glyphs, width: int, height: int, now: float
) -> list[Text]:
    """Returns how many nodes are in each state, and by name those that matter now."""
    counts = Counter(node.visit.status for node in nodes)
    words = [f"{counts[status]:,} {status}" for status in STYLES if counts[status]]
    summary = Text(f" {glyphs.dot} ".join(words), style="dim")
    summary.truncate(width, overflow="ellipsis")
    urgent = [n for n in nodes if n.visit.status in ("running", "retrying", "waiting", "failed")]
    return [summary, *_flow(urgent, glyphs, width, now)[: height - 1]] if urgent else [summary]
