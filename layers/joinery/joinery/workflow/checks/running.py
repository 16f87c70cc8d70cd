"""Reports what no machine can do: nodes that take too long, and conditions out of place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joinery import limits
from joinery.workflow.checks.edges import RawGraph
from joinery.workflow.durations import parse_duration
from joinery.workflow.graph import START, Structure
from joinery.workflow.model import WAITING_NODE_TYPES
from joinery.workflow.report import Collector


def check_running(
    data: Mapping[str, Any], graph: RawGraph, structure: Structure, out: Collector
) -> None:
    """Reports timeouts beyond one invocation, and `when` where nothing decides it."""
    defaults = data.get("defaults")
    if isinstance(defaults, dict):
        _check_timeout("the default timeout", defaults.get("timeout"), "/defaults/timeout", out)
    for node in graph.nodes.values():
        name, waits = f"node '{node.id}'", node.type in WAITING_NODE_TYPES
        pointer = f"{node.pointer}/timeout"
        _check_timeout(name, node.data.get("timeout"), pointer, out, waits=waits)
    for edge in graph.edges:
        link = edge.link
        back = link in structure.back_edges
        if link.when is None or not (link.source == START or back):
            continue
        where = "leads back in a loop" if back else "leaves start"
        out.add(
            "plan.when_not_available",
            f"edge {link.source} -> {link.target}: 'when' does not run on an edge that {where}",
            f"{edge.pointer}/when",
            hint="put a condition node between them",
            node_id=None if link.source == START else link.source,
        )


def _check_timeout(
    name: str, timeout: Any, pointer: str, out: Collector, *, waits: bool = False
) -> None:
    try:
        seconds = parse_duration(timeout)
    except ValueError:
        return  # reported as a value
    if waits and seconds > limits.WAIT_TIMEOUT_S:
        days = limits.WAIT_TIMEOUT_S // 86_400
        message = f"{name}: a timeout of {seconds:g} s; {days} days is the most"
        out.add("limit.timeout", message, pointer, hint=f"write {days}d or less")
    elif not waits and seconds > limits.NODE_TIMEOUT_S:
        out.add(
            "limit.timeout",
            f"{name}: a timeout of {seconds:g} s; a node that waits for no person may take "
            f"{limits.NODE_TIMEOUT_S} s at most",
            pointer,
            hint=f"write {limits.NODE_TIMEOUT_S // 60}m or less, or split the node's work",
        )
