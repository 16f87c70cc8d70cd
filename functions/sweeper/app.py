"""Every few minutes: closes runs that nothing closed, and deletes those kept long enough."""

from __future__ import annotations

import logging
from typing import Any

from joinery import bootstrap, jsonlog
from joinery.runs.sweep import sweep

jsonlog.configure()
bootstrap.preload()
log = logging.getLogger("joinery.sweeper")

RESERVE_MS = 25_000
"""No run is begun with less time left: deleting one takes up to 20 s."""


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Handles one tick of the schedule; what is left is done at the next."""
    if event.get("warm"):
        return {"warm": True}
    try:
        done = sweep(
            bootstrap.closing_deps(),
            bootstrap.store(),
            bootstrap.describe_execution,
            more=lambda: context.get_remaining_time_in_millis() > RESERVE_MS,
        )
    finally:
        bootstrap.drain()
    if done:
        log.info("swept", extra={"fields": done})
    return done
