"""Makes runs and cancels them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from joinery.compiler.plan import Plan
from joinery.errors import Conflict, NotFound, RunCancelled
from joinery.events.make import Event, make_event
from joinery.runs.closing_ports import SETTLED_S
from joinery.runs.deps import Deps
from joinery.runs.end import close_failed
from joinery.runs.expect import with_terms
from joinery.runs.ids import new_run_id, run_id_for_key
from joinery.runs.inputs import check_inputs
from joinery.runs.model import Parent, RunRecord


def create_run(
    deps: Deps,
    plan: Plan,
    *,
    owner: str,
    workflow_id: str,
    version: int,
    given: Mapping[str, Any],
    idempotency_key: str | None = None,
    session_id: str | None = None,
    extra: Mapping[str, Any] | None = None,
    run_id: str | None = None,
    parent: Parent | None = None,
    forked_from: str = "",
) -> tuple[RunRecord, bool]:
    """Stores a new run with its `run.started` event.

    Args:
        deps: Ports.
        plan: The plan that the run is pinned to.
        owner: Who starts it.
        workflow_id: The workflow.
        version: Its version.
        given: The inputs as they were given.
        idempotency_key: The same key again gives the same run.
        session_id: The session it belongs to.
        extra: What else it is pinned to: `{cassette?, model?, budget?}`.
        run_id: Its id where that is settled, as a child run's is.
        parent: The node that it is a child run of.
        forked_from: The run that it is a fork of.

    Returns:
        The run, and whether it is new.

    Raises:
        InvalidInput: All that is wrong with the inputs.
        TooLarge: An input passes the limit.
        Conflict: The key was used for another request.
    """
    inputs = check_inputs(plan.inputs, given)
    now = deps.clock()
    fingerprint = _fingerprint(workflow_id, version, inputs, session_id, extra or {})
    if run_id is None:
        keyed = idempotency_key and run_id_for_key(owner, workflow_id, idempotency_key)
        run_id = keyed or new_run_id(now)
    run = RunRecord(
        run_id=run_id,
        owner=owner,
        workflow_id=workflow_id,
        version=version,
        name=plan.name,
        session_id=session_id,
        created_at=now,
        request_hash=fingerprint,
        parent=parent,
        forked_from=forked_from,
    )
    event = started_event(run, plan, at=now)
    pinned = with_terms(deps, plan, inputs, extra or {})
    stored, events = deps.store.create_run(run, inputs, [event], pinned)
    if events:
        deps.publisher.publish(run_id, events)
        return stored, True
    if stored.request_hash != fingerprint:
        raise Conflict("this idempotency key was used for another request", run_id=run_id)
    return stored, False


def started_event(run: RunRecord, plan: Plan, *, at: float) -> Event:
    """Returns `run.started`; it tells a watcher the graph, so that it can draw it."""
    nodes = [
        {
            "node_id": node.id,
            "type": node.type,
            **({"name": node.name} if node.name else {}),
            "loops": list(node.scope),
        }
        for node in plan.nodes
        if node.type != "end"
    ]
    edges = [[link.source, link.port, link.target] for link in plan.links]
    data = {
        "workflow": {"workflow_id": run.workflow_id, "version": run.version, "name": run.name},
        "incarnation": run.incarnation,
        "nodes": nodes,
        "edges": edges,
        "loops": [[loop.loop, list(loop.entries), loop.max_rounds] for loop in plan.loops],
    }
    if run.parent:
        data["parent"] = parent_shown(run.parent)
    if run.forked_from:
        data["forked_from"] = run.forked_from
    return make_event("run.started", run.run_id, data, at=at, session_id=run.session_id)


def parent_shown(parent: Parent) -> dict[str, Any]:
    """Returns where a child run was begun, as everybody is shown it."""
    return {
        "run_id": parent.run_id,
        "node_id": parent.node_id,
        "path": parent.path,
        "depth": parent.depth,
    }


def owned_run(deps: Deps, owner: str, run_id: str) -> RunRecord:
    """Returns a run that the caller owns.

    Raises:
        NotFound: There is none, or it is somebody else's: nobody can tell which.
    """
    run = deps.store.get_run(run_id)
    if run.owner != owner:
        raise NotFound(f"no run {run_id}")
    return run


def cancel_run(deps: Deps, run: RunRecord) -> RunRecord:
    """Cancels an open run: running nodes see it within a second, no node starts after.

    Returns:
        The run as it is now; one that was cancelled before is left as it is.

    Raises:
        Conflict: The run has ended in another way.
    """
    if run.status == "cancelled":
        return run
    if run.closed:
        raise Conflict(f"a run that is {run.status} cannot be cancelled", status=run.status)
    if run.status in ("paused", "suspended"):
        # Nothing of it runs that would see the flag: somebody looks, should this die here.
        deps.store.look_at(run, deps.clock() + SETTLED_S)
    deps.store.request_cancel(run.run_id)
    close_failed(deps, run, RunCancelled("the run was cancelled"), status="cancelled")
    return deps.store.get_run(run.run_id)


def _fingerprint(*parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
