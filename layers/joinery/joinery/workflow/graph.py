"""The graph behind a workflow: order, cycles and the nesting of loops.

Knows nothing of node types. Every algorithm is linear in nodes and edges, is
iterative (2,000 nodes in a row would pass Python's recursion limit) and answers
in an order that depends on the order of the input alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

START = "start"
END = "end"


@dataclass(frozen=True, slots=True)
class Link:
    """An edge: from a node's port (`""` when it has but one) to another node."""

    source: str
    port: str
    target: str
    when: str | None = None


@dataclass(frozen=True, slots=True)
class LoopRegion:
    """The nodes that one loop node repeats.

    Attributes:
        loop: Id of the loop node that ends each round.
        body: All nodes of the region in topological order, the loop node and the
            bodies of inner loops included.
        entries: Nodes that a round begins with: the targets of `loop.repeat`.
        parent: The loop node of the enclosing region, or None.
    """

    loop: str
    body: tuple[str, ...]
    entries: tuple[str, ...]
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class IterateRegion:
    """The nodes that one iterate node runs for each item.

    Attributes:
        iterate: Id of the iterate node, which is not part of the region.
        body: All nodes of the region in topological order, inner regions included.
        entries: Nodes that an item begins with: the targets of its port `item`.
        parent: The loop or iterate node of the region right around it, or None.
    """

    iterate: str
    body: tuple[str, ...]
    entries: tuple[str, ...]
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class LoopProblem:
    """A cycle that cannot be run. `kind` is `cycle`, `irreducible`, `no_exit` or `shared`."""

    kind: str
    nodes: tuple[str, ...]
    entries: tuple[str, ...] = ()


@dataclass(slots=True)
class Structure:
    """What `analyse` found.

    Attributes:
        order: All nodes in topological order, back edges cut, ties by input order.
        loops: The loop regions, outer before inner.
        iterates: The regions of iterate nodes, outer before inner.
        problems: Cycles that are no loops.
        back_edges: The links cut: `loop.repeat -> entry`.
    """

    order: list[str] = field(default_factory=list)
    loops: list[LoopRegion] = field(default_factory=list)
    iterates: list[IterateRegion] = field(default_factory=list)
    problems: list[LoopProblem] = field(default_factory=list)
    back_edges: set[Link] = field(default_factory=set)

    def scope_of(self) -> dict[str, tuple[str, ...]]:
        """Returns, for each node, the loop and iterate nodes around it, outermost first."""
        scopes: dict[str, tuple[str, ...]] = dict.fromkeys(self.order, ())
        regions = [(-len(r.body), 1, r.loop, r.body) for r in self.loops]
        # What repeats exactly the nodes of a body is inside it: an iterate node around
        # which there is a loop is itself one of the nodes of that loop.
        regions += [(-len(r.body), 0, r.iterate, r.body) for r in self.iterates]
        # The larger of two regions that share nodes is the outer one.
        for _, _, name, body in sorted(regions, key=lambda region: region[:2]):
            for node in body:
                scopes[node] = (*scopes[node], name)
        return scopes


def strongly_connected(
    nodes: Iterable[str], successors: Mapping[str, Sequence[str]]
) -> list[list[str]]:
    """Returns the strongly connected components (Kosaraju), each in order of discovery."""
    backwards: dict[str, list[str]] = {}
    for source, targets in successors.items():
        for target in targets:
            backwards.setdefault(target, []).append(source)
    placed: set[str] = set()
    components: list[list[str]] = []
    for root in reversed(finished(nodes, successors)):
        if root in placed:
            continue
        placed.add(root)
        component = [root]
        for node in component:  # grows while it is walked
            for before in backwards.get(node, ()):
                if before not in placed:
                    placed.add(before)
                    component.append(before)
        components.append(component)
    return components


def finished(nodes: Iterable[str], successors: Mapping[str, Sequence[str]]) -> list[str]:
    """Returns the nodes in the order in which a depth-first search leaves them."""
    seen: set[str] = set()
    order: list[str] = []
    for root in nodes:
        if root in seen:
            continue
        seen.add(root)
        work = [(root, iter(successors.get(root, ())))]
        while work:
            node, followers = work[-1]
            for follower in followers:
                if follower not in seen:
                    seen.add(follower)
                    work.append((follower, iter(successors.get(follower, ()))))
                    break
            else:
                work.pop()
                order.append(node)
    return order


def topological(nodes: Sequence[str], links: Iterable[Link]) -> list[str]:
    """Returns the nodes so that every link points forward; ties keep the input order.

    Nodes on a cycle come last, in input order.
    """
    import heapq

    rank = {node: position for position, node in enumerate(nodes)}
    waiting = dict.fromkeys(nodes, 0)
    followers: dict[str, list[str]] = {node: [] for node in nodes}
    for link in links:
        if link.source in rank and link.target in rank:
            followers[link.source].append(link.target)
            waiting[link.target] += 1
    ready = [rank[node] for node in nodes if waiting[node] == 0]
    heapq.heapify(ready)
    order: list[str] = []
    while ready:
        node = nodes[heapq.heappop(ready)]
        order.append(node)
        for follower in followers[node]:
            waiting[follower] -= 1
            if waiting[follower] == 0:
                heapq.heappush(ready, rank[follower])
    if len(order) < len(nodes):
        placed = set(order)
        order.extend(node for node in nodes if node not in placed)
    return order


