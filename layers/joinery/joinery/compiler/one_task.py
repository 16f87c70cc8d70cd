"""The machine of a workflow that runs inline: one Task that walks the whole plan."""

from __future__ import annotations

from joinery.compiler.emit import Emitted
from joinery.compiler.plan import Plan
from joinery.compiler.states import StateInfo, invoke_all

ALL_NODES = "all nodes"
"""Name of the one state."""


def one_task(plan: Plan, run_node_arn: str) -> Emitted:
    """Returns the machine; equal plans give equal bytes."""
    definition = {
        "Comment": (
            f"{plan.name} | graph sha256:{plan.graph_hash[:16]} | joinery {plan.compiler} inline"
        ),
        "QueryLanguage": "JSONata",
        "StartAt": ALL_NODES,
        "States": {ALL_NODES: {**invoke_all(plan, run_node_arn), "End": True}},
    }
    return Emitted(definition, {ALL_NODES: StateInfo("task", ())})
