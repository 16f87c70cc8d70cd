"""Checks that the bodies of iterate nodes are closed: entered by `item`, left by no edge."""

from __future__ import annotations

from collections.abc import Mapping

from joinery import limits
from joinery.workflow.bodies import ITEM
from joinery.workflow.checks.edges import RawEdge, RawGraph
from joinery.workflow.graph import END, START, IterateRegion, Link, Structure
from joinery.workflow.report import Collector


def check_bodies(graph: RawGraph, structure: Structure, out: Collector) -> None:
    """Reports edges out of bodies, and items that begin where something else leads to."""
    _check_depth(graph, structure, out)
    regions = {region.iterate: region for region in structure.iterates}
    bodies = {name: frozenset(region.body) for name, region in regions.items()}
    around = innermost(structure)
    for edge in graph.edges:
        link = edge.link
        inside = around.get(link.source)
        if link.source in regions and link.port == ITEM:
            if link.target not in bodies[link.source]:
                _begins_outside(edge, bodies[link.source], graph, out)
        elif inside is not None and link.target not in bodies[inside]:
            _leads_out(edge, inside, bodies[inside], graph, out)


def _check_depth(graph: RawGraph, structure: Structure, out: Collector) -> None:
    """Reports the first iterate node that is nested too deeply."""
    depth: dict[str, int] = {}
    for region in _outer_first(structure):
        own = depth[region.iterate] = depth.get(region.iterate, 0) + 1
        depth.update(dict.fromkeys(region.body, own))
        if own > limits.ITERATE_DEPTH_MAX:
            out.add(
                "limit.iterate_depth",
                f"'{region.iterate}' is iterate node number {own} in each other; "
                f"the limit is {limits.ITERATE_DEPTH_MAX}",
                graph.nodes[region.iterate].pointer,
                hint="make one list of the items first",
                key=True,
            )
            return


def innermost(structure: Structure) -> dict[str, str]:
    """Returns the innermost iterate node around each node that is in a body."""
    around: dict[str, str] = {}
    for region in _outer_first(structure):
        around.update(dict.fromkeys(region.body, region.iterate))
    return around


def _outer_first(structure: Structure) -> list[IterateRegion]:
    return sorted(structure.iterates, key=lambda region: -len(region.body))


def _begins_outside(edge: RawEdge, body: frozenset[str], graph: RawGraph, out: Collector) -> None:
    """Reports an item that begins at a node that is in no body."""
    link = edge.link
    hint = f"lead '{link.source}.item' to a node of its own"
    if link.target in (END, link.source):
        what = f"'{link.target}' cannot run for each item"
    else:
        other = _other_way(graph, link, body)
        what = f"'{link.target}' also runs without an item, by '{other}'"
        hint += f", or remove '{other}'"
    out.add("graph.body_entered", f"'{link.source}.item' leads to '{link.target}': {what}",
            edge.pointer, hint=hint, node_id=link.source)  # fmt: skip


def _leads_out(
    edge: RawEdge, each: str, body: frozenset[str], graph: RawGraph, out: Collector
) -> None:
    """Reports an edge that leads out of a body."""
    link = edge.link
    why = "comes after all items"
    if link.target == each:
        why = "is what the items come from"
    elif link.target != END:
        why = f"also runs without an item, by '{_other_way(graph, link, body)}'"
    out.add(
        "graph.body_left",
        f"'{_shown(link)}' leads out of the body of '{each}': '{link.target}' {why}",
        edge.pointer,
        hint=f"leave the edge out: an item ends where no edge leads on, and '{each}.done' "
        "leads to what follows",
        node_id=link.source,
    )


def _other_way(graph: RawGraph, link: Link, body: frozenset[str]) -> str:
    """Returns an edge that enters a node from outside a body."""
    for other in graph.links:
        if other.target == link.target and other != link and other.source not in body:
            return _shown(other)
    return f"{START} -> {link.target}"


def _shown(link: Link) -> str:
    return f"{link.source}{'.' if link.port else ''}{link.port} -> {link.target}"


def may_end(bodies: Mapping[str, str], kind: str | None, name: str, port: str) -> bool:
    """Whether a port may lead nowhere without a word: in a body, an item ends there."""
    return name in bodies and (kind, port) not in (("loop", "repeat"), ("iterate", ITEM))
