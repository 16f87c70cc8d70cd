"""What a compiled machine costs: transitions, history events, model calls, price.

Least, expected and most are found on the definition itself, not on the workflow,
so they hold for what really runs. Expected values weigh the ports of a node
evenly; a loop's expected rounds follow from that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from joinery import limits
from joinery.compiler.emit import Emitted, StateInfo
from joinery.compiler.plan import MODEL_TYPES, WAITING_TYPES, Plan


@dataclass(frozen=True, slots=True)
class Range:
    """A figure of a run: least, expected, most."""

    min: float = 0.0
    expected: float = 0.0
    max: float = 0.0

    def __add__(self, other: Range) -> Range:
        return Range(self.min + other.min, self.expected + other.expected, self.max + other.max)

    def rounded(self) -> dict[str, float]:
        """Returns whole numbers for least and most, two digits for expected."""
        return {"min": round(self.min), "expected": round(self.expected, 2), "max": round(self.max)}

    def dollars(self) -> dict[str, float]:
        """Returns the figures in dollars, to a hundredth of a millionth."""
        return {
            "min": round(self.min, 8),
            "expected": round(self.expected, 8),
            "max": round(self.max, 8),
        }


Weight = Callable[[str, StateInfo], "float | Range"]
"""What one visit of a state adds, by its name; boxes count themselves only."""


@dataclass(frozen=True, slots=True)
class Report:
    """The figures that `joinery plan` prints."""

    states: int
    transitions: Range
    history_events_max: int
    model_calls: Range
    price_usd: Range
    price_by_service: Mapping[str, float]
    definition_bytes: int
    warnings: tuple[str, ...]
    children: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as `joinery plan --json` prints it."""
        return {
            "states": self.states,
            "transitions": self.transitions.rounded(),
            "history_events_max": self.history_events_max,
            "model_calls": self.model_calls.rounded(),
            "price_usd": self.price_usd.dollars(),
            "price_by_service": {k: round(v, 8) for k, v in self.price_by_service.items()},
            "definition_bytes": self.definition_bytes,
            "warnings": list(self.warnings),
            "children": list(self.children),
        }


def measure(plan: Plan, emitted: Emitted, weight: Weight) -> Range:
    """Sums a weight over the states that a run visits."""
    return _scope(plan, emitted, emitted.definition, weight, ())


def _scope(
    plan: Plan,
    emitted: Emitted,
    scope: Mapping[str, Any],
    weight: Weight,
    around: tuple[str, ...],
) -> Range:
    """Walks one `States` map as a graph without its back edges, last states first.

    `around` are the loops whose rounds the box around this scope counts already.
    """
    states: Mapping[str, Any] = scope["States"]
    order = _backwards(emitted, scope)
    least: dict[str, float] = {}
    most: dict[str, float] = {}
    chance: dict[str, float] = dict.fromkeys(order, 0.0)
    chance[scope["StartAt"]] = 1.0
    own: dict[str, Range] = {}
    for name in order:
        info = emitted.info[name]
        visit = weight(name, info)
        inner = visit if isinstance(visit, Range) else Range(visit, visit, visit)
        for box, times in _boxes(states[name]):
            part = _scope(plan, emitted, box, weight, info.scope)
            inner += Range(part.min * times, part.expected * times, part.max * times)
        rounds = [plan.loop_of[loop].max_rounds for loop in info.scope[len(around) :]]
        own[name] = Range(
            inner.min,
            inner.expected * math.prod(expected_rounds(most_) for most_ in rounds),
            inner.max * math.prod(rounds),
        )
        ways = [w for w, _ in _ways(emitted, name, states[name])]
        least[name] = own[name].min + min((least[w] for w in ways), default=0.0)
        most[name] = own[name].max + max((most[w] for w in ways), default=0.0)
    expected = 0.0
    for name in reversed(order):
        expected += chance[name] * own[name].expected
        for target, share in _ways(emitted, name, states[name]):
            chance[target] += chance[name] * share
    start = scope["StartAt"]
    return Range(least[start], expected, most[start])


def expected_rounds(max_rounds: int) -> float:
    """Returns the rounds of a loop that ends after each with a chance of one half."""
    return 2.0 - 0.5 ** (max_rounds - 1)


def _boxes(state: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], int]]:
    if state["Type"] == "Map":
        yield state["ItemProcessor"], len(state["Items"])
    for branch in state.get("Branches", ()):
        yield branch, 1


