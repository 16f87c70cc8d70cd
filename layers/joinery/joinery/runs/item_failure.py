"""Why an execution of an item failed.

A distributed Map says of an item that failed only that it did. The Task behind it asks
the table and raises the item's own error again, for Catch, and for whoever reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from joinery.compiler.plan import Plan
from joinery.errors import (
    PermanentAttemptsExhausted,
    PermanentInternal,
    RunCancelled,
    RunSuspended,
)
from joinery.runs.deps import Deps
from joinery.runs.model import RunRecord
from joinery.runs.quorum import raise_decided


def raise_item_failure(
    deps: Deps, plan: Plan, run: RunRecord, place: tuple[str, str], caught: Sequence[str]
) -> NoReturn:
    """Raises what ended an item of an iterate node.

    Args:
        deps: Ports.
        plan: The plan that the run is pinned to.
        run: The run.
        place: The iterate node, and its path.
        caught: The joins whose decision the machine catches around the Task.

    Raises:
        NodeError: As the node in the item did: by its class name the machine goes on.
    """
    node_id, path = place
    control = deps.store.control(run.run_id)
    if control.cancel:
        raise RunCancelled("the run was cancelled")
    if control.pause:
        raise RunSuspended("the run is paused")
    raise_decided(deps, plan, run, path, caught)
    body = set(plan.iterate_of[node_id].body)
    prefix = f"{path}." if path else ""
    failed = [
        record
        for record in deps.store.nodes(run.run_id)
        if record.node_id in body
        and record.key.path.startswith(prefix)
        and record.status == "failed"
        and not record.handled
    ]
    if not failed:
        raise PermanentInternal(f"an item of '{node_id}' stopped without a word")
    first = min(failed, key=lambda record: record.ended_at)
    stored = dict(first.error or {})
    message = f"node '{first.node_id}' at {first.key.path}: {stored.get('message', 'it failed')}"
    raise PermanentAttemptsExhausted(message, cause=stored)
