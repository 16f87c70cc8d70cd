"""Which nodes nothing can be said about, since edges of theirs are wrong."""

from __future__ import annotations

from joinery.workflow.checks.edges import RawGraph
from joinery.workflow.checks.flow import neighbours, reachable
from joinery.workflow.graph import START, Structure


def unsure(graph: RawGraph, structure: Structure) -> tuple[set[str], set[str], set[str]]:
    """Returns the nodes about whose order nothing can be said, since edges are wrong.

    Returns:
        Those that may wait for more than is known (behind an edge from a node that
        does not exist, not reached), those that may lead further than is known, and
        those on a cycle that is no loop: which of two of them is first, nobody knows.
    """
    if graph.incomplete:
        return {*graph.names}, {*graph.names}, set()
    onward = neighbours(graph.links)
    circling = {
        name
        for problem in structure.problems
        if problem.kind != "no_exit"
        for name in problem.nodes
    }
    unreached = {*graph.nodes} - reachable({START}, onward)
    waiting = reachable(graph.loose_targets, onward) | unreached
    return waiting, graph.loose_sources | unreached, circling
