"""Alone may create state machines and pass their one role."""

from __future__ import annotations

from typing import Any

from joinery import bootstrap, jsonlog
from joinery.aws.machines import answer_publisher

jsonlog.configure()


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Makes the machine `{name, definition}`; answers `{machine_arn}` or `{error}`."""
    if event.get("warm"):
        return {"warm": True}
    return answer_publisher(bootstrap.state_machines(), event)
