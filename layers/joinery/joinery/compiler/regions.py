"""Regions of a plan's graph: where forks join, and what each branch holds."""

from __future__ import annotations

from collections.abc import Collection, Container, Sequence
from dataclasses import dataclass

from joinery.compiler.plan import Plan
from joinery.workflow.bodies import ITEM
from joinery.workflow.graph import END, START


@dataclass(frozen=True, slots=True)
class Branch:
    """A part of a fork that shares nothing with the others: what it begins with, and its nodes."""

    entries: list[str]
    nodes: set[str]


class LeavesLoop(Exception):
    """Branches of a fork leave a loop, each for itself; `loop` is its loop node."""

    def __init__(self, loop: str) -> None:
        super().__init__(loop)
        self.loop = loop


class Outside:
    """All nodes but some, without a list of them."""

    def __init__(self, inside: Collection[str]) -> None:
        self._inside = frozenset(inside)

    def __contains__(self, name: object) -> bool:
        return name not in self._inside


class Regions:
    """Answers questions about the plan's graph, back edges cut."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.rank = {START: -1, **{node.id: node.ord for node in plan.nodes}}
        self.followers: dict[str, list[str]] = {}
        for source, ports in plan.outgoing.items():
            targets: list[str] = []
            for port, links in ports.items():
                if port == ITEM and source in plan.iterate_of:
                    continue  # its body is a graph of its own, which ends where no edge leads on
                # A port that leads nowhere leads past everything else: to the end.
                targets.extend(link.target for link in links)
                back = source in plan.loop_of and port == "repeat"
                if not links and source not in (START, END) and not back:
                    targets.append(END)
            self.followers[source] = list(dict.fromkeys(targets))
        self.parent = self._post_dominators()

    def _post_dominators(self) -> dict[str, str]:
        """Returns each node's immediate post-dominator (Cooper, Harvey, Kennedy 2001).

        On a graph without cycles one pass in reverse topological order is enough.
        """
        parent: dict[str, str] = {END: END}
        for node in sorted(self.followers, key=self.rank.__getitem__, reverse=True):
            if node == END:
                continue
            nearest: str | None = None
            for follower in self.followers[node]:
                nearest = follower if nearest is None else self._meet(parent, nearest, follower)
            parent[node] = nearest or END
        return parent

    def _meet(self, parent: dict[str, str], a: str, b: str) -> str:
        while a != b:
            while self.rank[a] < self.rank[b]:
                a = parent[a]
            while self.rank[b] < self.rank[a]:
                b = parent[b]
        return a

    def join_of(self, targets: Sequence[str]) -> str:
        """Returns the first node that every way from all the targets passes."""
        nearest = targets[0]
        for target in targets[1:]:
            nearest = self._meet(self.parent, nearest, target)
        return self.parent[nearest] if nearest in targets else nearest

    def forked(self, wanted: Sequence[str], stop: Container[str]) -> tuple[str, ...]:
        """Returns what really runs side by side when all of `wanted` are entered.

        A target that another one leads to anyway (an edge that passes by) waits for
        it and is no branch. Empty when the way leads straight out, to one of `stop`.
        """
        targets = [target for target in dict.fromkeys(wanted) if target not in stop]
        while len(targets) > 1:
            nearest = targets[0]
            for target in targets[1:]:
                nearest = self._meet(self.parent, nearest, target)
            if nearest not in targets:
                break
            targets.remove(nearest)
        return tuple(targets)

    def port_targets(self, node: str, port: str) -> list[str]:
        """Returns where a port leads; one without an edge leads past its alternatives."""
        links = self.plan.outgoing[node].get(port, [])
        return [link.target for link in links] or [self.parent[node]]

    def branches(self, targets: Sequence[str], join: str) -> list[Branch] | None:
        """Returns the branches between a fork and its join, in the order of the targets.

        Targets whose ways meet before the join are one branch that begins with a
        fork of its own. None when there are no branches to tell apart.
        """
        position = {target: index for index, target in enumerate(targets)}
        owner: dict[str, Branch] = {}
        for target in targets:
            nodes = branch_nodes(self, target, join)
            merged = Branch([target], set(nodes))
            for branch in {id(owner[n]): owner[n] for n in nodes if n in owner}.values():
                merged.entries.extend(branch.entries)
                merged.nodes.update(branch.nodes)
            merged.entries.sort(key=position.__getitem__)
            owner.update(dict.fromkeys(merged.nodes, merged))
        branches = sorted(
            {id(branch): branch for branch in owner.values()}.values(),
            key=lambda branch: position[branch.entries[0]],
        )
        if len(branches) == 1 or not all(self._is_closed(branch) for branch in branches):
            return None
        return branches

    def _is_closed(self, branch: Branch) -> bool:
        """Whether a branch waits for nothing that another one does."""
        for node in branch.nodes:
            if node in branch.entries:
                continue
            if any(link.source not in branch.nodes for link in self.plan.by_id[node].incoming):
                return False
        return all(
            branch.nodes.issuperset(self.plan.loop_of[node].entries)
            for node in branch.nodes
            if node in self.plan.loop_of
        )

    def region(self, targets: Sequence[str], join: str, depth: int) -> set[str]:
        """Returns all nodes between a fork and its join.

        Raises:
            LeavesLoop: Some of them leave a loop around the fork, or end one that began
                before it.
        """
        nodes = {node for target in targets for node in branch_nodes(self, target, join)}
        for name in sorted(nodes, key=self.rank.__getitem__):
            node = self.plan.by_id[name]
            loop = self.plan.loop_of.get(name)
            if len(node.scope) < depth:
                raise LeavesLoop(self.plan.by_id[targets[0]].scope[len(node.scope)])
            if loop and not nodes.issuperset(loop.entries):
                raise LeavesLoop(name)
        return nodes


def branch_nodes(regions: Regions, target: str, join: str) -> list[str]:
    """Returns everything reachable from `target` before `join`, in topological order."""
    seen = {target}
    todo = [target]
    while todo:
        for follower in regions.followers[todo.pop()]:
            if follower != join and follower not in seen:
                seen.add(follower)
                todo.append(follower)
    return sorted(seen, key=regions.rank.__getitem__)
