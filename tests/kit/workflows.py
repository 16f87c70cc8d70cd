"""Workflows for tests, from edges alone."""

from __future__ import annotations

from typing import Any

from joinery.workflow.model import Workflow, parse_edge


def workflow(
    edges: list[str],
    nodes: dict[str, Any] | None = None,
    *,
    more: list[dict[str, str]] | None = None,
    **fields: Any,
) -> Workflow:
    """Returns a workflow; nodes that are not described are templates of their own id.

    `more` are edges written as mappings.
    """
    described = dict(nodes or {})
    for text in edges:
        for edge in parse_edge(text):
            for name in (edge.from_, edge.to):
                if name not in ("start", "end") and name not in described:
                    described[name] = {"type": "template", "template": name}
    data = {
        "version": 1,
        "name": "test",
        "nodes": described,
        "edges": [*edges, *(more or [])],
        **fields,
    }
    return Workflow.model_validate(data)


def condition(name: str) -> dict[str, Any]:
    return {"type": "condition", "if": "{{ inputs." + name + " }}"}


def loop(rounds: int, most: int = 5) -> dict[str, Any]:
    return {"type": "loop", "until": "{{ loop.round >= " + str(rounds) + " }}", "max_rounds": most}
