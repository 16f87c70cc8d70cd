"""Which function runs which node type."""

from __future__ import annotations

from joinery.errors import PermanentInternal
from joinery.nodes.base import Execute


def executor(node_type: str) -> Execute:
    """Returns the function that runs a node type, importing only what it needs.

    Raises:
        PermanentInternal: A plan names a type that this code does not know.
    """
    if node_type in {"agent", "llm"}:
        from joinery.nodes.model import ask

        return ask
    if node_type in {"code", "tool"}:
        from joinery.nodes.code import call

        return call
    from joinery.nodes import logic

    found: dict[str, Execute] = {
        "template": logic.template,
        "transform": logic.transform,
        "condition": logic.condition,
        "switch": logic.switch,
        "loop": logic.loop,
        "iterate": logic.iterate,
    }
    if node_type not in found:
        raise PermanentInternal(f"no code runs nodes of type '{node_type}'")
    return found[node_type]
