"""How a Task of level 2 goes through its group: its nodes in order, and what may follow each.

The least and the most of a figure are so those of one way through, not of all nodes
together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from joinery.compiler.chances import repeats
from joinery.compiler.flow import Flow, Way
from joinery.compiler.plan import Plan, PlanNode
from joinery.compiler.ranges import Range


@dataclass(frozen=True, slots=True)
class Step:
    """One node of a walk.

    Attributes:
        node: Its id.
        ways: The positions that may follow; past the end is out.
        loops: The loops around it that the walk runs whole.
        sure: Whether it runs for certain when the walk comes to it; a node behind an
            edge with `when` may be skipped.
    """

    node: str
    ways: tuple[int, ...]
    loops: tuple[str, ...] = ()
    sure: bool = True


Steps = tuple[Step, ...]


def steps_of(plan: Plan, flow: Flow, group: Sequence[str]) -> Steps:
    """Returns the steps of a group that is entered at its first node."""
    place = {name: position for position, name in enumerate(group)}
    depth = len(plan.task_scope(group[0]))

    def position(way: Way) -> int:
        return place.get(way[0], len(group)) if way else len(group)

    return tuple(
        Step(
            name,
            tuple(dict.fromkeys(position(way) for way in flow.ways[name])),
            plan.by_id[name].scope[depth:],
            all(link.when is None for link in plan.by_id[name].incoming),
        )
        for name in group
    )


def measure_steps(plan: Plan, steps: Steps, weigh: Callable[[PlanNode], float]) -> Range:
    """Returns the least and the most that a weight comes to over a walk; expected is left out."""
    size = len(steps)
    least, most = [0.0] * (size + 1), [0.0] * (size + 1)
    for position in reversed(range(size)):
        step = steps[position]
        own = weigh(plan.by_id[step.node])
        rounds = repeats(plan, step.loops)
        after = step.ways or (size,)
        here = own * rounds.min if step.sure else 0.0
        least[position] = here + min(least[target] for target in after)
        most[position] = own * rounds.max + max(most[target] for target in after)
    return Range(least[0], 0.0, most[0])
