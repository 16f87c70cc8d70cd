"""Makes a run from another one: what came before a node is kept, the rest runs again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from joinery.compiler.plan import Plan, PlanNode
from joinery.errors import Conflict, InvalidRequest
from joinery.events.make import make_event
from joinery.runs.deps import Deps
from joinery.runs.model import NodeRecord, RunRecord, common_depth
from joinery.runs.start import create_run
from joinery.workflow.bodies import DONE

_ANEW: Final = ("estimate", "around")
"""What of the old run's terms is settled anew: a fork has a ledger of its own."""

TOLD_AT_ONCE: Final = 300
"""Nodes that one event names, so that a socket can carry it."""


def fork(
    deps: Deps,
    plan: Plan,
    run: RunRecord,
    *,
    node_id: str | None,
    path: str | None,
    inputs: Mapping[str, Any],
    idempotency_key: str | None = None,
) -> tuple[RunRecord, bool]:
    """Stores a new run that has the results of another one up to a node.

    Args:
        deps: Ports.
        plan: The plan of the run.
        run: The run to fork; it has ended, is paused or suspended.
        node_id: The first node to run again; None runs everything again.
        path: Which of its rounds or items, the first when None.
        inputs: Inputs that change; the others stay as they were.
        idempotency_key: The same key again gives the same new run.

    Returns:
        The new run, queued, and whether it is new.

    Raises:
        Conflict: The run goes on.
        InvalidRequest: There is no such node, or it did not run at this path.
        InvalidInput: All that is wrong with the inputs.
    """
    if not run.closed and run.status not in ("paused", "suspended"):
        raise Conflict(f"a run that is {run.status} cannot be forked: pause it", status=run.status)
    records = deps.store.nodes(run.run_id)
    kept = _kept(plan, records, node_id, path) if node_id else []
    made, new = create_run(
        deps,
        plan,
        owner=run.owner,
        workflow_id=run.workflow_id,
        version=run.version,
        given={**deps.store.inputs(run.run_id), **inputs},
        idempotency_key=idempotency_key,
        session_id=run.session_id,
        extra={n: v for n, v in deps.store.extra(run.run_id).items() if n not in _ANEW},
        forked_from=run.run_id,
    )
    if not kept or made.execution_arn:
        return made, new
    deps.store.adopt(made.run_id, [_copy(deps, run, record) for record in kept])
    if new:
        _tell(deps, made, kept)
    return made, new


def _tell(deps: Deps, run: RunRecord, kept: Sequence[NodeRecord]) -> None:
    nodes = [{"node_id": r.node_id, "path": r.key.path, "status": r.status} for r in kept]
    for first in range(0, len(nodes), TOLD_AT_ONCE):
        event = make_event(
            "nodes.reused",
            run.run_id,
            {"nodes": nodes[first : first + TOLD_AT_ONCE]},
            at=deps.clock(),
            session_id=run.session_id,
        )
        deps.publisher.publish(run.run_id, deps.store.append(run.run_id, [event]))


def _copy(deps: Deps, run: RunRecord, record: NodeRecord) -> NodeRecord:
    """Returns a record with its result in it, which cost nothing here and streamed nothing."""
    result = deps.store.result(run.run_id, record) if record.status != "skipped" else None
    return record.with_(
        result=result, result_ref="", usage={}, streams={}, seq=0, child="", wait=None
    )


def _kept(
    plan: Plan, records: Sequence[NodeRecord], node_id: str, path: str | None
) -> list[NodeRecord]:
    """Returns what had ended before a node at a path, by the edges and the rounds."""
    first = plan.by_id.get(node_id)
    if first is None or first.type == "end":
        raise InvalidRequest(f"the workflow has no node '{node_id}'", node=node_id)
    known = [r.key.path for r in records if r.node_id == node_id]
    if path is None:
        path = known[0] if known else ""
    elif path not in known:
        raise InvalidRequest(
            f"node '{node_id}' did not run at '{path}'", node=node_id, paths=known[:20]
        )
    after = _after(plan, node_id)
    ended = [r for r in records if r.terminal and (r.status != "failed" or r.handled)]
    return [r for r in ended if _is_before(plan.by_id[r.node_id], r.key.path, first, path, after)]


def _after(plan: Plan, node_id: str) -> set[str]:
    """Returns a node and all that waits for it, edges back left out."""
    found = {node_id}
    todo = [node_id]
    while todo:
        node = plan.by_id[todo.pop()]
        links = [link for at_port in plan.outgoing[node.id].values() for link in at_port]
        for each in node.iterates:
            # What comes after all items comes after each node of their bodies.
            links.extend(plan.outgoing[each][DONE])
        new = {link.target for link in links} - found
        found.update(new)
        todo.extend(new)
    return found


def _is_before(node: PlanNode, path: str, first: PlanNode, at: str, after: set[str]) -> bool:
    """Whether a node at a path does not depend on `first` at `at`."""
    depth = common_depth(node.scope, first.scope)
    own, there = _parts(path, depth), _parts(at, depth)
    for scope, mine, its in zip(node.scope, own, there, strict=False):
        if mine != its:
            return scope in node.iterates or mine < its
    return node.id not in after


def _parts(path: str, depth: int) -> list[int]:
    return [int(part) for part in path.split(".")[:depth]] if depth else []
