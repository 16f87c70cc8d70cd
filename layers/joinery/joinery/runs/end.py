"""How runs end: `end` closes the successful ones, everything else is closed as it failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from joinery.compiler.plan import Plan, end_of
from joinery.errors import NodeError, PermanentExpression
from joinery.events.make import RUN_ENDINGS, make_event
from joinery.runs.child_end import after_close
from joinery.runs.deps import Deps
from joinery.runs.lists import seen_records
from joinery.runs.model import NodeRecord, RunRecord, addresses_for
from joinery.runs.scope import build_scope
from joinery.runs.usage import total_usage
from joinery.workflow.expressions import compile_value
from joinery.workflow.graph import END

_END_REACH: Final = 50
"""How far behind the head the end is looked for: empty places may come after it."""


def close_completed(deps: Deps, plan: Plan, run: RunRecord) -> None:
    """Computes the outputs and closes the run as completed; a second time does nothing.

    Raises:
        RunCancelled: The run was cancelled meanwhile.
        RunSuspended: It was paused.
        PermanentExpression: An output cannot be computed; the run is closed as failed.
    """
    node = end_of(plan)
    addresses = addresses_for(plan, node, "")
    loaded = deps.store.load(run.run_id, addresses.values())
    loaded.control.check()
    records = seen_records(plan, node, "", loaded.records)
    scope = build_scope(deps.store, run, node, "", records)
    try:
        outputs = {name: compile_value(value).value(scope) for name, value in plan.outputs.items()}
    except PermanentExpression as error:
        close_failed(deps, run, error, node_id=END)
        raise
    now = deps.clock()
    nodes = deps.store.nodes(run.run_id)
    usage = total_usage(nodes)
    event = make_event(
        "run.completed",
        run.run_id,
        {"usage": usage, "duration_ms": _duration_ms(run, now)},
        at=now,
        session_id=run.session_id,
    )
    stored = deps.store.close_run(
        run, status="completed", at=now, event=event, outputs=outputs, usage=usage
    )
    if stored:
        deps.publisher.publish(run.run_id, stored)
        deps.tracer.ended(run, "completed", now)
    else:
        tell_end_again(deps, run.run_id)
    after_close(deps, run, nodes, tools=_tools_begin_runs(plan))


def tell_end_again(deps: Deps, run_id: str) -> None:
    """Puts the end of a closed run out again: whoever closed it may have died before it was sent.

    No later message would tell a viewer that it misses something.
    """
    after_seq = max(0, deps.store.control(run_id).head - _END_REACH)
    near = deps.store.events(run_id, after_seq, _END_REACH)
    ends = [event for event in near if event["event"] in RUN_ENDINGS]
    if ends:
        deps.publisher.publish(run_id, ends[-1:])


def close_failed(
    deps: Deps,
    run: RunRecord,
    error: NodeError | Mapping[str, Any],
    *,
    node_id: str | None = None,
    status: str = "failed",
) -> None:
    """Closes a run that did not complete; a second time does nothing.

    Args:
        deps: Ports.
        run: The run.
        error: What stopped it. When a node has failed, that node's error is told
            instead, since it says more than the execution's.
        node_id: The node that raised it, where that is known.
        status: `failed`, `cancelled` or `timed_out`.
    """
    now = deps.clock()
    records = deps.store.nodes(run.run_id)
    shown = dict(error.to_dict()) if isinstance(error, NodeError) else dict(error)
    if node_id:
        shown["node_id"] = node_id
    elif status == "failed":
        shown = _cause(records) or shown
    usage = total_usage(records)
    data: dict[str, Any] = {"usage": usage, "duration_ms": _duration_ms(run, now)}
    if status != "cancelled":
        data["error"] = shown
    event = make_event(f"run.{status}", run.run_id, data, at=now, session_id=run.session_id)
    stored = deps.store.close_run(
        run,
        status=status,
        at=now,
        event=event,
        error=None if status == "cancelled" else shown,
        usage=usage,
    )
    if stored:
        deps.publisher.publish(run.run_id, stored)
        deps.tracer.ended(run, status, now, shown)
    settle_end(deps, run, records)


def finish(deps: Deps, run: RunRecord) -> None:
    """Does what follows from the end of a closed run, where whoever closed it may have died.

    Viewers are told the end again, and what runs below it is cancelled. All of it may be
    done again.
    """
    tell_end_again(deps, run.run_id)
    settle_end(deps, run, deps.store.nodes(run.run_id))


def _tools_begin_runs(plan: Plan) -> bool:
    tools = [node.spec.get("tools") or {} for node in plan.nodes if node.type == "agent"]
    return any(tool["kind"] == "workflow" for each in tools for tool in each.values())


def settle_end(deps: Deps, run: RunRecord, records: Sequence[NodeRecord]) -> None:
    """Does what follows from the end of a closed run, and notes that it is done.

    Args:
        deps: Ports.
        run: The run, closed now or before.
        records: Its node records.
    """
    after_close(deps, run, records)
    now = deps.store.get_run(run.run_id)
    if now.closed:
        deps.store.settled(now)


def _cause(records: Sequence[NodeRecord]) -> dict[str, Any] | None:
    """Returns the error of the node that failed the run, with its place."""
    failed = [r for r in records if r.status == "failed" and r.error and not r.handled]
    if failed:
        record = max(failed, key=lambda r: r.ended_at)
    else:
        running = [record for record in records if record.status == "running"]
        if not running:
            return None
        record = max(running, key=lambda r: r.started_at)
        return {
            "code": "infrastructure",
            "message": f"node '{record.node_id}' stopped without a word",
            "retryable": True,
            "node_id": record.node_id,
            "path": record.key.path,
            **({"cause": dict(record.error)} if record.error else {}),
        }
    return {**dict(record.error or {}), "node_id": record.node_id, "path": record.key.path}


def _duration_ms(run: RunRecord, now: float) -> int:
    return round((now - (run.started_at or run.created_at)) * 1000)
