"""The bodies of iterate nodes: what runs for each item, and where it stands in the graph.

A body is everything that is reached by its iterate node's port `item` and by no other
way. It ends where no edge leads on; what the port `done` leads to comes after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from joinery.workflow.graph import END, START, IterateRegion, Link, Structure, analyse

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
    """Returns the nodes of each body: what only the port `item` leads to."""
    onward: dict[str, list[Link]] = {}
    for link in links:
        onward.setdefault(link.source, []).append(link)
    begin = list(starts)
    found: dict[str, set[str]] = {}
    for name in iterates:
        outside = _reached(begin, onward, besides=name)
        # A node that nothing reaches is reported as that, and is in no body but its own.
        inside = _reached(entries_of(onward.get(name, ()), name), onward)
        found[name] = inside - outside - {name, END}
    return found


def _reached(
    begin: Iterable[str], onward: Mapping[str, Sequence[Link]], besides: str = ""
) -> set[str]:
    """Returns what is reached from some nodes, the port `item` of `besides` left out."""
    seen = set(begin)
    todo = list(seen)
    while todo:
        source = todo.pop()
        for link in onward.get(source, ()):
            if link.target in seen or (source == besides and link.port == ITEM):
                continue
            seen.add(link.target)
            todo.append(link.target)
    return seen


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
