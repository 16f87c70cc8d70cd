"""Rigid regions, such as an N shape: neither a sequence nor a fork with one join.

They run in levels: what is in a level runs side by side, and all of it has ended
before the next begins. No Choice is needed inside: a Task whose node was skipped
by the one that decided finds that recorded, and is done.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from joinery.compiler.plan import Plan


@dataclass(slots=True)
class Unit:
    """What is emitted as one: a Task, or a whole loop.

    Attributes:
        name: First node of the Task, or the loop node.
        is_loop: Whether it is a loop with all its body.
        nodes: All nodes in it.
        after: Names of the units that must have ended before.
    """

    name: str
    is_loop: bool
    nodes: list[str] = field(default_factory=list)
    after: set[str] = field(default_factory=set)


Chain = list[Unit]
"""Units that run one after another, each needing nothing but the one before it."""


def units_of(plan: Plan, nodes: Collection[str], depth: int) -> dict[str, Unit]:
    """Returns the units of a region, in topological order.

    Args:
        plan: The plan.
        nodes: The nodes of the region.
        depth: How many loops are around the whole region.
    """
    head_of = {member: head for head, members in plan.groups.items() for member in members}
    inside = set(nodes)
    unit_of: dict[str, str] = {}
    units: dict[str, Unit] = {}
    for node in plan.nodes:
        if node.id not in inside:
            continue
        is_loop = len(plan.task_scope(node.id)) > depth
        name = node.scope[depth] if is_loop else head_of.get(node.id, node.id)
        unit_of[node.id] = name
        units.setdefault(name, Unit(name, is_loop)).nodes.append(node.id)
    for name, unit in units.items():
        for member in unit.nodes:
            sources = (link.source for link in plan.by_id[member].incoming)
            unit.after.update(unit_of[source] for source in sources if source in unit_of)
        unit.after.discard(name)
    return units


def levels_of(units: dict[str, Unit]) -> list[list[Chain]]:
    """Returns the levels of a region: in each, the chains that run side by side.

    A chain costs no barrier, so units that only wait for each other are joined
    into chains first; what is left needs as many levels as its longest way has.
    """
    needed_by: dict[str, list[str]] = {name: [] for name in units}
    for name, unit in units.items():
        for before in unit.after:
            needed_by[before].append(name)
    chain_of: dict[str, Chain] = {}
    chains: list[Chain] = []
    for name, unit in units.items():
        if _joins(unit, units, needed_by):
            chain_of[name] = chain_of[next(iter(unit.after))]
            chain_of[name].append(unit)
        else:
            chain_of[name] = [unit]
            chains.append(chain_of[name])
    level: dict[int, int] = {}
    for chain in chains:
        befores = (level[id(chain_of[name])] for name in chain[0].after)
        level[id(chain)] = 1 + max(befores, default=-1)
    levels: list[list[Chain]] = [[] for _ in range(max(level.values()) + 1)]
    for chain in chains:
        levels[level[id(chain)]].append(chain)
    return levels


def _joins(unit: Unit, units: dict[str, Unit], needed_by: dict[str, list[str]]) -> bool:
    """Whether a unit waits for one other alone, which nothing else waits for."""
    if unit.is_loop or len(unit.after) != 1:
        return False
    (before,) = unit.after
    return len(needed_by[before]) == 1 and not units[before].is_loop
