"""Where a workflow runs: as a machine of many states, or inline, in one Task.

Inline, one invocation walks the whole plan, with branches side by side in threads. That
costs one transition and the time of the longest way, and needs a workflow that is done
in one invocation and waits for nobody.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from joinery import limits
from joinery.compiler.chances import rounds_of, run_chances
from joinery.compiler.compile import Compiled, compile_standard
from joinery.compiler.cost import Report, analyse_cost
from joinery.compiler.emit import Emitted, emit
from joinery.compiler.plan import WAITING_TYPES, Plan, PlanNode, items_of
from joinery.compiler.ranges import Range, exactly
from joinery.compiler.times import seconds_of
from joinery.errors import InvalidWorkflow, Problem
from joinery.workflow.bodies import ITEM
from joinery.workflow.graph import START

if TYPE_CHECKING:
    from joinery.workflow.children import KnownChild

STANDARD, INLINE = "standard", "inline"

SLOWEST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Place:
    """A workflow at one of the places where it may run.

    Attributes:
        run_on: `standard` or `inline`.
        compiled: The workflow compiled for it; None when it cannot be.
        ruled_out: Why it cannot run there; empty when it can.
    """

    run_on: str
    compiled: Compiled | None
    ruled_out: tuple[Problem, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns the place as `joinery plan --json` prints it."""
        report = self.compiled.report if self.compiled else None
        return {
            "transitions": report.transitions.rounded() if report else None,
            "price_usd": report.price_usd.dollars() if report else None,
            "ruled_out": [problem.to_dict() for problem in self.ruled_out],
        }


def places_of(
    plan: Plan, arn: str, children: Mapping[str, KnownChild] | None = None
) -> dict[str, Place]:
    """Returns a plan compiled for both places, with what rules either out."""
    try:
        standard = Place(STANDARD, compile_standard(plan, arn, children))
    except InvalidWorkflow as error:
        standard = Place(STANDARD, None, error.problems)
    flat = Plan(**{**_fields(plan), "groups": {}, "whole": (), "opt": 0})
    emitted = emit(flat, arn)
    # The nodes cost what they cost at one Task each, but for the time of the function.
    nodes = analyse_cost(flat, emitted)
    inline = _compile_inline(plan, arn, nodes)
    return {STANDARD: standard, INLINE: Place(INLINE, inline, tuple(_against(plan, emitted)))}


def choose(run_on: str, places: Mapping[str, Place]) -> Compiled:
    """Returns the workflow as it will run.

    Args:
        run_on: `standard`, `inline`, or `auto` for the cheaper one that is possible;
            `standard` where they cost the same.
        places: The workflow at both places.

    Raises:
        InvalidWorkflow: It cannot run there.
    """
    wanted = [STANDARD, INLINE] if run_on == "auto" else [run_on]
    fits = [p.compiled for p in map(places.__getitem__, wanted) if p.compiled and not p.ruled_out]
    if not fits:
        raise InvalidWorkflow([problem for name in wanted for problem in places[name].ruled_out])
    # Rounded, since sums in another order differ in their last digits.
    return min(fits, key=lambda compiled: round(compiled.report.price_usd.expected, 12))


# -- inline ----------------------------------------------------------------------------------


def _compile_inline(plan: Plan, arn: str, nodes: Report) -> Compiled:
    plan = Plan(**{**_fields(plan), "groups": {}, "whole": (), "run_on": INLINE})
    emitted = emit(plan, arn)
    report = analyse_cost(plan, emitted)
    seconds = longest_way(plan)
    paid = seconds.scaled(limits.RUN_NODE_MEMORY_GB * limits.LAMBDA_USD_PER_GB_S)
    by_service = {
        **nodes.price_by_service,
        "states": report.price_by_service["states"],
        "lambda": paid + exactly(limits.LAMBDA_USD_PER_REQUEST),
    }
    total = Range()
    for part in by_service.values():
        total += part
    report = replace(
        report, model_calls=nodes.model_calls, price_by_service=by_service, price_usd=total
    )
    return Compiled(plan, emitted, report)


def longest_way(plan: Plan) -> Range:
    """Returns the seconds of the longest way through a plan: what branches share counts once."""
    chance = run_chances(plan)
    times: dict[str, Range] = {}
    for node in plan.nodes:
        rounds = _in_a_row(plan, node)
        runs = Range(float(chance[node.id] >= 1.0 - 1e-9), chance[node.id], 1.0)
        times[node.id] = rounds.times(runs).scaled(seconds_of(node))
    return Range(
        _longest(plan, {name: time.min for name, time in times.items()})[0],
        _longest(plan, {name: time.expected for name, time in times.items()})[0],
        _longest(plan, {name: time.max for name, time in times.items()})[0],
    )


