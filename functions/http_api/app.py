"""The HTTP API: FastAPI behind Mangum."""

from __future__ import annotations

import asyncio
from typing import Any

from mangum import Mangum

from joinery import bootstrap, jsonlog
from joinery.api.app import create_app

jsonlog.configure()
bootstrap.preload()
# Mangum asks for the thread's event loop, which newer Pythons no longer make by themselves.
asyncio.set_event_loop(asyncio.new_event_loop())
answer = Mangum(create_app(bootstrap), lifespan="off")


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answers a request of the HTTP API (payload format 2.0)."""
    if event.get("warm"):
        return {"warm": True}
    if event["requestContext"]["http"]["method"] == "OPTIONS":
        return {"statusCode": 204}  # a preflight: API Gateway adds what the page may do
    try:
        return answer(event, context)
    finally:
        bootstrap.drain()
