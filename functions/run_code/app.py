"""Runs code that users write: no rights, no network, a fresh process for each call."""

from __future__ import annotations

from typing import Any

from joinery import jsonlog
from joinery.sandbox.function import answer, harden

jsonlog.configure()
harden()


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Runs `{code, function, arguments, timeout_s}`; answers `{output, stdout}` or `{error}`."""
    if event.get("warm"):
        return {"warm": True}
    return answer(event, context.get_remaining_time_in_millis() / 1000)
