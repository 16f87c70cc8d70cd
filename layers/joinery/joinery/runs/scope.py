"""What expressions see: inputs, results of nodes, the loop, the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joinery.compiler.plan import PlanNode
from joinery.runs.model import NodeRecord, RunRecord, previous_round
from joinery.runs.ports import RunStore
from joinery.workflow.expressions import DictScope, Scope


def build_scope(
    store: RunStore,
    run: RunRecord,
    node: PlanNode,
    path: str,
    records: Mapping[str, NodeRecord],
) -> Scope:
    """Returns the scope in which a node's expressions are evaluated.

    Args:
        store: Fetches inputs and results that are stored elsewhere.
        run: The run.
        node: The node whose expressions they are.
        path: Its path.
        records: Records by name, `previous:<id>` for those of the round before.
    """
    document: dict[str, Any] = {
        "inputs": store.inputs(run.run_id),
        "run": {"id": run.run_id},
        "nodes": {name: _seen(store, run, records.get(name)) for name in node.reads},
    }
    if run.session_id:
        document["session"] = {"id": run.session_id}
    if node.scope:
        before = previous_round(path)
        document["loop"] = {
            "round": int(path.rsplit(".", maxsplit=1)[-1]),
            "previous": {
                name: _seen(store, run, records.get(f"previous:{name}"))
                for name in node.previous
                if before is not None
            },
        }
    return DictScope(document)


def _seen(store: RunStore, run: RunRecord, record: NodeRecord | None) -> dict[str, Any]:
    """Returns what a node looks like from outside; fields it has not are missing."""
    if record is None:
        return {"status": "pending"}
    seen: dict[str, Any] = {"status": record.status}
    if record.usage:
        seen["usage"] = dict(record.usage)
    if record.terminal and record.status != "skipped":
        seen.update(store.result(run.run_id, record))
    return seen
