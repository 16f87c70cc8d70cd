"""Connections and commands of the WebSocket API."""

from __future__ import annotations

from typing import Any

from joinery import bootstrap, jsonlog
from joinery.sockets import handler as sockets

jsonlog.configure()
bootstrap.preload()

# On AWS a body that is returned goes nowhere: answers are posted to the connection.
DONE = {"statusCode": 200}


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Handles `$connect`, `$disconnect` and messages."""
    if event.get("warm"):
        return {"warm": True}
    request = event["requestContext"]
    connection_id, caller = request["connectionId"], sockets.caller_of(request.get("authorizer"))
    services = bootstrap.socket_services()
    try:
        match request["eventType"]:
            case "CONNECT":
                if caller is None:
                    return {"statusCode": 401}
                sockets.connect(services, connection_id, caller)
            case "DISCONNECT":
                sockets.disconnect(services, connection_id)
            case _:
                sockets.message(services, connection_id, caller, event.get("body") or "")
    finally:
        bootstrap.drain()
    return DONE
