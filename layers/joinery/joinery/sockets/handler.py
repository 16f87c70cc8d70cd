"""What happens at `$connect`, at `$disconnect` and for each message."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from joinery.errors import JoineryError, Unauthorized
from joinery.events.make import Event
from joinery.identity.tokens import Caller
from joinery.sockets.commands import Request, carry_out
from joinery.sockets.frames import error_frame, read_command, read_message, request_id_of
from joinery.sockets.ports import SocketServices
from joinery.sockets.replay import Gone

log = logging.getLogger(__name__)


class Internal(JoineryError):
    """Something unexpected; what it was is in the log."""

    code = "internal"


def caller_of(authorizer: Mapping[str, Any] | None) -> Caller | None:
    """Returns who the authorizer found at `$connect`; API Gateway passes texts."""
    found = authorizer or {}
    owner, expires_at = found.get("owner"), str(found.get("expires_at", ""))
    if not isinstance(owner, str) or not owner:
        return None
    try:
        return Caller(owner, float(expires_at))
    except ValueError:
        return None


def connect(services: SocketServices, connection_id: str, caller: Caller) -> None:
    """Stores a connection. Nothing can be sent to it before this has returned."""
    services.connections.put(connection_id, caller.owner, caller.expires_at)


def disconnect(services: SocketServices, connection_id: str) -> None:
    """Forgets a connection and ends what it watches."""
    for run_id in list(services.watches.of(connection_id)):
        services.subscribers.unsubscribe(run_id, connection_id)
        services.watches.remove(connection_id, run_id)
    services.connections.delete(connection_id)


def message(services: SocketServices, connection_id: str, caller: Caller | None, body: str) -> None:
    """Carries out a command and answers it once, by `ack`, `pong` or `error`."""
    clock = services.deps.clock
    request_id: str | None = None
    frame: Event
    try:
        content = read_message(body)
        request_id = request_id_of(content)
        command = read_command(content)
        if caller is None or caller.expires_at <= clock():
            raise Unauthorized("the token has expired: connect again with a new one")
        frame = carry_out(Request(services, connection_id, caller, command))
    except Gone:
        disconnect(services, connection_id)
        return
    except JoineryError as error:
        if error.http_status >= 500 and not error.retryable:
            log.error("command %s failed", request_id, exc_info=error)
            error = Internal("something went wrong here")
        frame = error_frame(error, request_id, at=clock())
    except Exception:
        log.exception("command %s failed", request_id)
        frame = error_frame(Internal("something went wrong here"), request_id, at=clock())
    try:
        if not services.outlet.send(connection_id, frame):
            disconnect(services, connection_id)
    except JoineryError as error:
        log.error("command %s was not answered", request_id, exc_info=error)
