"""A run as `joinery run --json` prints it, the same from every engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from joinery.runs.views import node_summary


def run_result(
    view: Mapping[str, Any], cost: Mapping[str, Any] | None, node_ids: Iterable[str]
) -> dict[str, Any]:
    """Returns a run's result.

    Args:
        view: The run as `GET /runs/{run_id}` answers it.
        cost: What `GET /runs/{run_id}/cost` answers; None where there is no AWS.
        node_ids: All nodes of the graph; those that never began are `pending`.
    """
    usage = view.get("usage") or {}
    summary = node_summary(view["nodes"])
    nodes = {
        node_id: {
            "status": summary[node_id]["status"] if node_id in summary else "pending",
            "attempts": summary[node_id]["attempts"] if node_id in summary else 0,
        }
        for node_id in dict.fromkeys([*node_ids, *summary])
        if node_id != "end"
    }
    result: dict[str, Any] = {
        "run_id": view["run_id"],
        "status": view["status"],
        "outputs": view.get("outputs"),
    }
    if view.get("error"):
        result["error"] = view["error"]
    return {
        **result,
        "nodes": nodes,
        "transitions": cost["transitions"] if cost else 0,
        "transitions_predicted": cost["transitions_predicted"] if cost else 0,
        "aws_calls": dict(cost["aws_calls"]) if cost else {},
        "tokens": {
            "input": int(usage.get("input_tokens", 0)),
            "output": int(usage.get("output_tokens", 0)),
        },
        "model_calls": int(usage.get("model_calls", 0)),
        "model_usd": float(usage.get("usd", 0.0)),
        **{name: view[name] for name in ("estimate", "budget") if name in view},
        **({"unpriced": usage["unpriced"]} if usage.get("unpriced") else {}),
        "price_usd": cost["price_usd"] if cost else 0.0,
    }
