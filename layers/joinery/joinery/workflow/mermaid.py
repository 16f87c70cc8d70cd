"""Draws a workflow as a Mermaid flowchart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from joinery.workflow.bodies import analyse_all
from joinery.workflow.checks.bodies import innermost
from joinery.workflow.graph import END, START, Link, Structure

if TYPE_CHECKING:
    from joinery.workflow.model import Workflow

# Shapes: decisions are a rhombus, loops a hexagon, model calls round, child workflows framed,
# what asks a person a parallelogram.
_SHAPES: Final[Mapping[str, tuple[str, str]]] = {
    "condition": ("{", "}"),
    "switch": ("{", "}"),
    "loop": ("{{", "}}"),
    "iterate": ("{{", "}}"),
    "agent": ("(", ")"),
    "llm": ("(", ")"),
    "workflow": ("[[", "]]"),
    "question": ("[/", "/]"),
}
_BOX: Final = ("[", "]")
_TERMINAL: Final = ("([", "])")

_COLOURS: Final[Mapping[str, str]] = {
    "pending": "fill:#f4f4f5,stroke:#a1a1aa,color:#52525b",
    "running": "fill:#dbeafe,stroke:#2563eb,color:#1e3a8a",
    "waiting": "fill:#fef9c3,stroke:#ca8a04,color:#713f12",
    "suspended": "fill:#ffedd5,stroke:#ea580c,color:#7c2d12",
    "completed": "fill:#dcfce7,stroke:#16a34a,color:#14532d",
    "skipped": "fill:#ffffff,stroke:#d4d4d8,color:#a1a1aa,stroke-dasharray:4 3",
    "failed": "fill:#fee2e2,stroke:#dc2626,color:#7f1d1d",
    "cancelled": "fill:#f3e8ff,stroke:#9333ea,color:#581c87",
}

_LABEL_CHARS: Final = 60


def mermaid(workflow: Workflow, statuses: Mapping[str, str] | None = None) -> str:
    """Returns a Mermaid flowchart of a workflow.

    Args:
        workflow: A valid workflow.
        statuses: Node statuses of a run by node id, to colour the nodes by.

    Returns:
        The text of the diagram, ending with a line break. Edges that a loop leads back
        by are dotted, and what runs for each item has a frame.
    """
    links = [
        Link(edge.from_, edge.port or "", edge.to, edge.when) for edge in workflow.expanded_edges()
    ]
    loops = [name for name, node in workflow.nodes.items() if node.type == "loop"]
    iterates = [name for name, node in workflow.nodes.items() if node.type == "iterate"]
    structure = analyse_all([START, *workflow.nodes, END], links, loops, iterates)
    back = structure.back_edges
    lines = ["flowchart TD", f"  {_id(START)}{_shape(_TERMINAL, START)}"]
    lines.extend(_nodes(workflow, structure))
    lines.append(f"  {_id(END)}{_shape(_TERMINAL, END)}")
    lines.extend(f"  {_arrow(link, dotted=link in back)}" for link in links)
    lines.extend(_classes(workflow, statuses or {}))
    return "\n".join(lines) + "\n"


def _nodes(workflow: Workflow, structure: Structure) -> list[str]:
    """Returns the nodes, those of bodies in frames."""
    around = innermost(structure)
    inside: dict[str | None, list[str]] = {}
    for one in workflow.nodes:
        inside.setdefault(around.get(one), []).append(one)
    lines: list[str] = []
    # What is still to be drawn, the next one last; None closes a frame.
    todo: list[tuple[int, str | None]] = [(1, name) for name in reversed(inside.get(None, []))]
    while todo:
        depth, name = todo.pop()
        margin = "  " * depth
        if name is None:
            lines.append(f"{margin}end")
            continue
        node = workflow.nodes[name]
        shown = f"{_escape(node.name or name)}<br/><small>{node.type}</small>"
        lines.append(f"{margin}{_id(name)}{_shape(_SHAPES.get(node.type, _BOX), shown)}")
        if name in inside:
            lines.append(f'{margin}subgraph b_{name}["each item of {_escape(node.name or name)}"]')
            todo.append((depth, None))
            todo.extend((depth + 1, one) for one in reversed(inside[name]))
    return lines


def _id(name: str) -> str:
    # `end`, `graph`, `style` and others are words of Mermaid's own; no word of its begins so.
    return f"n_{name}"


def _shape(shape: tuple[str, str], text: str) -> str:
    return f'{shape[0]}"{text}"{shape[1]}'


def _arrow(link: Link, *, dotted: bool) -> str:
    parts = [link.port, f"when {_plain(link.when)}" if link.when else ""]
    label = _escape(", ".join(part for part in parts if part))
    line = "-.->" if dotted else "-->"
    text = f'|"{label}"|' if label else ""
    return f"{_id(link.source)} {line}{text} {_id(link.target)}"


def _plain(template: str) -> str:
    return template.strip().removeprefix("{{").removesuffix("}}").strip()


def _escape(text: str) -> str:
    """Returns text that Mermaid shows as it is, on one line."""
    shown = " ".join(text.split())
    if len(shown) > _LABEL_CHARS:
        shown = shown[: _LABEL_CHARS - 1] + "…"
    # Mermaid reads #...; as a character by its number, and labels as HTML and Markdown.
    return "".join(c if c.isalnum() or c in " .,_-…" else f"#{ord(c)};" for c in shown)


def _classes(workflow: Workflow, statuses: Mapping[str, str]) -> list[str]:
    used: dict[str, list[str]] = {}
    for name in workflow.nodes:
        status = statuses.get(name, "")
        if status in _COLOURS:
            used.setdefault(status, []).append(_id(name))
    lines = [f"  classDef {status} {_COLOURS[status]}" for status in _COLOURS if status in used]
    lines.extend(
        f"  class {','.join(used[status])} {status}" for status in _COLOURS if status in used
    )
    return lines
