"""How long nodes take, and what they may do: what shares an invocation follows from it.

This module is imported by every node invocation: standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from joinery import limits
from joinery.compiler.plan import CODE_TYPES, MODEL_TYPES, PURE_TYPES, Plan, PlanNode
from joinery.workflow.graph import END

PURE_NEED_S = 15.0
"""Time that an invocation must still have for a node that only computes."""

LEAST, USUAL, MOST = 0, 1, 2
"""Cases of `model_calls_of`."""

ATTEMPTS_OF_A_WALK = 100
"""A Task that walks is invoked again so often at most; most attempts are made inside."""


def is_pure(node: PlanNode) -> bool:
    """Whether a node only computes; `end` writes the end of the run and is done at once."""
    return node.type in PURE_TYPES or node.id == END


def has_effects(node: PlanNode) -> bool:
    """Whether a node may do something outside; types that are not known here do."""
    if node.type in MODEL_TYPES:
        return bool(node.spec.get("tools"))
    return not is_pure(node)


def seconds_of(node: PlanNode) -> float:
    """Returns how long a node is expected to take."""
    if node.type in CODE_TYPES:
        return limits.ASSUMED_CODE_S
    if node.type in MODEL_TYPES:
        return limits.ASSUMED_MODEL_CALL_S * model_calls_of(node)[1]
    return limits.ASSUMED_PLAIN_NODE_S if is_pure(node) else limits.ASSUMED_MODEL_CALL_S


def model_calls_of(node: PlanNode) -> tuple[int, int, int]:
    """Returns the least, usual and most calls of a model by one attempt of a node.

    Calls that are repeated because they failed, or because the answer was empty, had the
    wrong form or failed a check, and those that shorten a conversation are left out.
    """
    if node.type not in MODEL_TYPES:
        return 0, 0, 0
    if not node.spec.get("tools"):
        return 1, 1, 1
    rounds = int(node.spec["max_rounds"])
    # An answer in words is asked for once more, as data.
    form = int(node.spec.get("schema") is not None)
    return 1, min(rounds, limits.ASSUMED_AGENT_ROUNDS) + form, rounds + form


def need_of(node: PlanNode) -> float:
    """Returns how much of an invocation a node may take at most."""
    return min(node.timeout_s, PURE_NEED_S if is_pure(node) else limits.NODE_TIMEOUT_S)


@dataclass(frozen=True, slots=True)
class Worst:
    """The worst case of nodes that share a Task.

    Attributes:
        seconds: All of them, in all rounds, up to their timeouts.
        attempts: Attempts of all of them, in all rounds.
        short: How often an invocation may run short of time; 0 when it cannot.
    """

    seconds: float
    attempts: int
    short: int


def _most(plan: Plan, holder: str) -> int:
    """Returns the most rounds of a loop, or items of an iterate node."""
    if holder in plan.loop_of:
        return plan.loop_of[holder].max_rounds
    return plan.iterate_of[holder].max_items


def worst_of(plan: Plan, nodes: Sequence[str], depth: int) -> Worst:
    """Returns the worst case of nodes that run one after another in one Task.

    Args:
        plan: The plan.
        nodes: The nodes.
        depth: How many loops and iterate nodes are around the Task; what is inside is counted.
    """
    seconds, visits, again, longest = 0.0, 0, 0, 0.0
    single = max(plan.by_id[name].attempts for name in nodes)
    for name in nodes:
        node = plan.by_id[name]
        if is_pure(node):
            seconds += node.timeout_s if name == END else 0.0
            continue
        rounds = math.prod(_most(plan, name) for name in node.scope[depth:])
        seconds += node.timeout_s * rounds
        visits += rounds
        again += (node.attempts - 1) * rounds
        longest = max(longest, need_of(node))
    short = 0
    if seconds + PURE_NEED_S > limits.INVOCATION_S:
        # Whoever runs short has used what the longest node would not have needed.
        short = min(visits, math.ceil(seconds / max(1.0, limits.INVOCATION_S - longest)))
    return Worst(seconds, min(max(1 + again, single), ATTEMPTS_OF_A_WALK), short)
