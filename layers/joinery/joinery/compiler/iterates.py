"""What a plan says of iterate nodes: their bodies, and what the nodes in them read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from joinery import limits
from joinery.compiler.plan import PlanIterate, PlanNode
from joinery.errors import InvalidWorkflow, Problem
from joinery.workflow.graph import Structure

if TYPE_CHECKING:
    from joinery.workflow import model as m

ITEM_READ = ".item"
"""Stands among the ids of nodes that are read for the iterate node whose item it is."""


def iterates_of(workflow: m.Workflow, structure: Structure) -> tuple[PlanIterate, ...]:
    """Returns the iterate nodes of a workflow, outer before inner.

    Raises:
        InvalidWorkflow: They are nested too deeply.
    """
    scopes = structure.scope_of()
    found: list[PlanIterate] = []
    for region in structure.iterates:
        around = sum(workflow.nodes[n].type == "iterate" for n in scopes[region.iterate])
        if around >= limits.ITERATE_DEPTH_MAX:
            raise _too_deep(region.iterate)
        node: Any = workflow.nodes[region.iterate]
        found.append(
            PlanIterate(
                region.iterate,
                region.body,
                region.entries,
                region.parent,
                node.max_items,
                node.concurrency,
                node.expected_items,
            )
        )
    return tuple(found)


def _too_deep(node_id: str) -> InvalidWorkflow:
    message = f"more than {limits.ITERATE_DEPTH_MAX} iterate nodes in each other"
    pointer = f"/nodes/{node_id}"
    problem = Problem("limit.iterate_depth", message, node_id=node_id, pointer=pointer)
    return InvalidWorkflow([problem])


def with_bodies(nodes: Iterable[PlanNode], workflow: m.Workflow) -> tuple[PlanNode, ...]:
    """Returns the nodes with what they have from the iterate nodes around them.

    Which of their scopes are items, the iterate node whose item they read as `item`, and
    the one that contains their failure: the nearest that goes on when an item fails.
    """
    return tuple(_with_body(node, workflow) for node in nodes)


def _with_body(node: PlanNode, workflow: m.Workflow) -> PlanNode:
    around = tuple(name for name in node.scope if workflow.nodes[name].type == "iterate")
    if not around:
        return node
    reads = tuple(sorted({around[-1] if name == ITEM_READ else name for name in node.reads}))
    contained = node.contained
    for name in reversed(around):
        container: Any = workflow.nodes[name]
        if not contained and container.on_item_error == "continue":
            contained = name
    return replace(node, iterates=around, reads=reads, contained=contained)
