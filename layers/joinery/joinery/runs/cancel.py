"""Cancels runs for whoever asks: over HTTP or over a socket."""

from __future__ import annotations

import logging
from collections.abc import Callable

from joinery.errors import Conflict, JoineryError
from joinery.runs.deps import Deps
from joinery.runs.end import settle_end
from joinery.runs.model import RunRecord
from joinery.runs.start import cancel_run

log = logging.getLogger(__name__)

Stop = Callable[[str, str], None]
"""Stops an execution: `(arn, cause)`."""


def cancel_and_stop(deps: Deps, run: RunRecord, stop: Stop) -> RunRecord:
    """Closes a run as cancelled, then stops its execution.

    Closing comes first: nodes that run see the flag within a second, and what the
    stopped execution then reports finds the run closed.

    Args:
        deps: Ports, with the right to wake a node that waits for the run.
        run: The run; one that was cancelled before is left as it is.
        stop: Stops an execution.

    Returns:
        The run as it is now.

    Raises:
        Conflict: It has ended in another way.
    """
    again = run.status == "cancelled"
    now = cancel_run(deps, run)
    if now.status != "cancelled":
        raise Conflict(f"a run that is {now.status} cannot be cancelled", status=now.status)
    if again:
        # Whoever cancelled it before may have died.
        settle_end(deps, now, deps.store.nodes(now.run_id))
    if now.execution_arn:
        try:
            stop(now.execution_arn, "the run was cancelled")
        except JoineryError as error:
            # The run is closed and its nodes stop by themselves: the caller has what they want.
            log.error("execution of run %s was not stopped", now.run_id, exc_info=error)
    return now
