"""Which module makes the tools of a kind; imported when a node has one of them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from joinery.errors import PermanentInternal

if TYPE_CHECKING:
    from joinery.nodes.base import NodeContext
    from joinery.tools.base import Opener, Tool

KINDS: Final[dict[str, str]] = {
    "python": "joinery.tools.python",
    "openapi": "joinery.tools.openapi",
    "mcp": "joinery.tools.mcp",
    "search": "joinery.tools.search",
    "workflow": "joinery.tools.workflow",
}
"""By kind, the module whose `open_tools` is its `Opener`."""


def opener(kind: str) -> Opener:
    """Returns what makes the tools of a kind.

    Raises:
        PermanentInternal: A plan names a kind that this code does not know.
    """
    if kind not in KINDS:
        raise PermanentInternal(f"no code makes tools of the kind '{kind}'")
    found: Opener = importlib.import_module(KINDS[kind]).open_tools
    return found


def open_tools(entries: Mapping[str, Mapping[str, Any]], context: NodeContext) -> dict[str, Tool]:
    """Returns the tools of an agent by the names that the model calls them by, in order.

    Args:
        entries: What the plan holds of them, by their name in the workflow.
        context: The attempt that they are made for.

    Raises:
        NodeError: One of them cannot be made.
    """
    made: dict[str, Tool] = {}
    for name, entry in entries.items():
        for tool in opener(str(entry.get("kind", "python")))(name, entry, context):
            if tool.spec.name in made:
                raise PermanentInternal(f"two tools of the agent are called '{tool.spec.name}'")
            made[tool.spec.name] = tool
    return made
