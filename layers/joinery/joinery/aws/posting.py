"""Posts to WebSocket connections, and the pace at which they go."""

from __future__ import annotations

import logging
import threading
import time
from enum import Enum
from typing import Any, Final

from joinery.aws.errors import code_of, is_busy
from joinery.aws.frames import frame_of
from joinery.events.make import Event

log = logging.getLogger(__name__)


_OTHERS: Final = 0.2
_BURST: Final = 0.08


class Outcome(Enum):
    """What became of a post."""

    SENT = "sent"
    GONE = "gone"
    BUSY = "busy"
    REFUSED = "refused"


class SocketSender:
    """Posts to connections of the WebSocket API.

    Args:
        client: Client of the connections' management API.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def send(self, connection_id: str, message: Event) -> Outcome:
        """Posts one message; one above 128 KB becomes a `resync`. Never raises."""
        return self.post(connection_id, frame_of(message).data)

    def post(self, connection_id: str, data: bytes) -> Outcome:
        """Posts bytes of UTF-8; never raises."""
        try:
            self._client.post_to_connection(ConnectionId=connection_id, Data=data)
        except Exception as error:
            return self._outcome(error)
        return Outcome.SENT

    @staticmethod
    def _outcome(error: Exception) -> Outcome:
        if code_of(error) in {"GoneException", "410"}:
            return Outcome.GONE
        if is_busy(error):
            return Outcome.BUSY
        log.warning("a post to a connection was refused: %s", code_of(error))
        return Outcome.REFUSED


def share(per_second: float, width: int) -> tuple[float, int]:
    """Returns the pace and the burst of one of `width` processes that post for a run.

    They share no counter: in any second each posts at most its burst and its pace, and
    the sum of that stays below four fifths of what the run may post. The rest is for
    whoever starts, cancels or closes it. Where more than 20 are at work it holds over
    some seconds only, since each must be able to post at all.

    Args:
        per_second: The most that the run may post.
        width: How many may post at once.
    """
    burst = max(1, int(per_second * _BURST) // width)
    nodes = per_second * (1 - _OTHERS)
    return max(nodes - width * burst, nodes / 2) / width, burst


def others_share(per_second: float) -> tuple[float, int]:
    """Returns the pace and the burst of a process that runs no node."""
    return per_second * _OTHERS / 2, max(1, int(per_second * _OTHERS / 2))


class Pacer:
    """Spreads posts: a few at once, then evenly.

    Args:
        per_second: Posts a second.
        burst: How many may go at once after a pause.

    Attributes:
        per_second: Posts a second.
    """

    def __init__(self, per_second: float, burst: int = 10) -> None:
        self._next = 0.0
        self._lock = threading.Lock()
        self.set(per_second, burst)

    def set(self, per_second: float, burst: int) -> None:
        """Changes the pace; turns that were given stay as they are."""
        with self._lock:
            self.per_second = per_second
            self._interval, self._slack = 1 / per_second, (burst - 1) / per_second

    def turn(self) -> float:
        """Takes the next turn and returns when it is: now or later, on `time.monotonic()`."""
        with self._lock:
            now = time.monotonic()
            turn = max(self._next, now - self._slack)
            self._next = turn + self._interval
        return max(turn, now)

    def delay(self) -> float:
        """Takes the next turn and returns how many seconds it is away."""
        return max(0.0, self.turn() - time.monotonic())
