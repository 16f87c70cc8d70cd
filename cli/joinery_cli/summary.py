"""What stays on the screen of a run once it is over."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from joinery_cli.commands.plan import dollars
from joinery_cli.live.glyphs import Glyphs, glyphs_for
from joinery_cli.live.state import path_key
from joinery_cli.live.words import count, footer_parts, label, seconds
from joinery_cli.output import clean, show

if TYPE_CHECKING:
    from joinery_cli.live.state import RunState

_COLOURS: Final = {
    "completed": "32",
    "failed": "31",
    "timed_out": "31",
    "cancelled": "33",
    "dim": "2",
    "bold": "1",
}


def print_summary(result: Mapping[str, Any], state: RunState, *, nodes: bool = True) -> None:
    """Prints status, nodes, outputs and figures of a run to stdout.

    Args:
        result: The run as `--json` prints it.
        state: What its events told.
        nodes: Whether to list the nodes.
    """
    glyphs = glyphs_for(sys.stdout.encoding)
    status = result["status"]
    sign = glyphs.by_status.get(status, "?")
    show(f"{_paint(f'{sign} {status}', status)}  {clean(state.name)}  {result['run_id']}")
    if nodes:
        for line in _nodes(state, glyphs):
            show(line)
    if result["outputs"] is not None:
        for line in output_lines(result["outputs"]):
            show(line)
    show(_paint(f" {glyphs.dot} ".join(_figures(result, state)), "dim"))
    for line in _expectations(result):
        show(_paint(line, "dim"))


def _expectations(result: Mapping[str, Any]) -> Iterator[str]:
    """Yields what models were expected to use, what they may use, and what has no price."""
    estimate, budget = result.get("estimate"), result.get("budget") or {}
    if estimate and (result["model_calls"] or estimate["model_calls"]):
        tokens = estimate["input_tokens"] + estimate["output_tokens"]
        used = result["tokens"]["input"] + result["tokens"]["output"]
        yield (
            f"models: {used:,} tokens used, {tokens:,} expected; "
            f"{dollars(result['model_usd'])} spent, {dollars(estimate['usd'])} expected"
        )
    if budget:
        most = [f"{budget['tokens']:,} tokens"] if "tokens" in budget else []
        most += [dollars(budget["usd"])] if "usd" in budget else []
        yield f"budget: {' and '.join(most)}"
    if result.get("unpriced"):
        yield clean(f"no price is known for {', '.join(result['unpriced'])}: it is not in the sum")


def _figures(result: Mapping[str, Any], state: RunState) -> list[str]:
    parts = footer_parts(state, time.time())
    if result["model_calls"]:
        parts.append(f"{dollars(result['model_usd'])} for models")
    if result["transitions"]:
        # Nothing is predicted of a run that was resumed, and of others where they will have led.
        predicted = result["transitions_predicted"] if result["status"] == "completed" else 0
        of = f" ({predicted:,} predicted)" if predicted else ""
        parts.append(count(result["transitions"], "transition") + of)
        parts.append(count(sum(result["aws_calls"].values()), "AWS call"))
        parts.append(f"{dollars(result['price_usd'])} on AWS without model fees")
    return parts


def _nodes(state: RunState, glyphs: Glyphs) -> Iterator[str]:
    """Yields a line for each node and round that there is something to say of."""
    from rich.cells import cell_len, set_cell_size

    order = {node_id: place for place, node_id in enumerate(state.nodes)}
    visits = sorted(
        state.visits.values(), key=lambda v: (path_key(v.path), order.get(v.node_id, len(order)))
    )
    width, now = max((cell_len(label(visit)) for visit in visits), default=0), time.time()
    for visit in visits:
        facts = [fact for fact in (visit.note, visit.error) if fact]
        if visit.status != "completed":
            cut_short = visit.status == "failed" and not visit.error
            facts.insert(0, "cut short" if cut_short else visit.status)
        taken = seconds(visit.seconds(now)) if visit.started_at else ""
        said = clean("; ".join(" ".join(fact.split()) for fact in facts))
        sign = _paint(glyphs.by_status.get(visit.status, "?"), visit.status)
        yield f"  {sign} {set_cell_size(label(visit), width)}  {taken:>9}  {said}".rstrip()
    never = [node_id for node_id, node in state.nodes.items() if not _was_heard(state, node_id)]
    if never and state.ended:
        yield f"  {glyphs.by_status['pending']} never began: {', '.join(map(state.title, never))}"


def _was_heard(state: RunState, node_id: str) -> bool:
    return any(visit.node_id == node_id for visit in state.visits.values())


def output_lines(outputs: Mapping[str, Any]) -> Iterator[str]:
    """Yields the outputs for a person: short ones on a line, long texts below their name."""
    for name, value in outputs.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        text = clean(text).rstrip("\n")
        if "\n" in text or len(text) > 100:
            yield f"{_paint(name, 'bold')}:"
            yield from text_lines(text, "  ")
        else:
            yield f"{_paint(name, 'bold')}: {text}"


def text_lines(text: str, indent: str = "") -> Iterator[str]:
    """Yields a text for a person; on a terminal its lines break between words."""
    if sys.stdout.isatty():
        from joinery_cli.live.wrap import wrapped

        width = max(20, shutil.get_terminal_size().columns - len(indent))
        lines = wrapped(text, width)
    else:
        lines = clean(text).split("\n")
    yield from (f"{indent}{line}".rstrip() for line in lines)


def _paint(text: str, style: str) -> str:
    if not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb":
        return text
    code = _COLOURS.get(style)
    return f"\x1b[{code}m{text}\x1b[0m" if code else text
