"""Where the machine goes from each node, at the level of one Task a node.

The compiler fuses and measures on this: a way is what a port leads to, reduced as
the emitter reduces it (an edge that passes by is none), so a fork is a way with
several targets and everything else has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from joinery.compiler.plan import Plan, PlanNode
from joinery.compiler.regions import Regions, branch_nodes
from joinery.workflow.bodies import ITEM
from joinery.workflow.graph import END, START

Way = tuple[str, ...]
"""The nodes that run next, side by side; mostly one."""


@dataclass(slots=True)
class Flow:
    """The ways of a plan.

    Attributes:
        ways: By node, one way a port; `repeat` of a loop is left out.
        entered_from: By node, the nodes that lead to it and to nothing beside it.
        heads: Nodes that something else leads to as well: `start`, or a box of branches.
    """

    ways: dict[str, list[Way]] = field(default_factory=dict)
    entered_from: dict[str, set[str]] = field(default_factory=dict)
    heads: set[str] = field(default_factory=set)

    def add(self, source: str, way: Way) -> None:
        """Notes where a way leads to."""
        if len(way) == 1 and source != START:
            self.entered_from.setdefault(way[0], set()).add(source)
        else:
            self.heads.update(way)


def flow_of(plan: Plan) -> Flow:
    """Returns the ways of a plan."""
    regions = Regions(plan)
    flow = Flow()
    first = regions.forked([link.target for link in plan.outgoing[START][""]], ())
    flow.add(START, first)
    for node in plan.nodes:
        flow.ways[node.id] = []
        if node.id == END:
            continue
        for port in deciding_ports(plan, node):
            way = regions.forked(regions.port_targets(node.id, port), ())
            if way == (END,) and node.iterates:
                way = ()  # where an item ends
            flow.ways[node.id].append(way)
            flow.add(node.id, way)
    for loop in plan.loops:
        if len(loop.entries) > 1:
            flow.heads.update(loop.entries)
    bodies = [regions.forked(each.entries, ()) for each in plan.iterates]
    for body in bodies:
        flow.heads.update(body)
    _add_joins(plan, regions, flow, [first, *bodies])
    return flow


def _add_joins(plan: Plan, regions: Regions, flow: Flow, first: Sequence[Way]) -> None:
    """Follows the ways as the emitter does and notes each place where a box of it ends."""
    todo = list(first)
    seen: set[Way] = set()
    while todo:
        way = todo.pop()
        if not way or way in seen:
            continue
        seen.add(way)
        if len(way) == 1:
            todo.extend(flow.ways[way[0]])
            continue
        join = regions.join_of(way)
        flow.heads.update((*way, join))
        todo.append((join,))
        branches = regions.branches(way, join)
        if branches is not None:
            todo.extend(regions.forked(branch.entries, (join,)) for branch in branches)
            continue
        # It runs in levels, where only whole loops have states of their own inside.
        inside = {node for target in way for node in branch_nodes(regions, target, join)}
        loops = [plan.loop_of[name] for name in sorted(inside & plan.loop_of.keys())]
        todo.extend(regions.forked(loop.entries, ()) for loop in loops)


def deciding_ports(plan: Plan, node: PlanNode) -> tuple[str, ...]:
    """Returns the ports by which a node goes on: a loop's way back is none."""
    if node.id in plan.iterate_of:
        return tuple(port for port in node.ports if port != ITEM)
    if node.id not in plan.loop_of:
        return node.ports
    return tuple(port for port in node.ports if port != "repeat")


def ancestors_of(plan: Plan) -> dict[str, int]:
    """Returns, for each node, the ordinals of all nodes before it, as the bits of a number."""
    found: dict[str, int] = {START: 0}
    bit = {START: 0, **{node.id: 1 << node.ord for node in plan.nodes}}
    for node in plan.nodes:
        before = 0
        for link in node.incoming:
            before |= found[link.source] | bit[link.source]
        found[node.id] = before
    return found
