"""Which results are there for certain when a node runs.

Computed on the graph with the loops' back edges cut. Its vertices are the nodes and,
behind each node with several ports, those ports, so that a fork behind a port is known
to run whole once the port is taken. Sets of vertices are integers, one bit a vertex in
topological order, so that 2,000 nodes take milliseconds.

* `must(n)` is what lies on every way to n: the dominators of n. Its latest member d
  stands for all of it, since `must(n) = must(d) + {d}`.
* `inevitable(y)` is what runs for certain once y has run: what its edges without
  `when` lead to, and what those lead to; of several ports, what all of them share.
* Of these, n can rely on what it waits for: its ancestors, and at a join that does
  not wait for all parents only what is an ancestor through each of them. Such a join
  sees the results of winners alone, so of its parents only those that no way passes by.
* What may fail without failing the run, since a join decides over it, is not inevitable.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from joinery.workflow.bodies import ITEM
from joinery.workflow.checks.edges import RawGraph
from joinery.workflow.checks.flow import neighbours, reachable
from joinery.workflow.checks.quorums import edges_into, needed, races
from joinery.workflow.graph import END, START, Structure


@dataclass(frozen=True, slots=True)
class Guarantees:
    """Answers what has run when a node runs."""

    rank: Mapping[str, int]
    sure: Sequence[int]
    succeeded: Sequence[int]
    failed: Sequence[int]
    before: Sequence[int]

    def has_run(self, node: str, other: str) -> bool:
        """Whether `other` has run for certain when `node` runs."""
        return bool(self.sure[self.rank[node]] >> self.rank[other] & 1)

    def by_normal_port(self, node: str, other: str) -> bool:
        """Whether `node` is only reached when `other` did not take its port `error`."""
        return bool(self.succeeded[self.rank[node]] >> self.rank[other] & 1)

    def by_error_port(self, node: str, other: str) -> bool:
        """Whether `node` is only reached when `other` took its port `error`."""
        return bool(self.failed[self.rank[node]] >> self.rank[other] & 1)

    def is_before(self, node: str, other: str) -> bool:
        """Whether `other` may run before `node` at all, in the same round."""
        return bool(self.before[self.rank[node]] >> self.rank[other] & 1)


@dataclass(slots=True)
class _Vertex:
    """A node or one of its ports.

    Attributes:
        parents: Its predecessors; of each, whether the way to here is its port `error`.
        leads: Where its edges without `when` lead.
        ports: For a node with several ports, those that are vertices of their own.
        waits_for_all: Whether it runs only when all its parents have ended.
        needs_all: Whether it runs only when all edges into it were taken.
        unseen: The parents whose results it does not see for certain.
    """

    parents: list[tuple[int, bool]] = field(default_factory=list)
    leads: list[int] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    waits_for_all: bool = True
    needs_all: bool = False
    unseen: int = 0


def compute(graph: RawGraph, structure: Structure) -> Guarantees:
    """Computes the guarantees for all nodes, `end` included."""
    rank, vertices = _vertices(graph, structure)
    inevitable = _inevitable(vertices)
    sure: list[int] = []
    closed: list[int] = []
    must: list[int] = []
    waited: list[int] = []
    before: list[int] = []
    succeeded: list[int] = []
    failed: list[int] = []
    for vertex in vertices:
        parents = vertex.parents
        passed = [must[source] | 1 << source for source, _ in parents]
        must.append(_union(passed) if vertex.needs_all else _common(passed))
        before.append(_union([before[source] | 1 << source for source, _ in parents]))
        succeeded.append(_common([succeeded[s] | (not error) << s for s, error in parents]))
        failed.append(_common([failed[s] | error << s for s, error in parents]))
        waits = [waited[source] | 1 << source for source, _ in parents]
        waited.append(_union(waits) if vertex.waits_for_all else _common(waits))
        certain = [source for source, _ in parents]
        if not vertex.needs_all:
            dominator = must[-1].bit_length() - 1
            certain = [dominator] if dominator >= 0 else []
        closed.append(_union([closed[one] | inevitable[one] | 1 << one for one in certain]))
        sure.append(closed[-1] & waited[-1] & ~vertex.unseen)
    return Guarantees(rank, sure, succeeded, failed, before)


def _vertices(graph: RawGraph, structure: Structure) -> tuple[dict[str, int], list[_Vertex]]:
    found = races(graph, structure)
    tolerated = _tolerated(graph, found.around)
    edges = edges_into(graph, structure)
    rank: dict[str, int] = {}
    port_rank: dict[tuple[str, str], int] = {}
    vertices: list[_Vertex] = []
    for name in structure.order:
        rank[name] = len(vertices)
        node = graph.nodes.get(name)
        needs_all = node is not None and not node.waits_for_all and needed(node) == edges.get(name)
        waits = node is None or node.waits_for_all or needs_all
        vertices.append(_Vertex(waits_for_all=waits, needs_all=needs_all))
        ports = _ports(graph, name)
        for port in ports if len(ports) > 1 else ():
            port_rank[name, port] = len(vertices)
            vertices[rank[name]].ports.append(len(vertices))
            vertices.append(_Vertex(parents=[(rank[name], port == "error")]))
    reached = reachable({START}, neighbours(graph.links))
    for link in graph.links:
        # Where a cycle is no loop the order is not topological; its edges back are left out.
        if link in structure.back_edges or rank[link.source] >= rank[link.target]:
            continue
        if link.source not in reached:
            continue  # it never runs, so nothing waits for it
        source = port_rank.get((link.source, link.port), rank[link.source])
        vertices[rank[link.target]].parents.append((source, link.port == "error"))
        if link.when is None and link.target not in tolerated:
            vertices[source].leads.append(rank[link.target])
    for join, parents in found.unsure.items():
        if not vertices[rank[join]].needs_all:
            vertices[rank[join]].unseen = _union([1 << rank[parent] for parent in parents])
    return rank, vertices


def _tolerated(graph: RawGraph, around: Collection[str]) -> set[str]:
    """Returns the nodes that may fail without failing the run or naming another way."""
    guarded = {link.source for link in graph.links if link.when is not None}
    return {name for name in around if name in guarded or graph.nodes[name].on_error == "fail"}


def _ports(graph: RawGraph, name: str) -> tuple[str, ...]:
    """Returns the ports that may be taken when the node has run for the last time."""
    if name in (START, END):
        return ("",)
    node = graph.nodes[name]
    if node.type == "loop":
        return tuple(port for port in node.ports or () if port != "repeat")
    if node.type == "iterate":
        # Its items take nothing away from the other ports.
        return tuple(port for port in node.ports or () if port != ITEM)
    return node.ports if node.ports is not None else ("",)


def _inevitable(vertices: Sequence[_Vertex]) -> list[int]:
    found = [0] * len(vertices)
    for position in range(len(vertices) - 1, -1, -1):
        vertex = vertices[position]
        own = _union([1 << target | found[target] for target in vertex.leads])
        found[position] = own | _common([found[port] for port in vertex.ports])
    return found


def _common(sets: Sequence[int]) -> int:
    """Returns what all sets share; nothing when there are none."""
    return _fold(sets, int.__and__)


def _union(sets: Sequence[int]) -> int:
    return _fold(sets, int.__or__)


def _fold(sets: Sequence[int], combine: Callable[[int, int], int]) -> int:
    if not sets:
        return 0
    found = sets[0]
    for other in sets[1:]:
        found = combine(found, other)
    return found
