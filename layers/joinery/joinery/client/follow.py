"""Follows a run: by socket while there is one, by HTTP for whatever a socket has lost."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from joinery.client.cursor import EventCursor
from joinery.client.failures import error_from
from joinery.client.socket import Socket, SocketClosed
from joinery.client.transcript import Transcript
from joinery.errors import Unavailable
from joinery.events.make import Event, make_delta

if TYPE_CHECKING:
    from joinery.client.http import Client

FINAL: Final = frozenset({"run.completed", "run.failed", "run.cancelled", "run.timed_out"})
"""Events that end a run."""

PING_S: Final = 240.0
"""API Gateway closes a socket that was idle for 10 minutes."""

PONG_S: Final = 15.0
"""A ping that is not answered by then means that the connection is dead."""

BEHIND_S: Final = 1.0
"""An event that is still missing after this time is asked for by HTTP."""

QUIET_S: Final = 10.0
"""After this long without a frame HTTP is asked: the lost one may have been the last."""

POLL_S: Final = 0.5
"""Time between two questions where there is no socket."""

SOCKET_AGAIN_S: Final = 15.0
"""A socket that could not be opened is tried again after this time, meanwhile HTTP is asked."""

GIVE_UP_S: Final = 60.0
"""How long the HTTP API may stay away."""

_RECEIVE_S: Final = 0.2


class Follower:
    """One follower of one run; see `Client.follow`."""

    def __init__(
        self,
        client: Client,
        run_id: str,
        *,
        after_seq: int = 0,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._client, self._run_id, self._stop = client, run_id, stop
        self._cursor = EventCursor(after_seq)
        self._transcript = Transcript()
        self._ended = False
        self._answered = time.monotonic()

    def messages(self) -> Iterator[Event]:
        """Yields events and text until the run has ended."""
        while not self._done():
            socket = self._open()
            if socket is None:
                yield from self._poll_for(SOCKET_AGAIN_S)
                continue
            try:
                yield from self._listen(socket)
            except SocketClosed:
                # Everybody whom a restart has cut off comes back; not all at once.
                self._wait(random.uniform(0.1, 1.0))
            finally:
                socket.close()

    def _done(self) -> bool:
        # A run that had ended may have been resumed since: only the end of the log tells.
        return (self._ended and not self._cursor.behind) or self._stop()

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._stop() and (rest := end - time.monotonic()) > 0:
            time.sleep(min(rest, _RECEIVE_S))

    # -- by socket ---------------------------------------------------------------------

    def _open(self) -> Socket | None:
        if not self._client.ws_url:
            return None
        try:
            return Socket(self._client.ws_url, self._client.headers)
        except Unavailable:
            return None

    def _listen(self, socket: Socket) -> Iterator[Event]:
        subscribe = socket.subscribe(self._run_id, self._cursor.seq, self._transcript.offsets())
        clock = _Clock()
        while not self._done():
            frame = socket.receive(_RECEIVE_S)
            if frame is not None:
                clock.heard()
                if frame["event"] == "resync":
                    # The server gave this connection up for now: HTTP carries on.
                    yield from self._poll_for(SOCKET_AGAIN_S)
                    raise SocketClosed
                yield from self._take(frame, subscribe)
            if clock.missing(self._cursor.behind) or clock.quiet():
                yield from self._ask()
            if clock.pong_is_late():
                raise SocketClosed
            if clock.ping_is_due():
                socket.command("ping", run_id=self._run_id)

    def _take(self, frame: Event, subscribe: str = "") -> Iterator[Event]:
        """Yields what a frame brings that was not known."""
        if frame.get("run_id", self._run_id) != self._run_id:
            return
        self._cursor.note_head(frame)
        if frame["event"] == "error":
            data = frame.get("data") or {}
            if data.get("request_id") == subscribe:
                failure = error_from(0, {"error": data})
                if failure.retryable:
                    raise SocketClosed
                raise failure
            return
        if frame["event"] == "text.delta":
            if self._transcript.apply(frame):
                yield frame
            return
        if "seq" in frame:
            for event in self._cursor.offer(frame):
                yield from self._give(event)

    def _give(self, event: Event) -> Iterator[Event]:
        """Yields an event, after the text that its node should have said by then."""
        self._transcript.apply(event)
        if self._transcript.lacks(event):
            yield from self._missing_text(event["node_id"])
        if event["event"] in FINAL or event["event"] == "run.resumed":
            self._ended = event["event"] in FINAL
        if event["event"] != "void":
            yield event

    # -- by HTTP -----------------------------------------------------------------------

    def _poll_for(self, seconds: float) -> Iterator[Event]:
        end = time.monotonic() + seconds
        while not self._done() and time.monotonic() < end:
            yield from self._missing_text()
            yield from self._ask()
            if not self._done():
                self._wait(POLL_S)

    def _ask(self) -> Iterator[Event]:
        """Yields the stored events that were missing."""
        for event in self._patiently(
            lambda: self._client.events(self._run_id, after_seq=self._cursor.seq)
        ):
            for following in self._cursor.offer(event):
                yield from self._give(following)

    def _missing_text(self, node_id: str | None = None) -> Iterator[Event]:
        """Yields the stored text that was missing, as deltas."""
        for row in self._patiently(lambda: self._client.texts(self._run_id, node_id)):
            delta = make_delta(
                self._run_id,
                at=time.time(),
                head=self._cursor.head,
                **{
                    name: row[name]
                    for name in ("node_id", "path", "attempt", "stream", "offset", "text")
                },
            )
            if self._transcript.apply(delta):
                yield delta

    def _patiently(self, ask: Callable[[], list[Any]]) -> list[Any]:
        """Asks; an API that is away for a moment has nothing to say."""
        try:
            answer = ask()
        except Unavailable:
            if time.monotonic() - self._answered > GIVE_UP_S:
                raise
            return []
        self._answered = time.monotonic()
        return answer


class _Clock:
    """Knows what is due on one connection."""

    def __init__(self) -> None:
        now = time.monotonic()
        self._heard = now
        self._asked = now
        self._pinged = now
        self._waiting_for_pong = False
        self._behind_since: float | None = None

    def heard(self) -> None:
        """A frame came: the connection lives."""
        self._heard = time.monotonic()
        self._waiting_for_pong = False

    def quiet(self) -> bool:
        """Whether it is time to ask HTTP, for want of frames."""
        now = time.monotonic()
        if now - max(self._heard, self._asked) < QUIET_S:
            return False
        self._asked = now
        return True

    def missing(self, behind: bool) -> bool:
        """Whether something has been missing for long enough to ask for it."""
        now = time.monotonic()
        if not behind:
            self._behind_since = None
            return False
        if self._behind_since is None:
            self._behind_since = now
        if now - self._behind_since < BEHIND_S:
            return False
        self._behind_since = now
        return True

    def ping_is_due(self) -> bool:
        """Whether to send a ping now."""
        now = time.monotonic()
        if self._waiting_for_pong or now - self._pinged < PING_S:
            return False
        self._pinged = now
        self._waiting_for_pong = True
        return True

    def pong_is_late(self) -> bool:
        """Whether a ping has stayed without any answer."""
        return self._waiting_for_pong and time.monotonic() - self._pinged > PONG_S
