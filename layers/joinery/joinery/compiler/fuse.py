"""Level 2: which nodes share one invocation, that walks through them.

A group is a part of the graph that is entered at one node and left at one place, in
which never more than one node runs at a time: chains, switches with their branches up
to where these meet, and whole loops. A fork is in no group, so nothing that could run
side by side runs in a row.

A group ends where its expected time would pass a budget, where an invocation might not
hold its next node, and before a second node with effects outside: what such a node does
may come twice after a crash, and then nothing else should.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from joinery import limits
from joinery.compiler.chances import rounds_of
from joinery.compiler.flow import Way, ancestors_of, flow_of
from joinery.compiler.plan import WAITING_TYPES, Plan, PlanNode
from joinery.compiler.times import has_effects, need_of, seconds_of
from joinery.workflow.graph import START

LAST_TYPES = frozenset({"iterate"})
"""Nodes behind which the machine itself goes on, with a Map."""

STRETCH = 200
"""A group that could end nowhere for so many parts is not followed further."""


def fuse(plan: Plan) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Returns the groups of level 2.

    Returns:
        The nodes of each group in the order in which they are walked, by the first of
        them; and the loops that are run with all their rounds inside one group.
    """
    return _Fuser(plan).groups()


@dataclass(slots=True)
class _Unit:
    """What is fused as one: a node, or a whole loop.

    Attributes:
        entry: The node at which it is entered.
        nodes: Its nodes in the order in which they are walked.
        ways: How it is left: the node that leads out, and where to.
        seconds: Its expected time: the longest branch, times expected rounds.
        need: The most that one of its nodes may take.
        effects: How many of its nodes have effects outside.
        is_loop: Whether it is a loop.
    """

    entry: str
    nodes: tuple[str, ...]
    ways: list[tuple[str, Way]]
    seconds: float
    need: float
    effects: int = 0
    is_loop: bool = False


@dataclass(slots=True)
class _Exits:
    """How a growing group is left: whether it could end as it is."""

    ways: dict[Way, set[str]] = field(default_factory=dict)
    sources: Counter[str] = field(default_factory=Counter)

    def add(self, unit: _Unit) -> None:
        for source in self.ways.pop((unit.entry,), ()):
            self.sources[source] -= 1
            if not self.sources[source]:
                del self.sources[source]
        for source, way in unit.ways:
            if source not in self.ways.setdefault(way, set()):
                self.ways[way].add(source)
                self.sources[source] += 1

    def may_end(self, last: str) -> bool:
        """Whether all ways lead to one place, or all leave from the last node walked."""
        return len(self.ways) <= 1 or (len(self.sources) == 1 and last in self.sources)


class _Fuser:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.flow = flow_of(plan)
        self.before = ancestors_of(plan)
        self.found: dict[str, tuple[str, ...]] = {}
        self.whole: list[str] = []

    def groups(self) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
        inside: dict[tuple[str, ...], dict[str, _Unit]] = {}
        for node in self.plan.nodes:
            for depth in range(len(node.scope) + 1):
                inside.setdefault(node.scope[:depth], {})
            if node.type not in WAITING_TYPES:
                inside[node.scope][node.id] = self._unit(node)
        for scope in sorted(inside, key=len, reverse=True):
            units = inside[scope]
            loop = self._loop(scope[-1], units) if scope else None
            if loop is None:
                self._partition(units)
            else:
                self.whole.append(scope[-1])
                inside[scope[:-1]][loop.entry] = loop
        order = {node.id: node.ord for node in self.plan.nodes}
        heads = sorted(self.found, key=order.__getitem__)
        whole = sorted(self.whole, key=order.__getitem__)
        return {head: self.found[head] for head in heads}, tuple(whole)

    def _unit(self, node: PlanNode) -> _Unit:
        ways = [(node.id, way) for way in self.flow.ways[node.id]]
        seconds, need = seconds_of(node), need_of(node)
        return _Unit(node.id, (node.id,), ways, seconds, need, int(has_effects(node)))

    def _loop(self, name: str, units: Mapping[str, _Unit]) -> _Unit | None:
        """Returns a loop as one unit, if one invocation may run all its rounds."""
        loop = self.plan.loop_of.get(name)
        if loop is None or len(loop.entries) != 1 or loop.entries[0] not in units:
            return None
        growth = _Growth(self, units[loop.entries[0]], units)
        growth.run()
        body = set(loop.body)
        if growth.inside != body or growth.closed or growth.effects:
            return None
        seconds = growth.longest * rounds_of(self.plan, loop).expected
        need = max(unit.need for unit in growth.taken)
        if seconds > limits.FUSE_BUDGET_S or seconds + need > limits.INVOCATION_S:
            return None
        nodes = tuple(node for unit in growth.taken for node in unit.nodes)
        ways = [
            (n, way)
            for n in nodes
            for way in self.flow.ways[n]
            if not way or not body.issuperset(way)
        ]
        return _Unit(loop.entries[0], nodes, ways, seconds, need, is_loop=True)

    def _partition(self, units: Mapping[str, _Unit]) -> None:
        grouped: set[str] = set()
        for unit in sorted(units.values(), key=lambda u: self.plan.by_id[u.entry].ord):
            if unit.entry in grouped:
                continue
            growth = _Growth(self, unit, units)
            growth.run()
            group = growth.taken[: growth.best]
            grouped.update(member.entry for member in group)
            nodes = tuple(node for member in group for node in member.nodes)
            if len(nodes) > 1:
                self.found[unit.entry] = nodes


