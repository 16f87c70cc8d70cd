"""Dead paths: which nodes can no longer run once a node has taken a port.

The invocation that decides records them as skipped, so no state of the machine
exists just to walk past a node.
"""

from __future__ import annotations

from collections.abc import Callable

from joinery.compiler.plan import Plan, PlanNode
from joinery.runs.model import (
    Address,
    NodeKey,
    NodeRecord,
    address_of,
    begins_round,
    common_depth,
    path_of,
)
from joinery.workflow.bodies import ITEM
from joinery.workflow.graph import END, START, Link

Find = Callable[[Address], NodeRecord | None]
"""Reads one record, strongly consistent; None when there is none yet."""

Blamed = Callable[[PlanNode, str], bool]
"""Whether a failure was left to a join at a path, which must then fail, not be skipped."""


def _nobody(join: PlanNode, path: str) -> bool:
    return False


def is_taken(link: Link, record: NodeRecord) -> bool:
    """Whether an edge was taken, given the record of the node it leaves."""
    if record.contained:
        return False
    if record.items is not None and link.port == ITEM:
        return True  # by each item; `done` is taken as well, when they have ended
    went_on = record.status in {"completed", "failed"} and record.port == link.port
    return went_on and link.target not in record.refused


def dead_after(
    plan: Plan, node: PlanNode, record: NodeRecord, find: Find, blamed: Blamed = _nobody
) -> list[tuple[PlanNode, str]]:
    """Returns the nodes, with paths, that are dead because of how `node` ended.

    A node is dead when every edge into it is: one from another port of `node`, one
    from a dead node, or one that a finished node did not take. An edge that leaves
    a loop is not dead before the loop has ended, since a later round may take it.

    Args:
        plan: The plan.
        node: The node that has decided.
        record: Which port it took, and which edges there it refused.
        find: Reads records of nodes that are not part of this decision.
        blamed: Whether a failure was left to a join.
    """
    if record.port == "repeat" and node.id in plan.loop_of:
        return []
    return _Decision(plan, node, record.key.path, record, find=find, blamed=blamed).dead()


def after_skip(
    plan: Plan, node: PlanNode, path: str, find: Find, blamed: Blamed = _nobody
) -> list[tuple[PlanNode, str]]:
    """Returns the nodes that are dead because `node` itself is skipped."""
    return _Decision(plan, node, path, None, find=find, blamed=blamed).dead()


