"""Puts a tree in order: keys in their places, edges short."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from joinery.workflow.formatting.edges import shorten
from joinery.workflow.formatting.order import WORKFLOW, Shape
from joinery.workflow.formatting.tree import Alias, Collection, Scalar, Unit

Value = Scalar | Alias | Collection | None


def arrange(root: Collection) -> None:
    """Puts the tree of a workflow file in order."""
    for unit in root.units:
        named = isinstance(unit.key, Scalar) and unit.key.value == "edges"
        if named and isinstance(unit.value, Collection) and not unit.value.mapping:
            shorten(unit.value)
    for collection in root.nested():
        _keep_head(collection, top=collection is root)
    _order(root)
    _mark_last(root)


def _keep_head(collection: Collection, *, top: bool) -> None:
    """Parts comments about a whole block from those about its first entry.

    An empty line parts them; without one, a file's first comment is about the file.
    """
    first = collection.units[0] if collection.units else None
    if first is None or not any(first.before):
        return
    begins = next(index for index, line in enumerate(first.before) if line)
    lines = first.before[begins:]
    end = len(lines) - lines[::-1].index("") if "" in lines else len(lines) if top else 0
    collection.head, first.before = lines[:end], lines[end:]


def _order(root: Collection) -> None:
    placed = [(root, WORKFLOW), *_placed(root, WORKFLOW)]
    kept = _kept(placed)
    for part, shape in placed:
        if isinstance(part, Collection) and part.mapping and id(part) not in kept:
            known = _known(part, shape)
            part.units = _sorted(part.units, known) if known.keys else part.units


def _placed(collection: Collection, shape: Shape) -> Iterator[tuple[Value, Shape]]:
    """Yields everything in a collection with what it is by its place."""
    shape = _known(collection, shape)
    for unit in collection.units:
        key = unit.key.value if isinstance(unit.key, Scalar) else None
        inside = shape.under(key if collection.mapping else None)
        yield unit.value, inside
        if isinstance(unit.value, Collection):
            yield from _placed(unit.value, inside)


def _known(collection: Collection, shape: Shape) -> Shape:
    return shape.of(collection.text_of(shape.by)) if shape.by else shape


def _kept(placed: list[tuple[Value, Shape]]) -> set[int]:
    """Returns what keeps its order because an alias brings it to a place of another kind."""
    shapes: dict[str, list[Shape]] = {}
    for part, shape in placed:
        name = part.name if isinstance(part, Alias) else part.anchor if part else ""
        if name:
            shapes.setdefault(name, []).append(shape)
    several = {name for name, found in shapes.items() if any(s is not found[0] for s in found)}
    return {
        id(inner)
        for part, _ in placed
        if isinstance(part, Collection) and part.anchor in several
        for inner in part.nested()
    }


def _sorted(units: list[Unit], shape: Shape) -> list[Unit]:
    """Returns entries in order, none before one that its aliases need."""

    def rank(unit: Unit) -> int:
        return shape.rank(unit.key.value if isinstance(unit.key, Scalar) else "")

    names = [_names(unit) for unit in units]
    named = [index for index, (made, used) in enumerate(names) if made or used]
    needs: defaultdict[int, set[int]] = defaultdict(set)
    for maker in (index for index in named if names[index][0]):
        for other in named:
            if other != maker and _bound(names[maker], names[other]):
                needs[max(maker, other)].add(min(maker, other))
    needed_by: defaultdict[int, list[int]] = defaultdict(list)
    for later, earlier in needs.items():
        for index in earlier:
            needed_by[index].append(later)
    free = [(rank(unit), index) for index, unit in enumerate(units) if index not in needs]
    heapify(free)
    found: list[Unit] = []
    while free:
        _, done = heappop(free)
        found.append(units[done])
        for later in needed_by[done]:
            needs[later].remove(done)
            if not needs[later]:
                heappush(free, (rank(units[later]), later))
    return found


_Names = tuple[set[str], set[str]]


def _bound(one: _Names, other: _Names) -> bool:
    """Whether two entries must stay in their order: one names what the other uses or names."""
    return bool(one[0] & (other[0] | other[1]) or one[1] & other[0])


def _names(unit: Unit) -> _Names:
    """Returns the anchors that an entry sets and those that its aliases use."""
    made: set[str] = set()
    used: set[str] = set()
    for part in (unit.key, unit.value):
        if isinstance(part, Alias):
            used.add(part.name)
        elif part is not None and part.anchor:
            made.add(part.anchor)
    if isinstance(unit.value, Collection):
        for inner in unit.value.units:
            more = _names(inner)
            made |= more[0]
            used |= more[1]
    return made, used


def _mark_last(collection: Collection) -> None:
    """Marks the scalar that the file ends with: its last lines may not be empty."""
    if collection.foot or not collection.units:
        return
    last = collection.units[-1].value
    if isinstance(last, Scalar):
        last.last = True
    elif isinstance(last, Collection):
        _mark_last(last)