def _in_a_row(plan: Plan, node: PlanNode) -> Range:
    """Returns how often a node runs after itself: in rounds, and in items beyond those at once."""
    times = Range(1.0, 1.0, 1.0)
    for name in node.scope:
        if name in plan.loop_of:
            times = times.times(rounds_of(plan, plan.loop_of[name]))
        else:
            at_once = plan.iterate_of[name].concurrency
            times = times.times(Range(*(math.ceil(n / at_once) for n in items_of(plan, name))))
    return times


def _longest(plan: Plan, seconds: Mapping[str, float]) -> tuple[float, list[str]]:
    """Returns the length of the longest way through a plan, and its nodes."""
    end: dict[str, float] = {START: 0.0}
    before: dict[str, str] = {}
    for node in plan.nodes:
        latest = max(_awaited(plan, node), key=lambda name: end.get(name, 0.0))
        before[node.id] = latest
        end[node.id] = end[latest] + seconds[node.id]
    last = max(end, key=end.__getitem__)
    total, way = end[last], []
    while last != START:
        way.append(last)
        last = before[last]
    return total, way[::-1]


def _awaited(plan: Plan, node: PlanNode) -> list[str]:
    """Returns the nodes that must have ended before a node: behind `done` all of the items'."""
    names = [link.source for link in node.incoming] or [START]
    for link in node.incoming:
        if link.source in plan.iterate_of and link.port != ITEM:
            names.extend(plan.iterate_of[link.source].body)
    return names


# -- what rules inline out -------------------------------------------------------------------


def _against(plan: Plan, emitted: Emitted) -> Iterator[Problem]:
    for node in plan.nodes:
        if node.type in WAITING_TYPES:
            yield _problem(
                "plan.inline_waits",
                f"node '{node.id}' waits for somebody, and inline that is paid by the second",
                "run it on: standard",
                node.id,
            )
    yield from _too_long(plan)
    width, fork = _width(plan, emitted, emitted.definition)
    if width > limits.INLINE_WIDTH:
        yield _problem(
            "plan.inline_width",
            f"{width:,} branches run side by side from '{fork[0]}' on; "
            f"one invocation runs {limits.INLINE_WIDTH}",
            "run it on: standard, or make the fork narrower",
            fork[1],
        )


def _too_long(plan: Plan) -> Iterator[Problem]:
    """Yields a problem where the longest way, each branch taken, passes the budget."""

    def expected(node: PlanNode) -> float:
        return seconds_of(node) * _in_a_row(plan, node).expected

    times = {node.id: expected(node) for node in plan.nodes}
    seconds, way = _longest(plan, times)
    if seconds <= limits.INLINE_BUDGET_S:
        return
    slowest = heapq.nlargest(SLOWEST_NAMED, way, key=times.__getitem__)
    shown = ", ".join(f"'{name}' {times[name]:,.0f} s" for name in slowest)
    yield _problem(
        "plan.inline_time",
        f"the longest way is expected to take {seconds:,.0f} s, of which {shown}; "
        f"one invocation has {limits.INLINE_BUDGET_S} s",
        "run it on: standard, or say fewer expected_rounds where that is so",
        slowest[0],
    )


def _width(
    plan: Plan, emitted: Emitted, scope: Mapping[str, Any]
) -> tuple[int, tuple[str, str | None]]:
    """Returns how many nodes run side by side at most, and in which state from which node on."""
    best: tuple[int, tuple[str, str | None]] = (1, ("", None))
    for name, state in scope["States"].items():
        width = 1
        if state["Type"] == "Map":
            items = state["Items"]
            of_fork = isinstance(items, list)
            # Not `MaxConcurrency`: an inline Map that cannot be as wide as the node says has less.
            node = emitted.info[name].nodes[0]
            count = len(items) if of_fork else plan.iterate_of[node].at_once
            width = count * _width(plan, emitted, state["ItemProcessor"])[0]
        elif state["Type"] == "Parallel":
            width = sum(_width(plan, emitted, branch)[0] for branch in state["Branches"])
        if width > best[0]:
            nodes = emitted.info[name].nodes
            best = (width, (name, nodes[0] if nodes else None))
    return best


def _problem(code: str, message: str, hint: str, node: str | None) -> Problem:
    return Problem(
        code, message, hint=hint, node_id=node, pointer=f"/nodes/{node}" if node else "/run_on"
    )


def _fields(plan: Plan) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in Plan.__dataclass_fields__}
