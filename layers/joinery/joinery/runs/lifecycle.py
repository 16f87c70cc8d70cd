"""Closes a run whose execution ended without closing it.

Status events are best effort, may come twice, and may come after each other for one
execution: whoever closes the run first is right.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from typing import Any, Final

from joinery.errors import NotFound
from joinery.runs.deps import Deps
from joinery.runs.end import close_failed, finish
from joinery.runs.ownership import RUN_ID

log = logging.getLogger(__name__)

_NAME: Final = re.compile(rf"({RUN_ID})(?:-(\d{{1,6}}))?")

_CAUSE_CHARS: Final = 2_000

_EXACT: Final = re.compile(r"((?:Transient|Permanent)[A-Z]\w*): ")
"""The class that a node's error has inside; see `NodeError.for_machine`."""


def close_ended(deps: Deps, detail: Mapping[str, Any]) -> str:
    """Closes the run of an execution that did not succeed, if it is still open.

    Args:
        deps: Ports.
        detail: `detail` of the status event: `{name, status, error?, cause?, …}`. The name
            is the run's id, with `-<incarnation>` from the second on.

    Returns:
        What was done: `closed`, `open` (the execution goes on, or succeeded and its last
        Task closes the run), `was_closed`, `paused`, `suspended`, `superseded` (the run has
        a newer execution) or `unknown` (no run of ours).
    """
    status = str(detail.get("status", ""))
    if status not in _ENDINGS:
        return "open"
    match = _NAME.fullmatch(str(detail.get("name", "")))
    if not match:
        return "unknown"
    run_id, incarnation = match[1], int(match[2] or 1)
    try:
        run = deps.store.get_run(run_id)
    except NotFound:
        return "unknown"
    if run.incarnation != incarnation:
        return "superseded"
    if run.closed:
        # Whoever closed it may have died before the viewers and the runs around and below it knew.
        finish(deps, run)
        return "was_closed"
    if run.status in ("paused", "suspended"):
        return run.status
    ended = _ENDINGS[status]
    if deps.store.control(run_id).cancel:
        ended = "cancelled"
    close_failed(deps, run, execution_error(detail), status=ended)
    log.info("closed run %s as %s", run_id, ended, extra={"fields": {"run_id": run_id}})
    return "closed"


_ENDINGS: Final = {"FAILED": "failed", "TIMED_OUT": "timed_out", "ABORTED": "failed"}


def execution_error(detail: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the error of an execution as ours: what its last Task raised, where it tells."""
    status, name = str(detail.get("status")), str(detail.get("error") or "")
    if status == "TIMED_OUT":
        message = "the execution passed its time limit"
        return {"code": "execution_timed_out", "message": message, "retryable": True}
    if status == "ABORTED":
        message = "the execution was stopped from outside"
        return {"code": "execution_aborted", "message": message, "retryable": True}
    message = _message(str(detail.get("cause") or "")) or "the execution failed"
    if exact := _EXACT.match(message):
        name, message = exact[1], message[exact.end() :]
    shown = {"code": "execution_failed", "message": message, "retryable": False}
    return {**shown, "details": {"error": name}} if name else shown


def _message(cause: str) -> str:
    """Returns the message in a Lambda's cause, which is JSON, or any other cause as it is."""
    try:
        found = json.loads(cause)
    except ValueError:
        return cause[:_CAUSE_CHARS]
    message = found.get("errorMessage") if isinstance(found, dict) else None
    return str(message or "")[:_CAUSE_CHARS]
