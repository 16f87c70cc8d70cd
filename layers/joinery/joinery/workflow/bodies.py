"""The bodies of iterate nodes: what runs for each item, and where it stands in the graph.

A body is everything that is reached by its iterate node's port `item` and by no other
way. It ends where no edge leads on; what the port `done` leads to comes after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from joinery.workflow.graph import END, START, IterateRegion, Link, Structure, analyse, finished

ITEM = "item"
DONE = "done"


def analyse_all(
    nodes: Sequence[str],
    links: Sequence[Link],
    loop_nodes: Iterable[str],
    iterate_nodes: Iterable[str],
    starts: Iterable[str] = (START,),
) -> Structure:
    """Finds the loops and the bodies of a graph, and an order of its nodes.

    In the order, a body comes after its iterate node and before what follows it.

    Args:
        nodes: All node ids, `start` and `end` included, in the order of the file.
        links: All edges between them.
        loop_nodes: Ids of the nodes of type `loop`.
        iterate_nodes: Ids of the nodes of type `iterate`.
        starts: Nodes that are reached from outside the graph.
    """
    loops, iterates = list(loop_nodes), list(iterate_nodes)
    if not iterates:
        return analyse(nodes, links, loops)
    bodies = bodies_of(links, iterates, starts)
    structure = analyse(nodes, [*links, *_endings(links, loops, bodies)], loops)
    place = {node: position for position, node in enumerate(structure.order)}
    for name in sorted(bodies, key=lambda one: -len(bodies[one])):
        body = tuple(sorted(bodies[name], key=place.__getitem__))
        structure.iterates.append(IterateRegion(name, body, entries_of(links, name)))
    scopes = structure.scope_of()
    structure.iterates = [
        IterateRegion(r.iterate, r.body, r.entries, (scopes[r.iterate] or (None,))[-1])
        for r in structure.iterates
    ]
    return structure


def entries_of(links: Iterable[Link], iterate: str) -> tuple[str, ...]:
    """Returns the nodes that an item begins with."""
    found = (link.target for link in links if (link.source, link.port) == (iterate, ITEM))
    return tuple(dict.fromkeys(found))


def bodies_of(
    links: Sequence[Link], iterates: Sequence[str], starts: Iterable[str] = (START,)
) -> dict[str, set[str]]:
    """Returns the nodes of each body: what only the port `item` leads to.

    Those are the nodes that the port, as a vertex of its own, dominates.
    """
    onward: dict[str, list[str]] = {_ROOT: list(starts)}
    known = frozenset(iterates)
    for link in links:
        item = link.port == ITEM and link.source in known
        onward.setdefault(_port(link.source) if item else link.source, []).append(link.target)
    for name in iterates:
        onward.setdefault(name, []).append(_port(name))
    seen = _reached(_ROOT, onward, set())
    for name in iterates:
        if name not in seen:  # reported as not reached; it has its body nevertheless
            onward[_ROOT].append(name)
            seen = _reached(name, onward, seen)
    order = finished([_ROOT], onward)
    dominator = _dominators(order, onward)
    found: dict[str, set[str]] = {name: set() for name in iterates}
    around: dict[str, tuple[str, ...]] = {_ROOT: ()}
    for vertex in reversed(order[:-1]):
        above = dominator[vertex]
        inside = around[above]
        if above.endswith(_PORT):
            inside = (*inside, above.removesuffix(_PORT))
        around[vertex] = inside
        if vertex != END and not vertex.endswith(_PORT):
            for name in inside:
                found[name].add(vertex)
    return found


_ROOT = ""
_PORT = "." + ITEM


def _reached(begin: str, onward: Mapping[str, Sequence[str]], seen: set[str]) -> set[str]:
    """Adds what is reached from a vertex to what has been seen."""
    seen.add(begin)
    todo = [begin]
    while todo:
        for target in onward.get(todo.pop(), ()):
            if target not in seen:
                seen.add(target)
                todo.append(target)
    return seen


def _port(iterate: str) -> str:
    """Returns the vertex of a port `item`; ids of nodes have no dot."""
    return iterate + _PORT


def _dominators(order: Sequence[str], onward: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Returns each vertex's immediate dominator (Cooper, Harvey, Kennedy 2001).

    Args:
        order: The vertices in the order in which a search leaves them, its root last.
        onward: Where the edges lead.
    """
    rank = {vertex: position for position, vertex in enumerate(order)}
    before: dict[str, list[str]] = {}
    for source in order:
        for target in onward.get(source, ()):
            before.setdefault(target, []).append(source)
    root = order[-1]
    found = {root: root}
    changed = True
    while changed:
        changed = False
        for vertex in reversed(order[:-1]):
            nearest: str | None = None
            for source in before[vertex]:
                if source in found:
                    nearest = source if nearest is None else _meet(rank, found, nearest, source)
            if nearest is not None and found.get(vertex) != nearest:
                found[vertex] = nearest
                changed = True
    return found


def _meet(rank: Mapping[str, int], found: Mapping[str, str], a: str, b: str) -> str:
    while a != b:
        while rank[a] < rank[b]:
            a = found[a]
        while rank[b] < rank[a]:
            b = found[b]
    return a


def _endings(
    links: Sequence[Link], loops: Sequence[str], bodies: Mapping[str, set[str]]
) -> list[Link]:
    """Returns edges from where items end to what follows them, which no file has.

    With them the graph says what it means: what follows comes after the items, and the
    body of an iterate node inside a loop is part of what the loop repeats.
    """
    onward = {link.source for link in links if link.port != "repeat" or link.source not in loops}
    around: dict[str, str] = {}
    for name in sorted(bodies, key=lambda one: -len(bodies[one])):
        around.update(dict.fromkeys(bodies[name], name))
    after: dict[str, list[str]] = {}
    for link in links:
        if link.source in bodies and link.port != ITEM:
            after.setdefault(link.source, []).append(link.target)
    found: list[Link] = []
    for node, name in around.items():
        if node in onward:
            continue
        following: str | None = name
        while following is not None and following not in after:
            following = around.get(following)
        targets = after[following] if following is not None else [END]
        port = DONE if node in loops else ""
        found.extend(Link(node, port, target) for target in dict.fromkeys(targets))
    return found