def analyse(nodes: Sequence[str], links: Sequence[Link], loop_nodes: Iterable[str]) -> Structure:
    """Finds the loops of a graph and an order of its nodes.

    Args:
        nodes: All node ids, `start` and `end` included, in the order of the file.
        links: All edges between them.
        loop_nodes: Ids of the nodes of type `loop`.

    Returns:
        The structure; `problems` is empty when every cycle is a loop.
    """
    known = set(nodes)
    usable = [link for link in links if link.source in known and link.target in known]
    structure = Structure()
    loops = set(loop_nodes)
    # Each round of this work list cuts the back edges of one level of nesting.
    pending: list[tuple[list[str], str | None]] = [(list(nodes), None)]
    raw: list[tuple[str, set[str], tuple[str, ...], str | None]] = []
    while pending:
        members, parent = pending.pop(0)
        inside = set(members)
        local = [
            link
            for link in usable
            if link.source in inside and link.target in inside and link not in structure.back_edges
        ]
        successors: dict[str, list[str]] = {node: [] for node in members}
        for link in local:
            successors[link.source].append(link.target)
        for component in strongly_connected(members, successors):
            selfish = component[0] in successors[component[0]]
            if len(component) == 1 and not selfish:
                continue
            region = _region(set(component), nodes, usable, loops, structure)
            if region is None:
                continue
            loop, entries = region
            raw.append((loop, set(component), entries, parent))
            pending.append(([node for node in nodes if node in set(component)], loop))
    forward = [link for link in usable if link not in structure.back_edges]
    structure.order = topological(nodes, forward)
    place = {node: position for position, node in enumerate(structure.order)}
    for loop, body, entries, parent in raw:
        ordered = tuple(sorted(body, key=place.__getitem__))
        structure.loops.append(LoopRegion(loop, ordered, entries, parent))
    return structure


def _region(
    component: set[str],
    nodes: Sequence[str],
    links: Sequence[Link],
    loops: set[str],
    structure: Structure,
) -> tuple[str, tuple[str, ...]] | None:
    """Names the loop node of a cycle and cuts its back edges, or notes what is wrong."""
    members = tuple(node for node in nodes if node in component)
    uncut = [link for link in links if link not in structure.back_edges]
    entered = {
        link.target for link in uncut if link.target in component and link.source not in component
    }
    repeats = [
        link
        for link in uncut
        if link.source in component
        and link.source in loops
        and link.port == "repeat"
        and link.target in component
    ]
    # The loop of this level is the one whose `repeat` leads back to where the cycle
    # is entered; those of inner loops lead elsewhere.
    outer: dict[str, set[str]] = {}
    for link in repeats:
        if link.target in entered:
            outer.setdefault(link.source, set()).add(link.target)
    covering = [loop for loop, targets in outer.items() if entered and targets == entered]
    if not covering:
        kind = "irreducible" if repeats and entered else "cycle"
        sorted_entries = tuple(node for node in nodes if node in entered)
        structure.problems.append(LoopProblem(kind, members, sorted_entries))
        return None
    loop = covering[0] if len(covering) == 1 else _outermost(covering, component, uncut)
    if loop is None:
        structure.problems.append(LoopProblem("shared", members, tuple(sorted(covering))))
        return None
    cut = [link for link in repeats if link.source == loop]
    structure.back_edges.update(cut)
    if not any(link.source in component and link.target not in component for link in uncut):
        structure.problems.append(LoopProblem("no_exit", members))
    entries = tuple(dict.fromkeys(link.target for link in cut))
    return loop, entries


def _outermost(loops: Sequence[str], component: set[str], links: Sequence[Link]) -> str | None:
    """Returns which of the loops that begin at the same place is around the others.

    It is the one that all others lead to when none repeats. None when there is no such
    loop, as when two end on exclusive branches.
    """
    followers: dict[str, list[str]] = {node: [] for node in component}
    before: dict[str, list[str]] = {node: [] for node in component}
    for link in links:
        repeats = link.port == "repeat" and link.source in loops
        if link.source in component and link.target in component and not repeats:
            followers[link.source].append(link.target)
            before[link.target].append(link.source)
    # What another leads to is left before it in a depth-first search.
    last = next(node for node in finished(sorted(component), followers) if node in loops)
    leading = {last}
    todo = [last]
    while todo:
        new = [node for node in before[todo.pop()] if node not in leading]
        leading.update(new)
        todo.extend(new)
    return last if leading.issuperset(loops) else None
