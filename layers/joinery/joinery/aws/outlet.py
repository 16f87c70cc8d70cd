"""Sends to one connection, with patience while it is busy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from joinery.aws.posting import Outcome, SocketSender
from joinery.errors import Unavailable
from joinery.events.make import Event

TRIES: Final = 5
_FIRST_PAUSE_S: Final = 0.1


class PatientOutlet:
    """Implements `Outlet` for whoever answers a command.

    Args:
        sender: Posts to connections.
        sleep: Waits a number of seconds.
    """

    def __init__(self, sender: SocketSender, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sender, self._sleep = sender, sleep

    def send(self, connection_id: str, message: Event) -> bool:
        """See `Outlet.send`."""
        for attempt in range(TRIES):
            match self._sender.send(connection_id, message):
                case Outcome.SENT:
                    return True
                case Outcome.GONE:
                    return False
                case Outcome.REFUSED:
                    break
            self._sleep(_FIRST_PAUSE_S * 2**attempt)
        raise Unavailable("a message could not be sent to a connection")
