"""What a node reads of others, put together from their records.

A node outside the body of an iterate node sees a list: for each item what the node in
the body gave. Lists nest as the bodies do.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping

from joinery.compiler.plan import Plan, PlanNode
from joinery.runs.model import Address, NodeKey, NodeRecord, addresses_for, path_of

Seen = NodeRecord | list["Seen"] | None
"""A record, a list of them by item, or None where there is none yet."""

_INFINITE = float("inf")


def seen_records(
    plan: Plan, node: PlanNode, path: str, loaded: Mapping[Address, NodeRecord]
) -> dict[str, Seen]:
    """Returns what a node reads, by the names of `addresses_for`.

    Args:
        plan: The plan.
        node: The node that reads.
        path: Its path.
        loaded: The records that were loaded from these addresses.
    """
    found: dict[str, Seen] = {}
    index: _Index | None = None
    for name, address in addresses_for(plan, node, path).items():
        prefix, _, node_id = name.rpartition(":")
        if prefix in ("items", "previous:items"):
            continue
        if address.every:
            index = index or _Index(plan, loaded)
            found[name] = index.listed(plan.by_id[node_id], address.key.parts())
        elif address in loaded:
            found[name] = loaded[address]
    return found


class _Index:
    """The records under keys, by ordinal and path."""

    def __init__(self, plan: Plan, loaded: Mapping[Address, NodeRecord]) -> None:
        self.plan, self.loaded = plan, loaded
        self.paths: dict[int, list[tuple[int, ...]]] = {}
        for address in loaded:
            if not address.last:
                self.paths.setdefault(address.key.ord, []).append(address.key.parts())
        for paths in self.paths.values():
            paths.sort()

    def listed(self, target: PlanNode, prefix: tuple[int, ...]) -> Seen:
        """Returns what is seen of a node by a reader that shares the scopes of `prefix`."""
        inner = (name for name in target.scope[len(prefix) :] if name in target.iterates)
        each = next(inner, None)
        if each is None:
            return self._last(target, prefix)
        # Its own record tells which round of the loops around it was the last.
        owner = self._last(self.plan.by_id[each], prefix)
        if owner is None or not owner.items:
            return []
        around = owner.key.parts()
        return [self.listed(target, (*around, item)) for item in range(owner.items)]

    def _last(self, target: PlanNode, prefix: tuple[int, ...]) -> NodeRecord | None:
        """Returns the record at a path, or that of the last round under it."""
        paths = self.paths.get(target.ord, [])
        place = bisect_right(paths, (*prefix, _INFINITE)) - 1
        if place < 0 or paths[place][: len(prefix)] != prefix:
            return None
        return self.loaded.get(Address(NodeKey(target.ord, path_of(paths[place]))))
