"""Races of a plan: which joins decide over a node, and which edges a node's end decides.

Works on plans, paths and states alone; `quorum.py` does what follows from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from joinery.compiler.plan import Plan, PlanNode, joins_around
from joinery.runs.dead_paths import Find, is_taken
from joinery.runs.joins import JoinState, advance
from joinery.runs.model import Address, NodeKey, NodeRecord, path_of
from joinery.workflow.graph import START, Link
from joinery.workflow.races import entered_depth

Ended = tuple[PlanNode, str, NodeRecord | None]
"""A node that has ended at a path; without a record it was skipped."""

Vote = tuple[PlanNode, int, Link]
"""An edge into a join, with the join and the edge's place among those into it."""


class Races:
    """What a plan's quorum joins need at run time.

    Attributes:
        joins: The joins, in topological order.
        around: The joins that decide over a node, innermost first.
        region: The nodes that a join decides over.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.joins = [node for node in plan.nodes if node.join]
        entries = {loop.loop: loop.entries for loop in plan.loops}
        scopes = {node.id: node.scope for node in plan.nodes}
        self._depth = {
            join.id: entered_depth(
                join.id, scopes, entries, [link.source for link in join.incoming]
            )
            for join in self.joins
        }
        self.around = self._around()
        self.region: dict[str, list[PlanNode]] = {join.id: [] for join in self.joins}
        for node in plan.nodes:
            for join in self.around.get(node.id, ()):
                self.region[join.id].append(node)
        self._votes = self._edges_by_decider()

    def _around(self) -> dict[str, tuple[PlanNode, ...]]:
        found = {n.id: tuple(joins_around(self.plan, n)) for n in self.plan.nodes if self.joins}
        return {name: joins for name, joins in found.items() if joins}

    def _edges_by_decider(self) -> dict[str, list[Vote]]:
        """Returns the edges into joins by the node whose end decides them.

        That is the node they leave, or, where they leave a loop, the loop's node.
        """
        found: dict[str, list[Vote]] = {}
        for join in self.joins:
            depth = self._depth[join.id]
            for place, link in enumerate(join.incoming):
                if link.source == START:
                    continue
                scope = self.plan.by_id[link.source].scope
                decider = scope[depth] if len(scope) > depth else link.source
                found.setdefault(decider, []).append((join, place, link))
        return found

    def depth(self, join: PlanNode) -> int:
        """Returns how many loops are around a join and its region."""
        return self._depth[join.id]

    def key(self, join: PlanNode, path: str) -> NodeKey:
        """Returns where the state of a join is, seen from a node at `path` before it, or itself.

        A join that begins a loop is decided once, before the first round.
        """
        depth = self._depth[join.id]
        outer: tuple[str, ...] = tuple(path.split(".")[:depth]) if depth else ()
        return NodeKey(join.ord, path_of((*outer, *["1"] * (len(join.scope) - depth))))

    def first(self, join: PlanNode, key: NodeKey) -> JoinState:
        """Returns the state of a join of which nothing is stored: `start` takes all its edges."""
        begun = [place for place, link in enumerate(join.incoming) if link.source == START]
        return advance(JoinState(key), join.join, len(join.incoming), taken=begun)

    def state(self, join: PlanNode, key: NodeKey, stored: Mapping[NodeKey, JoinState]) -> JoinState:
        """Returns the state of a join."""
        return stored.get(key) or self.first(join, key)

    def decided(
        self, ended: Iterable[Ended], find: Find
    ) -> dict[NodeKey, tuple[PlanNode, list[int], list[int]]]:
        """Returns, for each join, which edges into it are taken and dead now.

        Args:
            ended: What has ended in one transaction.
            find: Reads records of nodes that are not part of it.
        """
        everything = list(ended)
        here = {(node.id, path): record for node, path, record in everything}
        found: dict[NodeKey, tuple[PlanNode, list[int], list[int]]] = {}
        for node, path, record in everything:
            if node.id in self.plan.loop_of and record is not None and record.port == "repeat":
                continue
            for join, place, link in self._votes.get(node.id, ()):
                source = record
                if link.source != node.id:
                    source = self._last(link, path, self._depth[join.id] + 1, here, find)
                key = self.key(join, path)
                _, taken, dead = found.setdefault(key, (join, [], []))
                went = source is not None and is_taken(link, source)
                (taken if went else dead).append(place)
        return found

    def _last(
        self,
        link: Link,
        path: str,
        depth: int,
        here: Mapping[tuple[str, str], NodeRecord | None],
        find: Find,
    ) -> NodeRecord | None:
        """Returns a node's record of the round, now ending, of the loop that its edge leaves."""
        source = self.plan.by_id[link.source]
        outer = tuple(path.split(".")[:depth])
        for (node_id, at), record in here.items():
            if node_id == source.id and tuple(at.split(".")[:depth]) == outer:
                return record
        return find(Address(NodeKey(source.ord, path_of(outer)), last=len(source.scope) > depth))


def races_of(plan: Plan) -> Races:
    """Returns the races of a plan, computed once."""
    held: Races | None = plan.__dict__.get("_races")
    if held is None:
        held = plan.__dict__["_races"] = Races(plan)
    return held


def current_paths(
    nodes: Sequence[PlanNode], outer: str, depth: int, last: Callable[[PlanNode], NodeRecord | None]
) -> list[tuple[PlanNode, str]]:
    """Returns the nodes of a region with the path at which each is, or would be next.

    Nodes in loops of the region are where the newest round of their loop is.

    Args:
        nodes: The nodes.
        outer: The path of the region.
        depth: How many loops are around the region.
        last: Returns the record of a node's last round, if there is any.
    """
    newest: dict[tuple[str, tuple[int, ...]], int] = {}
    for node in nodes:
        record = last(node) if len(node.scope) > depth else None
        if record is None:
            continue
        parts = record.key.parts()
        for level in range(depth, len(node.scope)):
            place = (node.scope[level], parts[:level])
            newest[place] = max(newest.get(place, 1), parts[level])
    begin = tuple(int(part) for part in outer.split(".")[:depth]) if depth else ()
    found = []
    for node in nodes:
        at = begin
        for level in range(depth, len(node.scope)):
            at = (*at, newest.get((node.scope[level], at), 1))
        found.append((node, path_of(at)))
    return found
