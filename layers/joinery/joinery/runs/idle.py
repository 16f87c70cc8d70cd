"""How long a run has waited for people: time that the breaker does not count."""

from __future__ import annotations

from typing import Final

from joinery.compiler.plan import Plan
from joinery.runs.deps import Deps
from joinery.runs.model import RunRecord

WAITING_FOR_PEOPLE: Final = frozenset({"review", "question", "callback", "wait"})
"""Nodes that wait for a person, another system or a time."""


def waited_s(deps: Deps, plan: Plan, run: RunRecord, since: float) -> float:
    """Returns the seconds since a moment in which a node waited for somebody.

    Nodes that wait at the same time count once. Nothing is read where the plan has none.
    """
    if not any(node.type in WAITING_FOR_PEOPLE for node in plan.nodes):
        return 0.0
    now = deps.clock()
    spans = sorted(
        (max(since, record.started_at), min(now, record.ended_at or now))
        for record in deps.store.nodes(run.run_id)
        if plan.by_ord[record.key.ord].type in WAITING_FOR_PEOPLE and record.started_at
    )
    total, end = 0.0, since
    for begins, ends in spans:
        total += max(0.0, ends - max(begins, end))
        end = max(end, ends)
    return total
