"""Workflows of ten nodes that talk, in the shapes that people draw."""

from __future__ import annotations

import uuid

NODES = 10


def chain(talking: int, tokens: int, rate: int, *, templates: int = 0, run_on: str = "") -> str:
    """Returns a workflow of nodes that talk one after the other, templates between them.

    Args:
        talking: How many nodes talk.
        tokens: What all of them say together.
        rate: Tokens a second.
        templates: How many templates stand between them.
        run_on: Where it runs.
    """
    order = _names(talking)
    for number in range(templates):
        order.insert(2 * number + 1, f"note{number}")
    edges = [f"start -> {' -> '.join(order)} -> end"]
    return _source(order, edges, tokens // talking, rate, run_on)


def fork(tokens: int, rate: int, *, run_on: str = "") -> str:
    """Returns a workflow of ten nodes that talk at the same time."""
    names = _names(NODES)
    return _source(names, [f"start -> {', '.join(names)} -> end"], tokens // NODES, rate, run_on)


def rounds(tokens: int, rate: int, *, run_on: str = "") -> str:
    """Returns a workflow in which three nodes talk at the same time and one answers, twice."""
    edges = [
        "start -> talk0 -> talk1, talk2, talk3",
        "talk1, talk2, talk3 -> talk4 -> talk5, talk6, talk7",
        "talk5, talk6, talk7 -> talk8 -> talk9 -> end",
    ]
    return _source(_names(NODES), edges, tokens // NODES, rate, run_on)


def _names(count: int) -> list[str]:
    return [f"talk{number}" for number in range(count)]


def _source(names: list[str], edges: list[str], tokens: int, rate: int, run_on: str) -> str:
    lines = ["version: 1", f"name: stream_{uuid.uuid4().hex[:8]}"]
    lines += [f"run_on: {run_on}"] if run_on else []
    lines.append("nodes:")
    for name in names:
        talk = f'{{type: llm, prompt: "{tokens} {rate}"}}'
        note = f'{{type: template, template: "{name}"}}'
        lines.append(f"  {name}: {talk if name.startswith('talk') else note}")
    return "\n".join([*lines, "edges:", *(f"  - {edge}" for edge in edges)]) + "\n"
