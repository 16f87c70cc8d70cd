"""What expressions see: inputs, results of nodes, the loop, the item, the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joinery.compiler.plan import PlanNode
from joinery.runs.lists import Seen
from joinery.runs.model import RunRecord, loop_depth, round_before
from joinery.runs.ports import RunStore
from joinery.workflow.expressions import DictScope, Scope


def build_scope(
    store: RunStore,
    run: RunRecord,
    node: PlanNode,
    path: str,
    records: Mapping[str, Seen],
) -> Scope:
    """Returns the scope in which a node's expressions are evaluated.

    Args:
        store: Fetches inputs and results that are stored elsewhere.
        run: The run.
        node: The node whose expressions they are.
        path: Its path.
        records: Records by name, `previous:<id>` for those of the round before.
    """
    nodes = {name: _seen(store, run, records.get(name)) for name in node.reads}
    document: dict[str, Any] = {
        "inputs": store.inputs(run.run_id),
        "run": {"id": run.run_id},
        "nodes": nodes,
    }
    if run.session_id:
        document["session"] = {"id": run.session_id}
    parts = [int(part) for part in path.split(".")] if path else []
    if depth := loop_depth(node):
        document["loop"] = {
            "round": parts[depth - 1],
            "previous": {
                name: _seen(store, run, records.get(f"previous:{name}"))
                for name in node.previous
                if round_before(node, path) is not None
            },
        }
    for each in node.iterates:
        index = parts[node.scope.index(each)]
        place = nodes.setdefault(each, {})
        place["index"] = index
        if "output" in place:
            place["item"] = document["item"] = place["output"][index]
        else:
            document.pop("item", None)  # only that of the innermost is called so
    return DictScope(document)


def _seen(store: RunStore, run: RunRecord, record: Seen) -> Any:
    """Returns what a node looks like from outside; fields it has not are missing."""
    if isinstance(record, list):
        return [_seen(store, run, one) for one in record]
    if record is None:
        return {"status": "pending"}
    seen: dict[str, Any] = {"status": record.status}
    if record.usage:
        seen["usage"] = dict(record.usage)
    if record.terminal and record.status != "skipped":
        seen.update(store.result(run.run_id, record))
    return seen
