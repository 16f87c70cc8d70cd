"""What a compiled machine costs: the figures that `joinery plan` prints.

The machine is walked in `walk`, what its states weigh stands in `weights`, how likely
what runs in `chances`; which limits are near is said in `headroom`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from joinery import limits
from joinery.compiler.chances import expected_rounds
from joinery.compiler.emit import Emitted
from joinery.compiler.fees import Fee, Fees
from joinery.compiler.headroom import Payload, Sizes, largest_payload, near_limits
from joinery.compiler.plan import DEPTH_DEFAULT, MODEL_TYPES, Plan, PlanLoop
from joinery.compiler.ranges import Range, exactly
from joinery.compiler.walk import Walk, Weight, measure
from joinery.compiler.weights import history_events, model_calls, per_node, prices
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
        }


def analyse_cost(plan: Plan, emitted: Emitted, prices_of_models: Prices | None = None) -> Report:
    """Returns the figures of a compiled plan, with a warning for each limit that is near.

    Args:
        plan: The plan.
        emitted: Its machine.
        prices_of_models: What models cost; the known prices and the installation's own when None.
    """
    walk = Walk(plan, emitted)
    transitions = walk.sum(lambda _name, _info: 1.0)
    events = walk.sum(history_events(plan)) + exactly(limits.SFN_EVENTS_EXECUTION)
    by_service = prices(walk, transitions)
    total = Range()
    for part in by_service.values():
        total += part
    sizes = Sizes.of(plan, emitted, events.max)
    return Report(
        states=len(emitted.info),
        transitions=transitions,
        history_events=events,
        model_calls=walk.sum(per_node(walk, model_calls)),
        **_models(plan, walk, prices_of_models),
        price_usd=total,
        price_by_service=by_service,
        definition_bytes=sizes.definition,
        plan_bytes=sizes.plan,
        payload=largest_payload(plan, emitted),
        problems=tuple(near_limits(plan, emitted, sizes)),
        notes=tuple(_notes(plan)),
    )


def _models(plan: Plan, walk: Walk, prices: Prices | None) -> dict[str, Any]:
    """Returns the figures of the models; the least is without a word of an answer."""
    fees = Fees(plan, prices or prices_from(os.environ))
    each = {node.id: fee for node in plan.nodes if (fee := fees.of(node)) is not None}
    if not each:
        none = Range()
        return {"input_tokens": none, "output_tokens": none, "model_usd": none, "unpriced": ()}

    def summed(figure: Callable[[Fee], float]) -> Range:
        return walk.sum(per_node(walk, lambda n: figure(each[n.id]) if n.id in each else 0.0))

    prompts, answers = summed(lambda f: f.input_tokens), summed(lambda f: f.output_tokens)
    usd = summed(lambda f: f.usd or 0.0)
    return {
        "input_tokens": prompts,
        "output_tokens": Range(0.0, answers.expected, summed(lambda f: f.most_output).max),
        "model_usd": Range(
            summed(lambda f: f.least_usd or 0.0).min,
            usd.expected,
            summed(lambda f: f.most_usd or 0.0).max,
        ),
        "unpriced": tuple(
            sorted({f"{fee.provider}:{fee.model}" for fee in each.values() if fee.usd is None})
        ),
    }


def _notes(plan: Plan) -> list[str]:
    depth = plan.breaker.get("depth", DEPTH_DEFAULT)
    if plan.breaker.get("off") or depth == "off":
        return []
    return [
        f"loop '{loop.loop}' may have {loop.max_rounds} rounds, and the breaker stops a run that "
        f"asks a model in round {depth + 1}: see 'breaker: depth'"
        for loop in plan.loops
        if loop.max_rounds > depth and _asks(plan, loop)
    ]


def _asks(plan: Plan, loop: PlanLoop) -> bool:
    return any(plan.by_id[name].type in MODEL_TYPES for name in loop.body)
