"""Walks a compiled machine and sums up what its states weigh.

Least, expected and most are found on the definition itself, not on the workflow,
so they hold for what really runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from joinery.compiler.chances import port_chances, repeats, run_chances
from joinery.compiler.distributed import EXCEEDED, is_distributed
from joinery.compiler.emit import Emitted
from joinery.compiler.plan import Plan, items_of
from joinery.compiler.ranges import Range, exactly
from joinery.compiler.states import StateInfo

Weight = Callable[[str, StateInfo], "float | Range"]
"""What one visit of a state adds, by its name; boxes count themselves only."""

Scope = Mapping[str, Any]
"""A `States` map with its `StartAt`: the machine's own or a branch's."""


def measure(plan: Plan, emitted: Emitted, weight: Weight) -> Range:
    """Sums a weight over the states that a run visits."""
    return Walk(plan, emitted).sum(weight)


def boxes(plan: Plan, info: StateInfo, state: Mapping[str, Any]) -> Iterator[tuple[Scope, Range]]:
    """Yields the scopes inside a state, each with how often one visit runs it."""
    if info.kind == "iterate":
        yield state["ItemProcessor"], Range(*items_of(plan, info.nodes[0]))
    elif state["Type"] == "Map":
        yield state["ItemProcessor"], exactly(len(state["Items"]))
    for branch in state.get("Branches", ()):
        yield branch, exactly(1)


class Walk:
    """The states of a machine with how likely each is entered.

    Attributes:
        runs: How likely each node runs, within a round of the loops around it.
        chance: How likely each state is entered, within such a round.
    """

    def __init__(self, plan: Plan, emitted: Emitted) -> None:
        self.plan, self.emitted = plan, emitted
        self.runs = run_chances(plan)
        self.chance: dict[str, float] = {}
        self._orders: dict[int, list[str]] = {}
        self._enter(emitted.definition, 1.0)

    def sum(self, weight: Weight) -> Range:
        """Sums a weight over the states that a run visits."""
        return self._sum(self.emitted.definition, weight, (), 1.0)

    def sums_apart(self, weight: Weight) -> dict[str, Range]:
        """Sums a weight over the states of each kind of execution that a run consists of.

        Returns:
            The run's own sum under `""`, and under the id of each iterate node whose
            items are executions of their own that of one item.
        """
        found = {"": self._sum(self.emitted.definition, weight, (), 1.0, apart=True)}
        todo: list[Scope] = [self.emitted.definition]
        while todo:
            for name, state in todo.pop()["States"].items():
                info = self.emitted.info[name]
                for box, _ in boxes(self.plan, info, state):
                    todo.append(box)
                    if is_distributed(state):
                        around, here = info.scope + info.nodes, self.chance[name]
                        found[info.nodes[0]] = self._sum(box, weight, around, here, apart=True)
        return found

    # -- how likely each state is entered ----------------------------------------------------

    def _enter(self, scope: Scope, chance: float) -> None:
        states = scope["States"]
        order = self._orders[id(scope)] = _backwards(self.emitted, scope)
        self.chance.update(dict.fromkeys(order, 0.0))
        self.chance[scope["StartAt"]] = chance
        for name in reversed(order):
            here = self.chance[name]
            for target, share in self._ways(name, states[name]):
                self.chance[target] += here * share
            for box, _ in boxes(self.plan, self.emitted.info[name], states[name]):
                self._enter(box, here)

    def _ways(self, name: str, state: Mapping[str, Any]) -> list[tuple[str, float]]:
        """Returns the states that may follow, with their chances; back edges left out."""
        targets = onward(self.emitted, name, state)
        info = self.emitted.info[name]
        if state["Type"] != "Choice" or not info.ports:
            return [(target, 1.0 / len(targets)) for target in targets]
        node = self.plan.by_id[info.nodes[0]]
        here = self.chance[name]
        # A decision that was skipped takes no port, which leads to the default.
        runs = min(1.0, self.runs[node.id] / here) if here else 1.0
        ports = port_chances(self.plan, node)
        shares = dict.fromkeys(targets, 0.0)
        for port, target in info.ports:
            if target in shares:
                shares[target] += runs * ports[port]
        left = 1.0 - sum(shares.values())
        shares[state["Default"] if state["Default"] in shares else targets[-1]] += left
        return list(shares.items())

    # -- sums ----------------------------------------------------------------------------------

    def _sum(
        self,
        scope: Scope,
        weight: Weight,
        around: tuple[str, ...],
        base: float,
        *,
        apart: bool = False,
    ) -> Range:
        """Sums over a scope; `around` are the loops whose rounds the box around it counts.

        `base` is how likely the scope is entered. With `apart` what runs in executions of
        its own is left out.
        """
        states = scope["States"]
        least: dict[str, float] = {}
        most: dict[str, float] = {}
        expected = 0.0
        for name in self._orders[id(scope)]:
            info = self.emitted.info[name]
            weighs = weight(name, info)
            inner = weighs if isinstance(weighs, Range) else exactly(weighs)
            here = self.chance[name]
            early = _early(states[name])
            inside = info.scope + (info.nodes if info.kind == "iterate" else ())
            firsts = []
            for box, times in boxes(self.plan, info, states[name]):
                if apart and is_distributed(states[name]):
                    continue
                part = self._sum(box, weight, inside, here, apart=apart).times(times)
                inner += Range(0.0 if early else part.min, part.expected, part.max)
                firsts.append(self._least(weight, box["StartAt"]) if times.min else 0.0)
            if early:
                # What decides at once: one of the branches has begun.
                inner += Range(min(firsts, default=0.0))
            own = inner.times(repeats(self.plan, info.scope[len(around) :]))
            ways = onward(self.emitted, name, states[name])
            least[name] = own.min + min((least[way] for way in [*ways, *early]), default=0.0)
            most[name] = own.max + max((most[way] for way in ways), default=0.0)
            expected += (here / base if base else 0.0) * own.expected
        start = scope["StartAt"]
        return Range(least[start], expected, most[start])

    def _least(self, weight: Weight, name: str) -> float:
        weighs = weight(name, self.emitted.info[name])
        return weighs.min if isinstance(weighs, Range) else weighs


def onward(emitted: Emitted, name: str, state: Mapping[str, Any]) -> list[str]:
    """Returns the states that may follow one, back edges left out."""
    if state["Type"] != "Choice":
        return [state["Next"]] if "Next" in state else []
    targets = [row["Next"] for row in state["Choices"]] + [state["Default"]]
    back = emitted.info[name].back
    return list(dict.fromkeys(target for target in targets if target not in back))


def _early(state: Mapping[str, Any]) -> list[str]:
    """Returns where a state leads that is left before all in it has run."""
    catchers = [c for c in state.get("Catch", ()) if c["ErrorEquals"] != [EXCEEDED]]
    return [catcher["Next"] for catcher in catchers]


def _backwards(emitted: Emitted, scope: Scope) -> list[str]:
    """Returns the states so that each comes after all that may follow it."""
    states, start = scope["States"], scope["StartAt"]

    def ways_of(name: str) -> Iterator[str]:
        return iter([*onward(emitted, name, states[name]), *_early(states[name])])

    order: list[str] = []
    seen = {start}
    work: list[tuple[str, Iterator[str]]] = [(start, ways_of(start))]
    while work:
        name, ways = work[-1]
        for target in ways:
            if target not in seen:
                seen.add(target)
                work.append((target, ways_of(target)))
                break
        else:
            work.pop()
            order.append(name)
    return order