class _Decision:
    def __init__(
        self,
        plan: Plan,
        node: PlanNode,
        path: str,
        record: NodeRecord | None,
        *,
        find: Find,
        blamed: Blamed,
    ) -> None:
        self.plan, self.node, self.path, self.find = plan, node, path, find
        self.blamed = blamed
        self.record = record
        self.found: dict[tuple[str, str], PlanNode] = {}

    def dead(self) -> list[tuple[PlanNode, str]]:
        todo = list(self._first_links())
        while todo:
            link, source_path = todo.pop(0)
            target = self.plan.by_id[link.target]
            if target.id == END or self._begins_item(link):
                continue
            path = self._path_of(target, self.plan.by_id[link.source], source_path)
            if (target.id, path) in self.found or not self._all_dead(target, path):
                continue
            self.found[(target.id, path)] = target
            if target.id in self.plan.loop_of:
                # Without its loop node the loop is at its end.
                todo.extend(self._exits(target.id, target, path))
            for links in self.plan.outgoing[target.id].values():
                todo.extend((after, path) for after in links)
        ranked = sorted(self.found.items(), key=lambda item: item[1].ord)
        return [(target, path) for (_, path), target in ranked]

    def _begins_item(self, link: Link) -> bool:
        """Whether an edge begins an item: where there is none, there is nothing to skip."""
        return link.port == ITEM and link.source in self.plan.iterate_of

    def _first_links(self) -> list[tuple[Link, str]]:
        outgoing = self.plan.outgoing[self.node.id]
        refused = [link for links in outgoing.values() for link in links if not self._takes(link)]
        depth = self._depth_after()
        first = [
            (link, self.path)
            for link in refused
            if common_depth(self.node.scope, self.plan.by_id[link.target].scope) >= depth
            or self.record is None
        ]
        if depth < len(self.node.scope):
            first.extend(self._exits(self.node.scope[depth], self.node, self.path))
        return first

    def _exits(self, loop_id: str, last: PlanNode, path: str) -> list[tuple[Link, str]]:
        """The edges that leave a loop, as its round that ends with `last` at `path` decides them.

        Those of `last` itself are left out.
        """
        loop = self.plan.loop_of[loop_id]
        inside = set(loop.body)
        found: list[tuple[Link, str]] = []
        for name in loop.body:
            if name == last.id:
                continue
            shared = common_depth(last.scope, self.plan.by_id[name].scope)
            round_ = path_of(tuple(path.split(".")[:shared]))
            links = (link for at_port in self.plan.outgoing[name].values() for link in at_port)
            found.extend((link, round_) for link in links if link.target not in inside)
        return found

    def _takes(self, link: Link) -> bool:
        return self.record is not None and is_taken(link, self.record)

    def _depth_after(self) -> int:
        """How many of the loops around the node go on after it took its port."""
        depth = len(self.node.scope)
        if self.node.id in self.plan.loop_of:
            return depth - 1  # it ends its loop: `repeat` is no decision
        if self.record is None:
            return depth
        at_port = self.plan.outgoing[self.node.id].get(self.record.port, [])
        taken = [link for link in at_port if self._takes(link)]
        if not taken:
            return depth
        return max(
            common_depth(self.node.scope, self.plan.by_id[link.target].scope) for link in taken
        )

    @staticmethod
    def _path_of(target: PlanNode, source: PlanNode, source_path: str) -> str:
        """The path at which an edge enters its target; a loop is entered in round 1."""
        depth = common_depth(source.scope, target.scope)
        parts: tuple[str, ...] = tuple(source_path.split(".")[:depth]) if depth else ()
        return path_of((*parts, *["1"] * (len(target.scope) - depth)))

    def _all_dead(self, target: PlanNode, path: str) -> bool:
        if begins_round(self.plan, target, path):
            return False
        dead = all(self._is_dead(link, target, path) for link in target.incoming)
        return dead and not (target.join and self.blamed(target, path))

    def _is_dead(self, link: Link, target: PlanNode, path: str) -> bool:
        if link.source == START:
            return False
        source = self.plan.by_id[link.source]
        address = address_of(target, path, source)
        if source.id == self.node.id and self._same_place(address, source):
            return not self._takes(link)
        at = self._path_seen(source, address)
        if (source.id, at) in self.found:
            return True
        if address.last and not self._has_ended(source, target, path):
            return False
        record = self.find(address)
        return record is not None and record.terminal and not is_taken(link, record)

    def _has_ended(self, source: PlanNode, target: PlanNode, path: str) -> bool:
        """Whether the loop that an edge leaves has had its last round."""
        loop = self.plan.by_id[source.scope[common_depth(source.scope, target.scope)]]
        address = address_of(target, path, loop)
        if loop.id == self.node.id and self._same_place(address, loop):
            return True  # a loop node that is being decided here takes another port than repeat
        if (loop.id, self._path_seen(loop, address)) in self.found:
            return True
        record = self.find(address)
        return record is not None and record.terminal and record.port != "repeat"

    def _same_place(self, address: Address, source: PlanNode) -> bool:
        own = tuple(self.path.split(".")) if self.path else ()
        seen = tuple(address.key.path.split(".")) if address.key.path else ()
        return own[: len(seen)] == seen and (address.last or own == seen)

    def _path_seen(self, source: PlanNode, address: Address) -> str:
        """The path under which a dead source would be in `found`."""
        if not address.last:
            return address.key.path
        shared = common_depth(self.node.scope, source.scope)
        parts: tuple[str, ...] = tuple(self.path.split(".")[:shared]) if shared else ()
        return path_of((*parts, *["1"] * (len(source.scope) - shared)))


def key_of(node: PlanNode, path: str) -> NodeKey:
    """Returns the key of a node at a path."""
    return NodeKey(node.ord, path)
