"""The items of iterate nodes as the interpreter walks them: which run, wait, or are done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from joinery.compiler.plan import PlanNode
from joinery.runs.model import path_of

Owner = tuple[str, str]
"""An iterate node and its path."""


@dataclass(slots=True)
class Items:
    """Counts what is under way in each item.

    An item has come to rest when nothing in it runs or is about to: everything in a body
    is decided by what is in it.

    Attributes:
        active: How many nodes are under way in an item, by iterate node and the item's path.
        waiting: The items of an iterate node that have not begun.
        left: How many items of an iterate node have not come to rest.
    """

    active: dict[tuple[str, str], int] = field(default_factory=dict)
    waiting: dict[Owner, Iterator[int]] = field(default_factory=dict)
    left: dict[Owner, int] = field(default_factory=dict)

    def open(self, owner: Owner, count: int, width: int) -> list[int]:
        """Takes the items of an iterate node; returns the first ones that run."""
        self.waiting[owner] = iter(range(min(count, width), count))
        self.left[owner] = count
        return list(range(min(count, width)))

    def begin(self, node: PlanNode, path: str) -> None:
        """Notes that a node is about to run."""
        for place, _ in _around(node, path):
            self.active[place] = self.active.get(place, 0) + 1

    def rest(self, node: PlanNode, path: str) -> Iterator[Owner]:
        """Notes that a node has ended; yields whose items have come to rest with it.

        What follows an item is to be begun before the next one is asked for: it may be in
        the item around.
        """
        for place, owner in reversed(_around(node, path)):
            self.active[place] -= 1
            if not self.active[place]:
                del self.active[place]
                self.left[owner] -= 1
                yield owner

    def following(self, owner: Owner) -> int | None:
        """Returns the next item to begin, None when all have begun."""
        return next(self.waiting[owner], None)

    def over(self, owner: Owner) -> bool:
        """Whether all items have come to rest."""
        return not self.left[owner]


def _around(node: PlanNode, path: str) -> list[tuple[tuple[str, str], Owner]]:
    """Returns the items around a node, outermost first: each by itself, and whose it is."""
    found: list[tuple[tuple[str, str], Owner]] = []
    for each in node.iterates:
        depth = node.scope.index(each)
        parts = tuple(path.split(".")[: depth + 1])
        found.append(((each, path_of(parts)), (each, path_of(parts[:depth]))))
    return found
