"""What joins that do not wait for all their parents need, and what they may stop."""

from __future__ import annotations

from joinery.workflow.bodies import DONE
from joinery.workflow.checks.edges import RawGraph, RawNode
from joinery.workflow.checks.flow import neighbours, reachable
from joinery.workflow.graph import END, START, Structure
from joinery.workflow.races import Body, Races, Shape, find_races, through_bodies


def needed(node: RawNode) -> int:
    """Returns how many edges a node waits for; 0 is all of them."""
    join = node.data.get("join", "all")
    if join == "any":
        return 1
    least = join.get("at_least") if isinstance(join, dict) else 0
    return least if isinstance(least, int) and not isinstance(least, bool) else 0


def edges_into(graph: RawGraph, structure: Structure) -> dict[str, int]:
    """Returns how many edges enter each node; those back do not count in joins."""
    found: dict[str, int] = {}
    for link in graph.links:
        if link not in structure.back_edges:
            found[link.target] = found.get(link.target, 0) + 1
    return found


def races(graph: RawGraph, structure: Structure) -> Races:
    """Returns what the joins of a graph may stop; nothing as long as its cycles are wrong."""
    reached = reachable({START}, neighbours(graph.links))
    joins = {name for name, node in graph.nodes.items() if needed(node) and name in reached}
    if not joins or structure.problems or graph.incomplete:
        return Races({}, {})
    leads: dict[str, dict[str, list[str]]] = {
        name: {port: [] for port in (node.ports or ("",))}
        for name, node in graph.nodes.items()
        if name in reached
    }
    leads[START] = {"": []}
    for link in graph.links:
        if link not in structure.back_edges and link.source in reached:
            leads[link.source].setdefault(link.port, []).append(link.target)
    loops = {region.loop: region.entries for region in structure.loops}
    followers = {}
    for name, ports in leads.items():
        # A port that leads nowhere leads past everything else: to the end.
        targets = [
            target
            for port, found in ports.items()
            for target in (found or ([] if name in loops and port == "repeat" else [END]))
        ]
        followers[name] = list(dict.fromkeys(targets or [END]))
    inner = [name for name in structure.order if name in reached - {START, END}]
    bodies = [
        Body(region.iterate, region.body, region.entries, leads[region.iterate].get(DONE, []))
        for region in structure.iterates
        if region.iterate in leads
    ]
    ways = through_bodies(followers, bodies)
    return find_races(Shape([START, *inner, END], ways, structure.scope_of(), loops, joins))
