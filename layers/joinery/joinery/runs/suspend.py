"""Suspends runs: once, with an event that says why; what runs may finish, nothing begins.

It is a pause that somebody must answer: the execution is stopped, and going on is a new
incarnation that walks what is stored, see `control`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from joinery.errors import JoineryError
from joinery.events.make import Event, make_event
from joinery.runs.deps import Deps
from joinery.runs.model import RunRecord

log = logging.getLogger(__name__)

BUDGET: Final = "budget_exceeded"
BREAKER: Final = "breaker_tripped"
AROUND: Final = "suspended_around"
"""Codes of the error of a suspended run; the last is that of a child run."""


def suspend(
    deps: Deps, run: RunRecord, name: str, data: Mapping[str, Any], *, ledger: bool = True
) -> bool:
    """Suspends a run with an event; returns whether it was this call that did.

    Args:
        deps: Ports.
        run: The run, in its present incarnation.
        name: `budget.exceeded` or `breaker.tripped`.
        data: The event's data, with `message`.
        ledger: Whether the run has the ledger: then no call begins after this.
    """
    code = BUDGET if name == "budget.exceeded" else BREAKER
    return _suspend(deps, run, _event(deps, run, name, data), _error(code, data), ledger=ledger)


def suspend_below(deps: Deps, run: RunRecord, root: RunRecord) -> bool:
    """Suspends a child run, since the run around it was; returns whether this call did."""
    message = f"the run around it is suspended: {root.run_id}"
    error = _error(AROUND, {"message": message, "run_id": root.run_id})
    event = _event(deps, run, "run.paused", {"incarnation": run.incarnation})
    return _suspend(deps, run, event, error, ledger=False)


def _suspend(
    deps: Deps, run: RunRecord, event: Event, error: Mapping[str, Any], *, ledger: bool
) -> bool:
    stored = deps.store.suspend_run(run, event, error, ledger=ledger)
    if not stored:
        return False
    deps.publisher.publish(run.run_id, stored)
    if deps.children is not None:
        try:
            deps.children.stop(deps.store.get_run(run.run_id), "the run was suspended")
        except JoineryError as failure:
            # Its nodes see the flag before they begin: it only takes a Task longer to end.
            log.error("execution of run %s was not stopped", run.run_id, exc_info=failure)
    return True


def _event(deps: Deps, run: RunRecord, name: str, data: Mapping[str, Any]) -> Event:
    return make_event(name, run.run_id, data, at=deps.clock(), session_id=run.session_id)


def _error(code: str, data: Mapping[str, Any]) -> dict[str, Any]:
    details = {key: value for key, value in data.items() if key != "message"}
    return {"code": code, "message": data["message"], "retryable": True, "details": details}