def _ways(emitted: Emitted, name: str, state: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Returns the states that may follow, with their chances; back edges left out."""
    if state["Type"] != "Choice":
        return [(state["Next"], 1.0)] if "Next" in state else []
    info = emitted.info[name]
    targets = [row["Next"] for row in state["Choices"]] + [state["Default"]]
    onward = [target for target in targets if target not in info.back]
    return [(target, 1.0 / len(onward)) for target in onward]


def _backwards(emitted: Emitted, scope: Mapping[str, Any]) -> list[str]:
    """Returns the states so that each comes after all that may follow it."""
    states = scope["States"]
    order: list[str] = []
    seen = {scope["StartAt"]}
    work: list[tuple[str, Iterator[tuple[str, float]]]] = [
        (scope["StartAt"], iter(_ways(emitted, scope["StartAt"], states[scope["StartAt"]])))
    ]
    while work:
        name, ways = work[-1]
        for target, _ in ways:
            if target not in seen:
                seen.add(target)
                work.append((target, iter(_ways(emitted, target, states[target]))))
                break
        else:
            work.pop()
            order.append(name)
    return order


# -- weights -------------------------------------------------------------------------------


def _events(plan: Plan, name: str, info: StateInfo) -> float:
    match info.kind:
        case "task":
            waits = any(plan.by_id[node].type in WAITING_TYPES for node in info.nodes)
            return limits.SFN_EVENTS_CALLBACK if waits else limits.SFN_EVENTS_TASK
        case "map":
            return limits.SFN_EVENTS_MAP + limits.SFN_EVENTS_MAP_ITEM * len(info.nodes)
        case "parallel":
            return limits.SFN_EVENTS_PARALLEL
    return limits.SFN_EVENTS_PLAIN


def analyse_cost(plan: Plan, emitted: Emitted) -> Report:
    """Returns the figures of a compiled plan, with a warning for each limit that is near."""
    import json

    calls = {n.id: 1.0 if n.type in MODEL_TYPES else 0.0 for n in plan.nodes}
    shares = map_shares(emitted)

    def model_calls(name: str, info: StateInfo) -> float:
        if info.kind != "task":
            return 0.0
        return sum(calls[node] for node in info.nodes) * shares.get(name, 1.0)

    transitions = measure(plan, emitted, lambda _name, _info: 1.0)
    events = measure(plan, emitted, partial(_events, plan)).max + limits.SFN_EVENTS_EXECUTION
    by_service: dict[str, Range] = {
        service: measure(plan, emitted, _price(plan, shares, weigh))
        for service, weigh in _SERVICES.items()
    }
    by_service["states"] = Range(
        *(f * limits.SFN_USD_PER_TRANSITION for f in (
            transitions.min, transitions.expected, transitions.max
        ))
    )  # fmt: skip
    total = Range()
    for part in by_service.values():
        total += part
    size = len(json.dumps(emitted.definition, ensure_ascii=False).encode())
    return Report(
        states=len(emitted.info),
        transitions=transitions,
        history_events_max=int(events),
        model_calls=measure(plan, emitted, model_calls),
        price_usd=total,
        price_by_service={name: part.expected for name, part in by_service.items()},
        definition_bytes=size,
        warnings=tuple(_warnings(plan, int(events), size)),
    )


def map_shares(emitted: Emitted) -> dict[str, float]:
    """Returns, for the Task inside a Map over branches, the share of its nodes one item runs."""
    shares: dict[str, float] = {}

    def walk(scope: Mapping[str, Any]) -> None:
        for state in scope["States"].values():
            if state["Type"] == "Map":
                shares[state["ItemProcessor"]["StartAt"]] = 1.0 / len(state["Items"])
            for box, _ in _boxes(state):
                walk(box)

    walk(emitted.definition)
    return shares


def _price(plan: Plan, shares: Mapping[str, float], weigh: Callable[[str], float]) -> Weight:
    def weight(name: str, info: StateInfo) -> float:
        if info.kind != "task":
            return 0.0
        total = sum(weigh(plan.by_id[node].type) for node in info.nodes)
        return total * shares.get(name, 1.0)

    return weight


def _seconds(node_type: str) -> float:
    if node_type in MODEL_TYPES:
        return limits.ASSUMED_MODEL_CALL_S
    return limits.ASSUMED_PLAIN_NODE_S


def _lambda(node_type: str) -> float:
    return (
        limits.LAMBDA_USD_PER_REQUEST
        + _seconds(node_type) * limits.RUN_NODE_MEMORY_GB * limits.LAMBDA_USD_PER_GB_S
    )


def _dynamodb(node_type: str) -> float:
    """Claim, started event, counter twice, and the result's transaction (double price)."""
    result = math.ceil(limits.ASSUMED_RESULT_BYTES / limits.DYNAMODB_WRITE_UNIT_BYTES)
    writes = 4 + 2 * (result + 1)
    chunks = _seconds(node_type) / limits.DURABLE_INTERVAL_S if node_type in MODEL_TYPES else 0
    reads = 4 + math.ceil(_seconds(node_type))
    return (writes + chunks) * limits.DYNAMODB_USD_PER_WRITE_UNIT + (
        reads * limits.DYNAMODB_USD_PER_READ_UNIT
    )


def _websocket(node_type: str) -> float:
    posts = 2.0
    if node_type in MODEL_TYPES:
        posts += _seconds(node_type) / limits.DELTA_INTERVAL_S
    return posts * limits.ASSUMED_VIEWERS * limits.WEBSOCKET_USD_PER_MESSAGE


_SERVICES: Mapping[str, Callable[[str], float]] = {
    "lambda": _lambda,
    "dynamodb": _dynamodb,
    "apigateway": _websocket,
}


def _warnings(plan: Plan, events: int, size: int) -> Iterator[str]:
    if events > limits.SFN_HISTORY_EVENTS * limits.SFN_HISTORY_WARN:
        share = events / limits.SFN_HISTORY_EVENTS
        yield f"the longest run makes {events:,} history events, {share:.0%} of the limit"
    if size > limits.SFN_DEFINITION_BYTES * limits.SFN_HISTORY_WARN:
        share = size / limits.SFN_DEFINITION_BYTES
        yield f"the definition has {size:,} bytes, {share:.0%} of the limit"
    models = sorted(
        {
            f"{n.spec['model'].get('provider', 'local')}:{n.spec['model'].get('name', 'default')}"
            for n in plan.nodes
            if n.type in MODEL_TYPES
        }
    )
    if models:
        yield f"model fees are not in the price: no price is known for {', '.join(models)}"
