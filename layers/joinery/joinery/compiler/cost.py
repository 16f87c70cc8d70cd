"""What a compiled machine costs: the figures that `joinery plan` prints.

The machine is walked in `walk`, what its states weigh stands in `weights`, how likely
what runs in `chances`; which limits are near is said in `headroom`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from joinery import limits
from joinery.compiler.chances import expected_rounds
from joinery.compiler.emit import Emitted
from joinery.compiler.headroom import Payload, Sizes, largest_payload, near_limits
from joinery.compiler.plan import MODEL_TYPES, Plan
from joinery.compiler.ranges import Range, exactly
from joinery.compiler.walk import Walk, Weight, measure
from joinery.compiler.weights import history_events, model_calls, of_nodes, prices
from joinery.errors import Problem

__all__ = ["Range", "Report", "Weight", "analyse_cost", "expected_rounds", "measure"]


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of a run and of its machine.

    Attributes:
        states: States in the machine.
        transitions: State transitions, retries left out.
        history_events: Events in the execution's history, retries left out.
        model_calls: Calls of models, retries left out.
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
    price_usd: Range
    price_by_service: Mapping[str, Range]
    definition_bytes: int
    plan_bytes: int
    payload: Payload
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = field(default=())
    children: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is near a limit, and what else is worth saying."""
        return (*(problem.message for problem in self.problems), *self.notes)

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as `joinery plan --json` prints it."""
        return {
            "states": self.states,
            "transitions": self.transitions.rounded(),
            "history_events": self.history_events.rounded(),
            "model_calls": self.model_calls.rounded(),
            "price_usd": self.price_usd.dollars(),
            "price_by_service": {k: v.dollars() for k, v in self.price_by_service.items()},
            "payload_bytes_max": self.payload.bytes,
            "definition_bytes": self.definition_bytes,
            "plan_bytes": self.plan_bytes,
            "warnings": list(self.warnings),
            "children": list(self.children),
        }


def analyse_cost(plan: Plan, emitted: Emitted) -> Report:
    """Returns the figures of a compiled plan, with a warning for each limit that is near."""
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
        model_calls=of_nodes(walk, model_calls),
        price_usd=total,
        price_by_service=by_service,
        definition_bytes=sizes.definition,
        plan_bytes=sizes.plan,
        payload=largest_payload(plan, emitted),
        problems=tuple(near_limits(plan, emitted, sizes)),
        notes=tuple(_notes(plan)),
    )


def _notes(plan: Plan) -> list[str]:
    models = sorted(
        {
            f"{n.spec['model'].get('provider', 'local')}:{n.spec['model'].get('name', 'default')}"
            for n in plan.nodes
            if n.type in MODEL_TYPES
        }
    )
    if not models:
        return []
    return [f"model fees are not in the price: no price is known for {', '.join(models)}"]
