"""One connection to the WebSocket API."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from joinery.errors import Unavailable
from joinery.events.make import Event

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

OPEN_S: Final = 10.0
CLOSE_S: Final = 1.0

_OFFSETS_MAX: Final = 500
"""A message has at most 128 KB; an offset with its names takes up to 200 bytes."""


class SocketClosed(Exception):
    """The connection is gone; a new one may be made."""


class Socket:
    """Sends commands and receives frames; raises `SocketClosed` once it is gone.

    Raises:
        Unavailable: The connection could not be opened.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect

        from joinery.client.http import is_loopback

        self._open = ExitStack()
        try:
            connecting = connect(
                url,
                additional_headers=dict(headers),
                open_timeout=OPEN_S,
                close_timeout=CLOSE_S,
                # API Gateway counts commands as life, not the protocol's own pings.
                ping_interval=None,
                proxy=None if is_loopback(url) else True,
            )
            self._connection: ClientConnection = self._open.enter_context(connecting)
        except (OSError, WebSocketException, ValueError) as error:
            raise Unavailable(f"no socket to {url}: {error or type(error).__name__}") from error

    def command(self, action: str, **fields: Any) -> str:
        """Sends a command; returns its request id, which ack or error will carry."""
        from websockets.exceptions import ConnectionClosed

        request_id = uuid.uuid4().hex[:12]
        command = {"action": action, "request_id": request_id, **fields}
        try:
            self._connection.send(json.dumps(command))
        except (ConnectionClosed, OSError) as error:
            raise SocketClosed from error
        return request_id

    def subscribe(self, run_id: str, after_seq: int, offsets: Mapping[str, int]) -> str:
        """Asks for everything after a seq and, of each stream, after its offset."""
        # What is known beyond these comes again, which is harmless.
        some = dict(list(offsets.items())[-_OFFSETS_MAX:])
        return self.command("subscribe", run_id=run_id, after_seq=after_seq, offsets=some)

    def receive(self, timeout_s: float) -> Event | None:
        """Returns the next frame, or None when none came in time."""
        from websockets.exceptions import ConnectionClosed

        try:
            text = self._connection.recv(timeout=timeout_s)
        except TimeoutError:
            return None
        except (ConnectionClosed, OSError) as error:
            raise SocketClosed from error
        try:
            frame = json.loads(text)
        except ValueError:
            return None
        # What a gateway says of itself is no frame of ours.
        return frame if isinstance(frame, dict) and "event" in frame else None

    def close(self) -> None:
        """Closes the connection; a second time does nothing."""
        self._open.close()
