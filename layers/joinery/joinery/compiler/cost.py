"""What a compiled machine costs: the figures that `joinery plan` prints.

The machine is walked in `walk`, what its states weigh stands in `weights`, how likely
what runs in `chances`; which limits are near is said in `headroom`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from joinery.compiler import weights
from joinery.compiler.chances import expected_rounds
from joinery.compiler.emit import Emitted
from joinery.compiler.fees import Fee, Fees
from joinery.compiler.headroom import Payload, Sizes, largest_payload, near_limits
from joinery.compiler.plan import DEPTH_DEFAULT, MODEL_TYPES, Plan, PlanLoop
from joinery.compiler.ranges import Range
from joinery.compiler.times import LEAST, MOST, USUAL
from joinery.compiler.walk import Walk, Weight, measure
from joinery.compiler.weights import histories, model_calls, of_nodes, prices
from joinery.errors import Problem
from joinery.llm.prices import Prices, prices_from

__all__ = ["Range", "Report", "Weight", "analyse_cost", "expected_rounds", "measure"]


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of a run and of its machine.

    Attributes:
        states: States in the machine.
        transitions: State transitions, retries left out.
        history_events: Events in the execution's history, retries left out.
        model_calls: Calls of models, retries left out.
        input_tokens: Tokens of their prompts.
        output_tokens: Tokens of their answers.
        model_usd: What they cost, without those whose price nobody knows.
        unpriced: Those.
        price_usd: Dollars of a run, model fees left out.
        price_by_service: The same by service.
        definition_bytes: Size of the machine as it is published.
        plan_bytes: Size of the plan that every node reads.
        payload: The largest input, output or payload of a state.
        problems: Limits that are near (`warning`) or would be passed (`error`).
        notes: What else is worth saying.
        children: What the child workflows add, a line for each.
        items_apart: The iterate nodes whose items are executions of their own, with the
            events in the history of one.
    """

    states: int
    transitions: Range
    history_events: Range
    model_calls: Range
    input_tokens: Range
    output_tokens: Range
    model_usd: Range
    price_usd: Range
    price_by_service: Mapping[str, Range]
    definition_bytes: int
    plan_bytes: int
    payload: Payload
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = field(default=())
    children: tuple[str, ...] = ()
    unpriced: tuple[str, ...] = ()
    items_apart: Mapping[str, Range] = field(default_factory=dict)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is near a limit, and what else is worth saying."""
        unpriced = [
            f"no price is known for {', '.join(self.unpriced)}: the price of models is without it"
        ]
        priced = unpriced if self.unpriced else []
        return (*(problem.message for problem in self.problems), *self.notes, *priced)

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as `joinery plan --json` prints it."""
        return {
            "states": self.states,
            "transitions": self.transitions.rounded(),
            "history_events": self.history_events.rounded(),
            "model_calls": self.model_calls.rounded(),
            "input_tokens": self.input_tokens.rounded(),
            "output_tokens": self.output_tokens.rounded(),
            "model_usd": self.model_usd.dollars(),
            "unpriced": list(self.unpriced),
            "price_usd": self.price_usd.dollars(),
            "price_by_service": {k: v.dollars() for k, v in self.price_by_service.items()},
            "payload_bytes_max": self.payload.bytes,
            "definition_bytes": self.definition_bytes,
            "plan_bytes": self.plan_bytes,
            "warnings": list(self.warnings),
            "children": list(self.children),
            "items_apart": {name: each.rounded() for name, each in self.items_apart.items()},
        }


def analyse_cost(plan: Plan, emitted: Emitted, prices_of_models: Prices | None = None) -> Report:
    """Returns the figures of a compiled plan, with a warning for each limit that is near.

    Args:
        plan: The plan.
        emitted: Its machine.
        prices_of_models: What models cost; the known prices and the installation's own when None.
    """
    walk = Walk(plan, emitted)
    transitions = walk.sum(weights.transitions(plan))
    events = histories(walk)
    by_service = prices(walk, transitions)
    total = Range()
    for part in by_service.values():
        total += part
    sizes = Sizes.of(plan, emitted, {name: each.max for name, each in events.items()})
    return Report(
        states=len(emitted.info),
        transitions=transitions,
        history_events=events[""],
        model_calls=of_nodes(walk, model_calls),
        **_models(plan, walk, prices_of_models),
        price_usd=total,
        price_by_service=by_service,
        definition_bytes=sizes.definition,
        plan_bytes=sizes.plan,
        payload=largest_payload(plan, emitted),
        problems=tuple(near_limits(plan, emitted, sizes)),
        notes=(*_notes(plan), *_notes_on_items(plan, events)),
        items_apart={name: each for name, each in events.items() if name},
    )


def _models(plan: Plan, walk: Walk, prices: Prices | None) -> dict[str, Any]:
    """Returns the figures of the models; the least is without a word of an answer."""
    fees = Fees(plan, prices or prices_from(os.environ))
    each = {
        node.id: tuple(fee for case in (LEAST, USUAL, MOST) if (fee := fees.of(node, case)))
        for node in plan.nodes
        if node.type in MODEL_TYPES
    }
    if not each:
        none = Range()
        return {"input_tokens": none, "output_tokens": none, "model_usd": none, "unpriced": ()}

    def summed(figure: Callable[[Fee], float]) -> Range:
        return of_nodes(walk, lambda n, case: figure(each[n.id][case]) if n.id in each else 0.0)

    prompts, answers = summed(lambda f: f.input_tokens), summed(lambda f: f.output_tokens)
    longest = summed(lambda f: f.most_input).max
    usd = summed(lambda f: f.usd or 0.0)
    return {
        "input_tokens": Range(prompts.min, prompts.expected, longest),
        "output_tokens": Range(0.0, answers.expected, summed(lambda f: f.most_output).max),
        "model_usd": Range(
            summed(lambda f: f.least_usd or 0.0).min,
            usd.expected,
            summed(lambda f: f.most_usd or 0.0).max,
        ),
        "unpriced": tuple(
            sorted({f"{fee.provider}:{fee.model}" for fee, *_ in each.values() if fee.usd is None})
        ),
    }


def _notes(plan: Plan) -> list[str]:
    waits = [
        f"'{node.id}' may wait {duration(node.timeout_s)} for an answer; waiting costs nothing"
        for node in plan.nodes
        if node.type == "question"
    ]
    depth = plan.breaker.get("depth", DEPTH_DEFAULT)
    if plan.breaker.get("off") or depth == "off":
        return waits
    deep = [
        f"loop '{loop.loop}' may have {loop.max_rounds} rounds, and the breaker stops a run that "
        f"asks a model in round {depth + 1}: see 'breaker: depth'"
        for loop in plan.loops
        if loop.max_rounds > depth and _asks(plan, loop)
    ]
    return [*deep, *waits]


def _asks(plan: Plan, loop: PlanLoop) -> bool:
    return any(plan.by_id[name].type in MODEL_TYPES for name in loop.body)


def _notes_on_items(plan: Plan, events: Mapping[str, Range]) -> Iterator[str]:
    for name, each in events.items():
        if not name:
            continue
        iterate = plan.iterate_of[name]
        yield (
            f"each item of '{name}' is an execution of its own, {iterate.at_once:,} at once, "
            f"with a history of up to {each.max:,.0f} events; starting it costs a transition"
        )


def duration(seconds: float) -> str:
    """Returns a time in the largest unit that it is a whole number of: `7 days`, `90 s`."""
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        count, rest = divmod(seconds, size)
        if count and not rest:
            return f"{count:.0f} {unit}{'' if count == 1 else 's'}"
    return f"{seconds:g} s"
