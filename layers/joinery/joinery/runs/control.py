"""Pauses runs and goes on with them, paused or failed.

A pause stops the execution: what runs may finish and is stored, nothing new begins.
Going on is a new incarnation: a new execution that walks the same machine, in which
a node that has ended is found stored and costs a read. So a pause may last for weeks,
costs nothing meanwhile, and no state of a machine exists for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from joinery.errors import Conflict, JoineryError, Unavailable
from joinery.events.make import make_event
from joinery.runs.cancel import Stop
from joinery.runs.child_end import was_stopped
from joinery.runs.deps import Deps
from joinery.runs.end import close_failed
from joinery.runs.model import RunRecord

log = logging.getLogger(__name__)

Launch = Callable[[RunRecord], str]
"""Starts the execution of a run's incarnation, once however often it is asked; returns its ARN."""

RESUMABLE: Final = frozenset({"paused", "failed", "timed_out"})

PAUSABLE: Final = frozenset({"queued", "running", "waiting", "suspended"})


def execution_name(run: RunRecord) -> str:
    """Returns the name of a run's execution: its id, with `-<incarnation>` from the second on."""
    return run.run_id if run.incarnation == 1 else f"{run.run_id}-{run.incarnation}"


def executions_of(run: RunRecord) -> list[str]:
    """Returns the ARNs of a run's executions, one for each incarnation that was begun."""
    if not run.execution_arn:
        return []
    machine = run.execution_arn.rpartition(":")[0]
    begun = [replace(run, incarnation=i + 1) for i in range(run.incarnation)]
    return [f"{machine}:{execution_name(each)}" for each in begun]


def pause(deps: Deps, run: RunRecord, stop: Stop) -> RunRecord:
    """Lets no further node of a run begin; those that run may finish.

    Returns:
        The run as it is now; one that is paused already is left as it is.

    Raises:
        Conflict: It has ended.
    """
    event = make_event(
        "run.paused",
        run.run_id,
        {"incarnation": run.incarnation},
        at=deps.clock(),
        session_id=run.session_id,
    )
    stored = deps.store.pause_run(run, event) if run.status in PAUSABLE else []
    now = deps.store.get_run(run.run_id)
    if not stored and now.status == "paused":
        return now
    if not stored:
        raise Conflict(f"a run that is {now.status} cannot be paused", status=now.status)
    deps.publisher.publish(run.run_id, stored)
    if now.execution_arn:
        try:
            stop(now.execution_arn, "the run was paused")
        except JoineryError as error:
            # Its nodes see the flag before they begin: it only takes a Task longer to end.
            log.error("execution of run %s was not stopped", run.run_id, exc_info=error)
    return now


def resume(deps: Deps, run: RunRecord, launch: Launch) -> RunRecord:
    """Goes on with a run that is paused, or from the node at which it failed.

    What has ended well is not run again. A node that failed has all its attempts anew.

    Returns:
        The run as it is now; one that was resumed already is left as it is.

    Raises:
        Conflict: It is neither paused nor failed.
        Unavailable: Step Functions did not start it; it has failed, and can be resumed again.
    """
    resumed = run.status == "running" and run.incarnation > 1
    if resumed and run.execution_arn:
        return run
    if not resumed:
        run = _reopen(deps, run)
    try:
        arn = launch(run)
    except JoineryError as error:
        log.error("run %s was not started again", run.run_id, exc_info=error)
        shown = {
            "code": "not_started",
            "message": "Step Functions did not start the execution",
            "retryable": True,
        }
        close_failed(deps, run, shown)
        raise Unavailable("the run could not be started again", run_id=run.run_id) from error
    deps.store.mark_started(run.run_id, arn, run.started_at or deps.clock())
    return deps.store.get_run(run.run_id)


def _reopen(deps: Deps, run: RunRecord) -> RunRecord:
    """Begins the next incarnation, with the failed nodes to be run again."""
    if run.status not in RESUMABLE:
        raise Conflict(f"a run that is {run.status} cannot be resumed", status=run.status)
    failed = [
        record
        for record in deps.store.nodes(run.run_id)
        if (record.status == "failed" and not record.handled)
        # A run that ends stops its child runs; one that is paused leaves them.
        or (run.status != "paused" and was_stopped(deps, record))
    ]
    for record in failed:
        deps.store.reset_node(run.run_id, record)
    data = {
        "incarnation": run.incarnation + 1,
        "after": run.status,
        "nodes": [{"node_id": r.node_id, "path": r.key.path} for r in failed],
    }
    event = make_event("run.resumed", run.run_id, data, at=deps.clock(), session_id=run.session_id)
    stored = deps.store.reopen_run(run, event)
    now = deps.store.get_run(run.run_id)
    if not stored and (now.status, now.incarnation) == ("running", run.incarnation + 1):
        return now  # another request was first; starting its execution twice starts one
    if not stored:
        raise Conflict(f"the run is {now.status} meanwhile", status=now.status)
    deps.publisher.publish(run.run_id, stored)
    return now
