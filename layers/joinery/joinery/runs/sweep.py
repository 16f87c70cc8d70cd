"""Finds what an event or a crash left undone, and what has been kept for long enough.

Status events are best effort: a run may stay open though its execution has ended, or
was never begun. Each open run is looked at when it is due, a few minutes after its
start and then ever more rarely.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from joinery.errors import JoineryError, NotFound
from joinery.runs.child_end import cancel_run_tree, catch_up
from joinery.runs.deps import Deps
from joinery.runs.end import close_failed, finish
from joinery.runs.lifecycle import close_ended
from joinery.runs.model import RunRecord

log = logging.getLogger(__name__)

FIRST_LOOK_S: Final = 600.0
"""An open run is first looked at this long after its start; most have ended by then."""

LOOK_AGAIN_MAX_S: Final = 6 * 3600.0
"""The longest time between two looks; they grow with the age of the run."""

CANCELLED: Final = "the run was cancelled"

EXPIRY_LOOK_S: Final = 120.0
"""A question is looked at this long after its time: until then its own Task ends it."""


class Overdue(Protocol):
    """Which runs are due, open ones to be looked at and old ones to be deleted."""

    def due(self, now: float) -> Iterable[tuple[str, bool]]:
        """Yields `(run_id, is_old)` of what is due at a time in epoch seconds."""
        ...

    def look_again(self, run: RunRecord, at: float) -> None:
        """Makes an open run due later; one that has changed since is left."""
        ...

    def settled(self, run: RunRecord) -> None:
        """See `ClosingStore.settled`."""
        ...

    def delete_run(self, run_id: str) -> bool:
        """Deletes all that is stored of a run; False while some of it is left."""
        ...


Describe = Callable[[str], Mapping[str, Any] | None]
"""Returns `{name, status, error?, cause?}` of an execution, None when it is unknown."""


def sweep(
    deps: Deps, overdue: Overdue, describe: Describe, *, more: Callable[[], bool]
) -> dict[str, int]:
    """Looks at all that is due, until `more` says that there is no time left.

    Returns:
        How often what was done: `closed`, `open`, `not_started`, `deleted`, `failed`.
    """
    done: Counter[str] = Counter()
    for run_id, is_old in overdue.due(deps.clock()):
        if not more():
            break
        try:
            done[
                _delete(overdue, run_id) if is_old else _look(deps, overdue, describe, run_id)
            ] += 1
        except JoineryError as error:
            # One run must not keep the others from being looked at.
            log.error("run %s was not swept", run_id, exc_info=error)
            done["failed"] += 1
    return dict(done)


def _delete(overdue: Overdue, run_id: str) -> str:
    return "deleted" if overdue.delete_run(run_id) else "open"


def _look(deps: Deps, overdue: Overdue, describe: Describe, run_id: str) -> str:
    try:
        run = deps.store.get_run(run_id)
    except NotFound:
        return "closed"
    if run.closed:
        if run.status == "cancelled" and deps.children:
            deps.children.stop(run, CANCELLED)
        finish(deps, run)
        return "closed"
    if deps.store.control(run_id).cancel:
        # Whoever cancelled it has died: nobody else ends what waits or never began.
        cancel_run_tree(deps, run, CANCELLED)
        return "closed"
    if run.status in ("paused", "suspended"):
        overdue.settled(run)
        return "closed"
    if not run.execution_arn:
        shown = {
            "code": "not_started",
            "message": "the execution was never started",
            "retryable": True,
        }
        close_failed(deps, run, shown)
        return "not_started"
    found = describe(run.execution_arn)
    if found is not None and found["status"] == "RUNNING":
        age = deps.clock() - (run.started_at or run.created_at)
        expires_at = catch_up(deps, run)
        again = deps.clock() + min(LOOK_AGAIN_MAX_S, max(FIRST_LOOK_S, age))
        overdue.look_again(run, min(again, expires_at + EXPIRY_LOOK_S))
        return "open"
    return _ended(deps, run, found)


def _ended(deps: Deps, run: RunRecord, found: Mapping[str, Any] | None) -> str:
    """Closes an open run whose execution is over."""
    if found is not None and close_ended(deps, found) == "closed":
        return "closed"
    shown = {
        "code": "execution_lost",
        "message": "the execution has ended and did not close its run",
        "retryable": True,
    }
    close_failed(deps, run, shown)
    return "closed"
