"""The Task behind the states of every workflow: runs one node."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Any

from joinery import bootstrap, jsonlog
from joinery.errors import JoineryError, NodeError, PermanentInternal, TransientStore
from joinery.runs.cost import INVOCATION
from joinery.runs.task import run_task

if TYPE_CHECKING:
    from joinery.aws.clients import CallCounter

jsonlog.configure()
bootstrap.preload()
log = logging.getLogger("joinery.run_node")

NODE_DRAIN_S = 0.2
NODE_DRAIN_SHARE = 0.05
"""Longest wait for messages while the run waits, with this part of the node's own time."""

END_DRAIN_S = 10.0
"""The run is closed by then, and no later message would tell a viewer what it misses."""

RESERVE_S = 5.0
"""Kept back from Lambda's own deadline, to store how the node ended."""

REPORT_S = 1.0
"""Kept back of that, to tell what the invocation has called."""


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Runs the node `{run_id, plan, node, path, quorum?, token?}`; returns `{port, path}`.

    Whatever is raised is a NodeError, by the class name that the machine matches on.
    """
    if event.get("warm"):
        return {"warm": True}
    deadline = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - RESERVE_S
    try:
        return _counted(event, deadline)
    except NodeError as error:
        raise error.for_machine() from None
    except Exception as error:
        log.exception("node %s of run %s", event.get("node"), event.get("run_id"))
        raise _node_error(error).for_machine() from None


def _counted(event: dict[str, Any], deadline: float) -> dict[str, Any]:
    """Runs the node and, however it ends, logs the AWS calls and the time that it took."""
    counter = bootstrap.clients().counter
    counter.reset()
    counter.add(INVOCATION)
    begun = time.monotonic()
    try:
        return _run(event, deadline)
    finally:
        took = time.monotonic() - begun
        left = deadline + RESERVE_S - REPORT_S - time.monotonic()
        _drain(NODE_DRAIN_S + NODE_DRAIN_SHARE * took, left)
        _print_calls(event, counter, time.monotonic() - begun)


def _run(event: dict[str, Any], deadline: float) -> dict[str, Any]:
    store = bootstrap.store()
    run = store.get_run(event["run_id"])
    deps = bootstrap.run_deps(bootstrap.models_of(store.extra(run.run_id)))
    return run_task(
        deps,
        bootstrap.plan(event["plan"]),
        run,
        event["node"],
        event["path"],
        deadline=deadline,
        quorum=event.get("quorum", ()),
        token=event.get("token", ""),
        failed=event.get("failed", False),
    )


def _node_error(error: Exception) -> NodeError:
    if isinstance(error, JoineryError):
        kind = TransientStore if error.retryable else PermanentInternal
        return kind(error.message, **error.details)
    return PermanentInternal(f"{type(error).__name__} while a node was run")


def _drain(timeout_s: float, left: float) -> None:
    """Sends what is on its way; what fails here must not change how the node ended."""
    try:
        left = max(0.0, left)
        bootstrap.drain(min(timeout_s, left), min(END_DRAIN_S, left))
    except Exception:
        log.exception("messages were not sent")


def _print_calls(event: dict[str, Any], counter: CallCounter, seconds: float) -> None:
    from joinery.aws.logs import TOOK, UNITS, calls_line

    facts = {
        "node": event.get("node"),
        "path": event.get("path"),
        TOOK: round(seconds * 1000),
        UNITS: counter.units(),
    }
    line = calls_line(str(event.get("run_id")), counter.snapshot(), **facts)
    sys.stdout.write(line + "\n")
