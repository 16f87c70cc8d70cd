"""Closes runs that did not close themselves, from Step Functions' status events."""

from __future__ import annotations

from typing import Any

from joinery import bootstrap, jsonlog
from joinery.runs.lifecycle import close_ended

jsonlog.configure()
bootstrap.preload()


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Handles one EventBridge event `Step Functions Execution Status Change`."""
    if event.get("warm"):
        return {"warm": True}
    try:
        return {"outcome": close_ended(bootstrap.closing_deps(), event["detail"])}
    finally:
        bootstrap.drain()
