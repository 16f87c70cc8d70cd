"""What one visit of a state weighs: history events, model calls, seconds, dollars.

Retries are left out everywhere: how many there are no plan can tell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from joinery import limits
from joinery.compiler.catchers import regions_of
from joinery.compiler.chances import repeats
from joinery.compiler.plan import (
    CODE_TYPES,
    MODEL_TYPES,
    WAITING_TYPES,
    Plan,
    PlanNode,
    items_of,
)
from joinery.compiler.ranges import Range, exactly
from joinery.compiler.states import StateInfo
from joinery.compiler.steps import measure_steps
from joinery.compiler.times import LEAST, MOST, USUAL, model_calls_of
from joinery.compiler.walk import Walk, Weight, boxes

PerNode = Callable[[PlanNode], float]
"""What one node adds when it runs."""

PerCase = Callable[[PlanNode, int], float]
"""The same in one of the cases `LEAST`, `USUAL` and `MOST`."""


def history_events(plan: Plan) -> Callable[[str, StateInfo], Range]:
    """Returns what weighs the events that entering and leaving a state writes into the history."""

    def weight(name: str, info: StateInfo) -> Range:
        match info.kind:
            case "task":
                single = limits.SFN_EVENTS_CALLBACK if waits(plan, info) else limits.SFN_EVENTS_TASK
                return exactly(single)
            case "map":
                items = len(info.nodes)
                return exactly(limits.SFN_EVENTS_MAP + limits.SFN_EVENTS_MAP_ITEM * items)
            case "iterate":
                map_ = exactly(limits.SFN_EVENTS_MAP)
                if plan.iterate_of[info.nodes[0]].distributed:
                    return map_  # what its items write is in histories of their own
                items_ = Range(*items_of(plan, info.nodes[0]))
                return map_ + items_.scaled(limits.SFN_EVENTS_MAP_ITEM)
            case "parallel":
                return exactly(limits.SFN_EVENTS_PARALLEL)
        return exactly(limits.SFN_EVENTS_PLAIN)

    return weight


def histories(walk: Walk) -> dict[str, Range]:
    """Returns the events in the histories of a run's executions; see `Walk.sums_apart`."""
    sums = walk.sums_apart(history_events(walk.plan))
    return {name: events + exactly(limits.SFN_EVENTS_EXECUTION) for name, events in sums.items()}


def transitions(plan: Plan) -> Callable[[str, StateInfo], Range]:
    """Returns what weighs the transitions of entering a state, and of the executions it starts."""

    def weight(_name: str, info: StateInfo) -> Range:
        if info.kind == "iterate" and plan.iterate_of[info.nodes[0]].distributed:
            starts = Range(*items_of(plan, info.nodes[0]))
            return exactly(1.0) + starts.scaled(limits.SFN_TRANSITIONS_CHILD_START)
        return exactly(1.0)

    return weight


def waits(plan: Plan, info: StateInfo) -> bool:
    """Whether a Task waits for its token."""
    return any(plan.by_id[node].type in WAITING_TYPES for node in info.nodes)


def per_node(walk: Walk, weigh: PerNode) -> Weight:
    """Returns the weight of a Task by the nodes it runs.

    A Task may be entered although its node is skipped: behind an edge with `when`, or
    in a region that runs in levels. Such a node counts nothing at least.
    """
    alone = _of_nodes(walk, lambda node: exactly(weigh(node)))

    def weight(name: str, info: StateInfo) -> Range:
        if info.kind == "task" and info.walks:
            return _of_group(walk, info, weigh, walk.chance[name])
        return alone(name, info)

    return weight


def of_nodes(walk: Walk, weigh: PerCase) -> Range:
    """Returns what all nodes of a run weigh; an agent with tools does not always the same."""

    def summed(case: int) -> Range:
        return walk.sum(per_node(walk, lambda node: weigh(node, case)))

    usual = summed(USUAL)
    if not any(node.spec.get("tools") for node in walk.plan.nodes):
        return usual
    return Range(summed(LEAST).min, usual.expected, summed(MOST).max)


def per_run_below(walk: Walk, figures: Mapping[str, Range]) -> Callable[[str, StateInfo], Range]:
    """Returns the weight of a Task by what the runs below its nodes come to, by node."""
    return _of_nodes(walk, lambda node: figures.get(node.id, Range()))


def _of_nodes(walk: Walk, weigh: Callable[[PlanNode], Range]) -> Callable[[str, StateInfo], Range]:
    shares = _map_shares(walk)
    raced: set[str] = set().union(*regions_of(walk.plan).values())

    def weight(name: str, info: StateInfo) -> Range:
        total = Range()
        if info.kind != "task":
            return total
        entered = walk.chance[name]
        for node in info.nodes:
            value = weigh(walk.plan.by_id[node]).scaled(shares.get(name, 1.0))
            runs = walk.runs[node]
            usual = value.expected * min(1.0, runs / entered) if entered else 0.0
            # A node that a join may stop need not have done anything.
            sure = runs >= entered - 1e-9 and node not in raced
            total += Range(value.min if sure else 0.0, usual, value.max)
        return total

    return weight


