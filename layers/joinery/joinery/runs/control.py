"""Pauses runs and goes on with them: paused, suspended or failed.

A pause stops the execution: what runs may finish and is stored, nothing new begins.
Going on is a new incarnation: a new execution that walks the same machine, in which
a node that has ended is found stored and costs a read. So a pause may last for weeks,
costs nothing meanwhile, and no state of a machine exists for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from joinery.errors import Conflict, InvalidRequest, JoineryError, NotFound, Unavailable
from joinery.events.make import Event, make_event
from joinery.runs.cancel import Stop
from joinery.runs.child_end import was_stopped
from joinery.runs.deps import Deps
from joinery.runs.end import close_failed
from joinery.runs.ledger import Amount, Limit
from joinery.runs.model import RunRecord
from joinery.runs.suspend import AROUND, BREAKER, BUDGET
from joinery.runs.terms import CHECKS, limit_of, shown_amount, shown_limit

log = logging.getLogger(__name__)

Launch = Callable[[RunRecord], str]
"""Starts the execution of a run's incarnation, once however often it is asked; returns its ARN."""

RESUMABLE: Final = frozenset({"paused", "failed", "timed_out"})

PAUSABLE: Final = frozenset({"queued", "running", "waiting"})


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


def resume(
    deps: Deps, run: RunRecord, launch: Launch, *, budget: Mapping[str, Any] | None = None
) -> RunRecord:
    """Goes on with a run that is paused, out of budget, or from the node at which it failed.

    What has ended well is not run again. A node that failed has all its attempts anew.

    Args:
        deps: Ports.
        run: The run.
        launch: Starts its execution.
        budget: What the run may use from now on, in all: `{tokens?, usd?}`. One that is
            out of budget needs it.

    Returns:
        The run as it is now; one that was resumed already is left as it is.

    Raises:
        Conflict: It is neither paused nor failed, or its breaker has stopped it.
        InvalidRequest: The budget is no more than what was used.
        Unavailable: Step Functions did not start it; it has failed, and can be resumed again.
    """
    resumed = run.status == "running" and run.incarnation > 1
    if resumed and run.execution_arn:
        return run
    if not resumed:
        if run.status not in RESUMABLE and not _is(run, BUDGET):
            raise Conflict(_why_not(run), status=run.status)
        _set_budget(deps, run, budget)
        run = reopen(deps, run)
    return _launched(deps, run, launch)


def unlock(
    deps: Deps, run: RunRecord, launch: Launch, *, because: str = "", checks: Sequence[str] = ()
) -> RunRecord:
    """Goes on with a run that its breaker has stopped, where it stood.

    Args:
        deps: Ports.
        run: The run.
        launch: Starts its execution.
        because: Why it may go on.
        checks: What was checked, of `CHECKS`; all three stand for a reason.

    Returns:
        The run as it is now; one that was unlocked already is left as it is.

    Raises:
        InvalidRequest: There is neither a reason nor all checks.
        Conflict: Its breaker has not stopped it.
        Unavailable: Step Functions did not start it; it has failed, and can be resumed.
    """
    reason, checked = because.strip(), [check for check in CHECKS if check in checks]
    if not reason and len(checked) < len(CHECKS):
        raise InvalidRequest(
            f"unlocking needs a reason, or all of the checks {', '.join(CHECKS)}",
            checks=list(CHECKS),
        )
    resumed = run.status == "running" and run.incarnation > 1
    if resumed and run.execution_arn:
        return run
    if not resumed:
        if not _is(run, BREAKER):
            raise Conflict(f"a run that is {run.status} has no lock", status=run.status)
        tripped = dict((run.error or {}).get("details") or {})
        data: dict[str, Any] = {
            "incarnation": run.incarnation + 1,
            "reason": tripped.get("reason", ""),
        }
        data |= {"because": reason} if reason else {}
        data |= {"checks": checked} if checked else {}
        run = reopen(deps, run, _event(deps, run, "breaker.unlocked", data))
    return _launched(deps, run, launch)


