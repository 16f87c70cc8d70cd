"""What a run is expected to use, settled when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joinery import limits
from joinery.compiler.fees import Fees, RunCosts, run_fees
from joinery.compiler.plan import MODEL_TYPES, Plan, PlanNode
from joinery.errors import JoineryError
from joinery.runs.deps import Deps

CHILD_DEPTH = limits.CHILD_DEPTH_MAX
"""Child workflows are followed so deep, as runs are."""


def with_terms(
    deps: Deps, plan: Plan, inputs: Mapping[str, Any], extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns what a new run is pinned to, with its budget and its estimate.

    A budget that was given takes the place of the workflow's, unit by unit.
    """
    pinned = dict(extra)
    if not any(node.type in MODEL_TYPES or node.type == "workflow" for node in plan.nodes):
        return pinned
    if "around" not in pinned:
        budget = {**plan.budget, **pinned.get("budget", {})}
        if budget:
            pinned["budget"] = budget
    pinned["estimate"] = expected(deps, plan, inputs, extra)
    return pinned


def expected(
    deps: Deps,
    plan: Plan,
    inputs: Mapping[str, Any] | None,
    extra: Mapping[str, Any],
    *,
    depth: int = 0,
) -> dict[str, Any]:
    """Returns what `run_fees` says of a run, its child runs included."""
    stands_in = "scripted" if extra.get("cassette") is not None else str(extra.get("model") or "")
    if deps.stage is not None:
        plan = plan.for_stage(deps.stage)
    fees = Fees(plan, deps.prices(), inputs, stands_in)

    def below(node: PlanNode) -> RunCosts | None:
        if deps.children is None or depth >= CHILD_DEPTH or not node.spec["workflow_id"]:
            return None
        try:
            child = deps.children.plan(f"{node.spec['workflow_id']}/{node.spec['version']}")
        except JoineryError:
            return None  # running the node says so
        return expected(deps, child, None, extra, depth=depth + 1)

    return run_fees(fees, below)