class _Growth:
    """A group that grows from its first part, along the ways that only it leads to."""

    def __init__(self, fuser: _Fuser, first: _Unit, units: Mapping[str, _Unit]) -> None:
        self.plan, self.flow = fuser.plan, fuser.flow
        self.before, self.units = fuser.before, units
        self.first = self.plan.by_id[first.entry]
        self.taken: list[_Unit] = []
        self.inside: set[str] = set()
        self.finish: dict[str, float] = {}
        self.effects, self.longest, self.best = 0, 0.0, 0
        self.closed = False
        self.exits = _Exits()
        self.offered: list[tuple[int, str]] = []
        self._take(first, 0.0)

    def run(self) -> None:
        while self.offered and not self.closed and len(self.taken) - self.best < STRETCH:
            _, name = heapq.heappop(self.offered)
            unit = self.units[name]
            if name not in self.inside and self._may_follow(unit) and self._fits(unit):
                self._take(unit, self._start(unit))

    def _take(self, unit: _Unit, start: float) -> None:
        self.taken.append(unit)
        self.inside.update(unit.nodes)
        self.finish.update(dict.fromkeys(unit.nodes, start + unit.seconds))
        self.longest = max(self.longest, start + unit.seconds)
        self.effects += unit.effects
        self.closed = self.plan.by_id[unit.nodes[-1]].type in LAST_TYPES
        self.exits.add(unit)
        if self.exits.may_end(unit.nodes[-1]):
            self.best = len(self.taken)
        for _, way in unit.ways:
            if len(way) == 1 and way[0] in self.units:
                heapq.heappush(self.offered, (self.plan.by_id[way[0]].ord, way[0]))

    def _may_follow(self, unit: _Unit) -> bool:
        """Whether the machine comes to a part from inside the group alone, all it needs ended."""
        node = self.plan.by_id[unit.entry]
        if node.id in self.flow.heads or not self.flow.entered_from[node.id] <= self.inside:
            return False
        # A join that some of its parents suffice for is decided outside of all walks.
        if getattr(node, "join", 0) or _contained(node) != _contained(self.first):
            return False
        return self._have_ended(link.source for link in node.incoming)

    def _have_ended(self, sources: Iterable[str]) -> bool:
        before = self.before[self.first.id]
        for source in sources:
            if source in self.inside or source == START:
                continue
            if not before >> self.plan.by_id[source].ord & 1:
                return False
        return True

    def _fits(self, unit: _Unit) -> bool:
        start = self._start(unit)
        end = start + unit.seconds
        latest = end if unit.is_loop else start
        in_time = end <= limits.FUSE_BUDGET_S and latest + unit.need <= limits.INVOCATION_S
        return in_time and self.effects + unit.effects <= 1

    def _start(self, unit: _Unit) -> float:
        return max(self.finish[source] for source in self.flow.entered_from[unit.entry])


def _contained(node: PlanNode) -> str:
    return str(getattr(node, "contained", ""))
