"""Races: what a join that does not wait for all parents may stop.

A join `any` or `at_least` decides a race between the nodes of its *region*: what
every way to it and from there leads through nothing else. These are the nodes that
the join's immediate dominator strictly dominates and that the join post-dominates,
on the graph with the loops' back edges cut, inside the same loops as the join.
Whatever they do matters to the join alone, so they may be stopped once it is
decided, and their failures may be left to it.

Regions lie inside each other or apart, never across, so the innermost one around
each node says it all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from joinery.workflow.graph import END, START


@dataclass(frozen=True, slots=True)
class Shape:
    """A graph with its back edges cut.

    Attributes:
        order: All nodes in topological order, `start` first.
        followers: Where the ways out of each node lead; all of them end at `end`.
        scopes: The loops around each node, outermost first.
        entries: Where a round begins, by loop node.
        joins: The nodes that do not wait for all parents.
    """

    order: Sequence[str]
    followers: Mapping[str, Sequence[str]]
    scopes: Mapping[str, tuple[str, ...]]
    entries: Mapping[str, tuple[str, ...]]
    joins: Collection[str]


@dataclass(frozen=True, slots=True)
class Races:
    """What `find_races` found.

    Attributes:
        around: The join of the innermost region around a node, for nodes in regions.
        unsure: By join, its parents that may not have run when it does.
    """

    around: Mapping[str, str]
    unsure: Mapping[str, tuple[str, ...]]


def find_races(shape: Shape) -> Races:
    """Finds the regions of all joins that do not wait for all parents."""
    if not shape.joins:
        return Races({}, {})
    return _Finder(shape).races()


@dataclass(frozen=True, slots=True)
class Body:
    """What runs for each item of an iterate node, as far as its ways go.

    Attributes:
        iterate: The iterate node.
        nodes: All nodes of the body.
        entries: Where an item begins.
        after: Where `done` leads; nothing when it leads nowhere.
    """

    iterate: str
    nodes: Collection[str]
    entries: Sequence[str]
    after: Sequence[str]


def through_bodies(
    followers: Mapping[str, Sequence[str]], bodies: Sequence[Body]
) -> dict[str, list[str]]:
    """Returns the ways of a graph with those through its bodies, outer bodies before inner.

    An iterate node leads into its body, and where an item ends, to what `done` leads to.
    """
    found = {name: list(targets) for name, targets in followers.items()}
    onward: dict[str, list[str]] = {}
    innermost: dict[str, str] = {}
    for body in bodies:
        outer = innermost.get(body.iterate)
        onward[body.iterate] = list(body.after) or (onward[outer] if outer else [END])
        innermost.update(dict.fromkeys(body.nodes, body.iterate))
    for body in bodies:
        found[body.iterate] = list(dict.fromkeys([*body.entries, *found[body.iterate]]))
    for name, iterate in innermost.items():
        ways = [t for way in found[name] for t in (onward[iterate] if way == END else [way])]
        found[name] = list(dict.fromkeys(ways or onward[iterate]))
    return found


def entered_depth(
    join: str,
    scopes: Mapping[str, tuple[str, ...]],
    entries: Mapping[str, tuple[str, ...]],
    parents: Collection[str],
) -> int:
    """Returns how many loops are around a join and its region.

    Loops that begin with the join are not: it is decided before their first round.
    """
    scope = scopes.get(join, ())
    depth = len(scope)
    while depth and join in entries.get(scope[depth - 1], ()):
        loop = scope[depth - 1]
        if any(loop in scopes.get(parent, ()) for parent in parents):
            break
        depth -= 1
    return depth


class _Finder:
    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.rank = {name: place for place, name in enumerate(shape.order)}
        self.parents: dict[str, list[str]] = {name: [] for name in shape.order}
        for source in shape.order:
            for target in shape.followers.get(source, ()):
                self.parents[target].append(source)
        self.dominator = self._tree(shape.order, self.parents, START, latest=False)
        self.post = self._tree(shape.order[::-1], shape.followers, END, latest=True)
        self.entered, self.left = self._intervals()

    def races(self) -> Races:
        depth = {
            join: entered_depth(join, self.shape.scopes, self.shape.entries, self.parents[join])
            for join in self.shape.joins
        }
        above = self._joins_above()
        cut = {join for join in depth if self._cuts_a_loop(join, depth[join])}
        around: dict[str, str] = {}
        for name in self.shape.order:
            join = above.get(name)
            while join is not None:
                if join not in cut and self._is_inside(name, join, depth[join]):
                    around[name] = join
                    break
                join = above.get(join)
        unsure = {
            join: tuple(p for p in dict.fromkeys(self.parents[join]) if not self._leads(p, join))
            for join in self.shape.joins
        }
        return Races(around, unsure)

    def _tree(
        self,
        order: Sequence[str],
        before: Mapping[str, Sequence[str]],
        root: str,
        *,
        latest: bool,
    ) -> dict[str, str]:
        """Returns immediate dominators (Cooper, Harvey, Kennedy 2001), or post-dominators.

        On a graph without cycles one pass in topological order is enough.
        """
        found: dict[str, str] = {root: root}

        def further(a: str, b: str) -> bool:
            return (self.rank[a] < self.rank[b]) if latest else (self.rank[a] > self.rank[b])

        for name in order:
            nearest: str | None = None
            for other in before.get(name, ()):
                if name == root or other not in found:
                    continue
                a, b = other if nearest is None else nearest, other
                while a != b:
                    a, b = (found[a], b) if further(a, b) else (a, found[b])
                nearest = a
            if name != root:
                found[name] = root if nearest is None else nearest
        return found

    def _intervals(self) -> tuple[dict[str, int], dict[str, int]]:
        """Returns when a walk of the dominator tree enters and leaves each node."""
        children: dict[str, list[str]] = {}
        for name in self.shape.order:
            if name != START:
                children.setdefault(self.dominator[name], []).append(name)
        entered, left, clock = {START: 0}, {}, 0
        work = [(START, iter(children.get(START, ())))]
        while work:
            name, rest = work[-1]
            clock += 1
            child = next(rest, None)
            if child is None:
                left[name] = clock
                work.pop()
            else:
                entered[child] = clock
                work.append((child, iter(children.get(child, ()))))
        return entered, left

    def _leads(self, a: str, b: str) -> bool:
        """Whether every way to `b` passes `a`."""
        return self.entered[a] <= self.entered[b] and self.left[b] <= self.left[a]

    def _joins_above(self) -> dict[str, str]:
        """Returns for each node the nearest of the joins that every way from it passes."""
        above: dict[str, str] = {}
        for name in reversed(self.shape.order):
            if name == END:
                continue
            nearest = self.post[name]
            if nearest in self.shape.joins:
                above[name] = nearest
            elif nearest in above:
                above[name] = above[nearest]
        return above

    def _is_inside(self, name: str, join: str, depth: int) -> bool:
        """Whether a node that the join post-dominates is in its region."""
        nearest = self.dominator[join]
        scope = self.shape.scopes.get(join, ())[:depth]
        within = self.shape.scopes.get(name, ())[:depth] == scope
        return within and name != nearest and self._leads(nearest, name)

    def _cuts_a_loop(self, join: str, depth: int) -> bool:
        """Whether the region would hold a loop's node but not where its rounds begin."""
        for loop, entries in self.shape.entries.items():
            if not (self._passes(loop, join) and self._is_inside(loop, join, depth)):
                continue
            if not all(
                self._passes(entry, join) and self._is_inside(entry, join, depth)
                for entry in entries
            ):
                return True
        return False

    def _passes(self, name: str, join: str) -> bool:
        """Whether every way from a node passes the join."""
        while self.rank[name] < self.rank[join]:
            name = self.post[name]
        return name == join
