"""How often a Task that walks through a group runs each node: chances and rounds.

A walk is kept as its nodes in order, each with the places that follow it, so that the
least and the most of a figure are those of one way through, not of all nodes together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from joinery.compiler.flow import Flow, Way
from joinery.compiler.plan import Plan


@dataclass(frozen=True, slots=True)
class Step:
    """One node of a walk.

    Attributes:
        node: Its id.
        ways: The positions that may follow, with their chances; past the end is out.
        rounds: `max_rounds` of each loop around it that the walk runs whole.
    """

    node: str
    ways: tuple[tuple[int, float], ...]
    rounds: tuple[int, ...] = ()


Walk = tuple[Step, ...]


def walk_of(plan: Plan, flow: Flow, group: Sequence[str]) -> Walk:
    """Returns the walk of a group that is entered at its first node."""
    place = {name: position for position, name in enumerate(group)}
    depth = len(plan.task_scope(group[0]))
    return tuple(
        Step(
            name,
            tuple(
                (place.get(way[0], len(group)) if way else len(group), share)
                for way, share in shares(flow.ways[name])
            ),
            tuple(plan.loop_of[loop].max_rounds for loop in plan.by_id[name].scope[depth:]),
        )
        for name in group
    )


def shares(ways: Sequence[Way]) -> Iterator[tuple[Way, float]]:
    """Yields the ways of a node with their chances, as the Choice behind it would have them."""
    if not ways:
        return
    *others, default = ways
    onward = [way for way in others if way != default] + [default]
    for way in onward:
        yield way, 1.0 / len(onward)


def measure_walk(
    walk: Walk, weigh: Callable[[str], float], expected_rounds: Callable[[int], float]
) -> tuple[float, float, float]:
    """Sums a weight of nodes over a walk.

    Args:
        walk: The walk.
        weigh: What running a node once adds, by its id.
        expected_rounds: Rounds that a loop is expected to take, by its most.

    Returns:
        Least, expected and most.
    """
    size = len(walk)
    least, most = [0.0] * (size + 1), [0.0] * (size + 1)
    for position in reversed(range(size)):
        step = walk[position]
        own = weigh(step.node)
        after = [target for target, _ in step.ways] or [size]
        least[position] = own + min(least[target] for target in after)
        most[position] = own * math.prod(step.rounds) + max(most[target] for target in after)
    chance = [1.0] + [0.0] * size
    expected = 0.0
    for position, step in enumerate(walk):
        own = weigh(step.node) * math.prod(expected_rounds(most_) for most_ in step.rounds)
        expected += chance[position] * own
        for target, share in step.ways:
            chance[target] += chance[position] * share
    return least[0], expected, most[0]