def _of_group(walk: Walk, info: StateInfo, weigh: PerNode, entered: float) -> Range:
    """Returns what a walk through a group weighs; in a Map, through the mean branch."""
    total = Range()
    for steps in info.walks:
        bounds = measure_steps(walk.plan, steps, weigh)
        usual = 0.0
        for step in steps:
            node = walk.plan.by_id[step.node]
            rounds = repeats(walk.plan, step.loops).expected
            runs = min(1.0, walk.runs[node.id] / entered) if entered else 0.0
            usual += weigh(node) * runs * rounds
        total += Range(bounds.min, usual, bounds.max)
    return total.scaled(1.0 / len(info.walks))


def per_invocation(value: float) -> Weight:
    """Returns the weight of a Task by its being entered, whatever its nodes do."""
    return lambda _name, info: value if info.kind == "task" else 0.0


def _map_shares(walk: Walk) -> dict[str, float]:
    """Returns, for the Task inside a Map over branches, the share of its nodes one item runs."""
    shares: dict[str, float] = {}

    def visit(scope: Mapping[str, Any]) -> None:
        for name, state in scope["States"].items():
            info = walk.emitted.info[name]
            if info.kind == "map":
                shares[state["ItemProcessor"]["StartAt"]] = 1.0 / len(state["Items"])
            for box, _ in boxes(walk.plan, info, state):
                visit(box)

    visit(walk.emitted.definition)
    return shares


# -- single nodes ---------------------------------------------------------------------------


def model_calls(node: PlanNode, case: int = USUAL) -> float:
    """Calls of a model by one attempt of a node, in the best, usual or worst case."""
    return float(model_calls_of(node)[case])


def seconds(node: PlanNode, case: int = USUAL) -> float:
    """How long a node is assumed to take."""
    if node.type in MODEL_TYPES:
        return limits.ASSUMED_MODEL_CALL_S * model_calls(node, case)
    return limits.ASSUMED_CODE_S if node.type in CODE_TYPES else limits.ASSUMED_PLAIN_NODE_S


def lambda_usd(node: PlanNode, case: int = USUAL) -> float:
    """Memory and time; a request is paid per Task, and one more for code, which runs elsewhere."""
    memory, requests = limits.RUN_NODE_MEMORY_GB, 0
    if node.type in CODE_TYPES:  # `run_node` waits for `run_code`: both are paid for
        memory, requests = memory + limits.RUN_CODE_MEMORY_GB, 1
    own = requests * limits.LAMBDA_USD_PER_REQUEST
    return own + seconds(node, case) * memory * limits.LAMBDA_USD_PER_GB_S


def dynamodb_usd(node: PlanNode, case: int = USUAL) -> float:
    """Claim, started event, counter twice, and the result's transaction (double price).

    What a model call may cost is held before it and settled after it: a write each. Each
    answer of an agent that may call tools is an event and an entry of its journal, which
    is a transaction with a look at the node.
    """
    result = math.ceil(limits.ASSUMED_RESULT_BYTES / limits.DYNAMODB_WRITE_UNIT_BYTES)
    writes = 4 + 2 * (result + 1)
    writes += 2 * math.ceil(model_calls(node, case))
    if node.spec.get("tools"):
        writes += math.ceil(model_calls(node, case)) * (2 + 2 * (result + 1))
    chunks = seconds(node, case) / limits.DURABLE_INTERVAL_S if node.type in MODEL_TYPES else 0
    reads = 4 + math.ceil(seconds(node, case))
    return (writes + chunks) * limits.DYNAMODB_USD_PER_WRITE_UNIT + (
        reads * limits.DYNAMODB_USD_PER_READ_UNIT
    )


def websocket_usd(node: PlanNode, case: int = USUAL) -> float:
    """Two events, and of a model's text one post an interval."""
    posts = 2.0
    if node.type in MODEL_TYPES:
        fresh = min(seconds(node, case), limits.DELTA_FRESH_S)
        settled = (seconds(node, case) - fresh) / limits.DELTA_SETTLED
        posts += (fresh + settled) / limits.DELTA_INTERVAL_S
    return posts * limits.ASSUMED_VIEWERS * limits.WEBSOCKET_USD_PER_MESSAGE


# -- services -------------------------------------------------------------------------------

_PER_NODE: Final[Mapping[str, PerCase]] = {
    "lambda": lambda_usd,
    "dynamodb": dynamodb_usd,
    "apigateway": websocket_usd,
}


def prices(walk: Walk, transitions: Range) -> dict[str, Range]:
    """Returns the price of a run in dollars, by service; model fees are not in it."""
    found = {"states": transitions.scaled(limits.SFN_USD_PER_TRANSITION)}
    for service, weigh in _PER_NODE.items():
        found[service] = of_nodes(walk, weigh)
    found["lambda"] += walk.sum(per_invocation(limits.LAMBDA_USD_PER_REQUEST))
    return found