def _is(run: RunRecord, code: str) -> bool:
    return run.status == "suspended" and (run.error or {}).get("code") == code


def _why_not(run: RunRecord) -> str:
    if _is(run, BREAKER):
        return "its breaker has stopped the run: unlock it"
    if _is(run, AROUND):
        return "the run around it is suspended: let that one go on"
    return f"a run that is {run.status} cannot be resumed"


def _set_budget(deps: Deps, run: RunRecord, budget: Mapping[str, Any] | None) -> None:
    """Changes the budget of a run that is to go on. Raises: Conflict, InvalidRequest."""
    if budget is None:
        if _is(run, BUDGET):
            raise Conflict("its budget is used up: resume it with a larger one", status=run.status)
        return
    ledgers, wanted = deps.store.ledgers, limit_of(budget)
    if deps.store.extra(run.run_id).get("around"):
        raise Conflict("a child run has no budget of its own", status=run.status)
    ledgers.open(run.run_id, limit_of(deps.store.extra(run.run_id).get("budget", {})))
    ledger = ledgers.get(run.run_id, run.incarnation)
    used = ledger.spent if ledger else Amount()
    limit = ledger.limit if ledger else Limit()
    merged = Limit(wanted.tokens or limit.tokens, wanted.pico or limit.pico)
    if not merged.holds(Amount(merged.tokens or 0, merged.pico or 0) - used, Amount(1, 1)):
        raise InvalidRequest(
            "the budget is no more than what the run has used",
            budget=shown_limit(merged), used=shown_amount(used),
        )  # fmt: skip
    ledgers.set_limit(run.run_id, run.incarnation, wanted)


def _launched(deps: Deps, run: RunRecord, launch: Launch) -> RunRecord:
    """Starts the execution of a run that was reopened, and what is suspended below it."""
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
    resume_below(deps, run, launch)
    return deps.store.get_run(run.run_id)


def resume_below(deps: Deps, run: RunRecord, launch: Launch) -> None:
    """Goes on with the child runs that were suspended with a run."""
    for record in deps.store.nodes(run.run_id):
        if record.status != "waiting" or not record.child:
            continue
        try:
            child = deps.store.get_run(record.child)
        except NotFound:
            continue
        if _is(child, AROUND):
            _launched(deps, reopen(deps, child), launch)
        elif not child.closed:
            resume_below(deps, child, launch)


def _event(deps: Deps, run: RunRecord, name: str, data: Mapping[str, Any]) -> Event:
    return make_event(name, run.run_id, data, at=deps.clock(), session_id=run.session_id)


def reopen(deps: Deps, run: RunRecord, *before: Event) -> RunRecord:
    """Begins a run's next incarnation, with the failed nodes to be run again.

    Args:
        deps: Ports.
        run: The run.
        before: Events that stand before `run.resumed`.

    Raises:
        Conflict: The run has changed meanwhile.
    """
    failed = [
        record
        for record in deps.store.nodes(run.run_id)
        if (record.status == "failed" and not record.handled)
        # A run that ends stops its child runs; one that is paused leaves them.
        or (run.status not in ("paused", "suspended") and was_stopped(deps, record))
    ]
    for record in failed:
        deps.store.reset_node(run.run_id, record)
    data = {
        "incarnation": run.incarnation + 1,
        "after": run.status,
        "nodes": [{"node_id": r.node_id, "path": r.key.path} for r in failed],
    }
    event = _event(deps, run, "run.resumed", data)
    stored = deps.store.reopen_run(run, event, *before, at=deps.clock())
    now = deps.store.get_run(run.run_id)
    if not stored and (now.status, now.incarnation) == ("running", run.incarnation + 1):
        return now  # another request was first; starting its execution twice starts one
    if not stored:
        raise Conflict(f"the run is {now.status} meanwhile", status=now.status)
    deps.publisher.publish(run.run_id, stored)
    return now
