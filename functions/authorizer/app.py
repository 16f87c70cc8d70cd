"""Who is calling, for both APIs."""

from __future__ import annotations

import time
from typing import Any

from joinery import bootstrap, jsonlog
from joinery.identity.authorizer import authorize

jsonlog.configure()
bootstrap.preload()


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answers an authorizer request of the HTTP API (simple) or the WebSocket API (policy)."""
    if event.get("warm"):
        return {"warm": True}
    return authorize(bootstrap, event, time.time())
