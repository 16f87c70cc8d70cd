"""How likely each node runs: from the ports' probabilities and the loops' rounds.

On the graph with the back edges cut, its vertices being the nodes and, behind a node
with several ports, those ports. A node runs when an edge into it is taken; of edges
that hang on different ports of one decision at most one is, all others are held for
independent of each other, once what dominates the node has run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from joinery.compiler.plan import Plan, PlanLoop, PlanNode, items_of
from joinery.compiler.ranges import Range
from joinery.workflow.graph import START, Link

TAKEN_WHEN = 0.5
"""Chance of an edge with `when`; the file cannot say another."""

Vertex = tuple[str, str]
"""A node and a port; the port `""` is the node itself."""


def expected_rounds(max_rounds: int) -> float:
    """Returns the rounds of a loop that ends after each with a chance of one half."""
    return 2.0 - 0.5 ** (max_rounds - 1)


def rounds_of(plan: Plan, loop: PlanLoop) -> Range:
    """Returns least, expected and most rounds of a loop each time it is entered."""
    always = _ends_by_count(plan, loop)
    usual = loop.max_rounds if always else expected_rounds(loop.max_rounds)
    if loop.expected_rounds is not None:
        usual = min(loop.expected_rounds, float(loop.max_rounds))
    return Range(loop.max_rounds if always else 1, usual, loop.max_rounds)


def _ends_by_count(plan: Plan, loop: PlanLoop) -> bool:
    """Whether a loop has no `until`, and no other way out than its last round."""
    if plan.by_id[loop.loop].spec.get("until") is not None:
        return False
    inside = set(loop.body)
    for name in loop.body:
        if name == loop.loop:
            continue
        ports = plan.outgoing[name]
        inner = name in plan.loop_of
        for port, links in ports.items():
            if not links and not (inner and port == "repeat"):
                return False
            if any(link.when is not None or link.target not in inside for link in links):
                return False
    return True


def repeats(plan: Plan, scope: Sequence[str]) -> Range:
    """Returns how often what is in these scopes runs for each time they are entered."""
    times = Range(1.0, 1.0, 1.0)
    for name in scope:
        if name in plan.loop_of:
            times = times.times(rounds_of(plan, plan.loop_of[name]))
        else:
            times = times.times(Range(*items_of(plan, name)))
    return times


def port_chances(plan: Plan, node: PlanNode) -> dict[str, float]:
    """Returns how likely a node that runs takes each of its ports in the end.

    What the file leaves open is spread evenly, except that `error` and a loop's
    `repeat` get nothing: for the rounds of a loop there is `expected_rounds`.
    """
    if node.id in plan.iterate_of:
        failed = node.probabilities.get("error", 0.0)
        return {port: failed if port == "error" else 1.0 - failed for port in node.ports}
    said = {port: node.probabilities[port] for port in node.ports if port in node.probabilities}
    ports = [port for port in node.ports if port not in said and port != "error"]
    if node.id in plan.loop_of:
        ports = [port for port in ports if port != "repeat"]
    rest = max(0.0, 1.0 - sum(said.values()))
    spread = {port: rest / len(ports) for port in ports}
    return {port: said.get(port, spread.get(port, 0.0)) for port in node.ports}


def run_chances(plan: Plan) -> dict[str, float]:
    """Returns how likely each node runs, within a round of the loops around it."""
    walk = _Chances(plan)
    return {node.id: walk.visit(node) for node in plan.nodes}


def visits(plan: Plan) -> dict[str, float]:
    """Returns how often each node is expected to run."""
    return {
        name: chance * repeats(plan, plan.by_id[name].scope).expected
        for name, chance in run_chances(plan).items()
    }


@dataclass(slots=True)
class _Chances:
    plan: Plan
    chance: dict[Vertex, float] = field(default_factory=lambda: {(START, ""): 1.0})
    rank: dict[Vertex, int] = field(default_factory=lambda: {(START, ""): 0})
    dominator: dict[Vertex, Vertex] = field(default_factory=lambda: {(START, ""): (START, "")})
    decision: dict[Vertex, Vertex | None] = field(default_factory=lambda: {(START, ""): None})
    """The nearest port on the way up the dominators, the vertex itself included."""

    def visit(self, node: PlanNode) -> float:
        """Places a node whose parents are placed, with its ports; returns its chance."""
        ways = [(self._leaves(link), self._weight(link)) for link in node.incoming]
        vertex = (node.id, "")
        if not ways:
            self._place(vertex, (START, ""), 0.0)
            return 0.0
        above = ways[0][0]
        for source, _ in ways[1:]:
            above = self._meet(above, source)
        before = self.chance[above]
        shares = [
            (source, self.chance[source] * weight / before if before else 0.0)
            for source, weight in ways
        ]
        chance = before * min(1.0, self._any(shares, above))
        self._place(vertex, above, chance)
        if node.ports != ("",):
            for port, share in port_chances(self.plan, node).items():
                self._place((node.id, port or "-"), vertex, chance * share, port=True)
        return chance

    def _place(self, vertex: Vertex, above: Vertex, chance: float, *, port: bool = False) -> None:
        self.rank[vertex] = len(self.rank)
        self.dominator[vertex] = above
        self.chance[vertex] = chance
        self.decision[vertex] = vertex if port else self.decision[above]

    def _leaves(self, link: Link) -> Vertex:
        if link.source == START or self.plan.by_id[link.source].ports == ("",):
            return (link.source, "")
        return (link.source, link.port or "-")

    @staticmethod
    def _weight(link: Link) -> float:
        return 1.0 if link.when is None else TAKEN_WHEN

    def _meet(self, a: Vertex, b: Vertex) -> Vertex:
        while a != b:
            if self.rank[a] < self.rank[b]:
                a, b = b, a
            a = self.dominator[a]
        return a

    def _any(self, shares: list[tuple[Vertex, float]], above: Vertex) -> float:
        """Returns the chance that at least one edge is taken, `above` having run."""
        if any(share >= 1.0 - 1e-12 for _, share in shares):
            return 1.0
        groups: list[tuple[list[Mapping[str, str]], float]] = []
        for source, share in shares:
            needs = dict(self._needs(source, above))
            for position, (others, total) in enumerate(groups):
                if all(_exclude(needs, other) for other in others):
                    groups[position] = ([*others, needs], total + share)
                    break
            else:
                groups.append(([needs], share))
        none = 1.0
        for _, total in groups:
            none *= 1.0 - min(1.0, total)
        return 1.0 - none

    def _needs(self, vertex: Vertex, above: Vertex) -> Iterator[tuple[str, str]]:
        """Yields the ports that must be taken on every way from `above` to a vertex."""
        port = self.decision[vertex]
        while port is not None and self.rank[port] > self.rank[above]:
            yield port
            port = self.decision[self.dominator[port]]


def _exclude(a: Mapping[str, str], b: Mapping[str, str]) -> bool:
    """Whether two sets of ports cannot all be taken: they differ in one node's."""
    return any(node in b and b[node] != port for node, port in a.items())
