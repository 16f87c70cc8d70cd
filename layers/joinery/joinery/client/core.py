"""The rules of a client without its input and output: frames and time in, effects out.

A shell (`live.py`, or yours) owns the connections. It tells the core what happened and
does what `taken()` says; the core never blocks, never sleeps and never reads a clock, so
the same file of examples (`tests/vectors/core.json`) holds for every language.

Effects are JSON-ready objects. `do` is one of

- `open {connection}`: open a socket; answer with `opened` or `open_failed`.
- `close {connection}`: close that socket.
- `send {connection, command}`: send a command.
- `fetch {id, what, run_id, ...}`: ask by HTTP; answer with `fetched` or `fetch_failed`.
  `what` is `events` (one page, with `after_seq` and `wait`), `texts` (all pages, with
  `node_id` or null), or `run` (without results).
- `give {message}`: an event, `text.delta` or `client.gap` for whoever watches.
- `answer {request_id, frame}`: the `ack`, `pong` or `error` of a command.
- `done {run_id, error}`: a run is not watched any more; the error is null at its end.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from joinery.client.frames import readable, unavailable
from joinery.client.outbox import Effect, Outbox
from joinery.client.timing import Timing
from joinery.client.watch import Watch
from joinery.events.make import Event


@dataclass(slots=True)
class _Command:
    """A command whose answer is awaited.

    `run_id` is there where it is a subscription's; `own` says that nobody waits for it.
    """

    action: str
    fields: Mapping[str, Any]
    until: float
    sent: bool = False
    run_id: str = ""
    own: bool = False


class Core:
    """Several runs on one socket, and HTTP for what a socket cannot do.

    Args:
        socket: Whether there is a WebSocket API at all.
        timing: How long to wait for what.
        rand: Uniform from 0 to 1.

    Attributes:
        next: Time at which `tick` is due, None when only an input can change anything.
    """

    def __init__(
        self,
        *,
        socket: bool = True,
        timing: Timing | None = None,
        rand: Callable[[], float] = random.random,
    ) -> None:
        self._socket, self._timing, self._rand = socket, timing or Timing(), rand
        self._out = Outbox()
        self._watches: dict[str, Watch] = {}
        self._commands: dict[str, _Command] = {}
        self._requests = 0
        # The connection: its number, and whether it is open.
        self._connection = 0
        self._opening = self._open = False
        self._failures = 0
        self._open_at = 0.0
        self._opened_at = self._renew_at = 0.0
        self._sent_at = 0.0
        self._pinged_at: float | None = None
        self._down_at: float | None = None
        self._heard = False

    @property
    def next(self) -> float | None:
        """When `tick` is due."""
        return self._out.next

    def taken(self) -> list[Effect]:
        """Returns what is to be done since the last time."""
        return self._out.taken()

    # -- what the caller wants ---------------------------------------------------------

    def watch(self, run_id: str, now: float, after_seq: int = 0) -> None:
        """Begins to watch a run; one that is watched already goes on as it is."""
        if run_id not in self._watches:
            self._watches[run_id] = Watch(
                run_id, after_seq, now, timing=self._timing, rand=self._rand, out=self._out
            )
        self.tick(now)

    def unwatch(self, run_id: str, now: float) -> None:
        """Ends watching a run."""
        watch = self._watches.pop(run_id, None)
        if watch is not None:
            watch.fail(None)
            if self._open and watch.connection == self._connection:
                self._add("unsubscribe", {"run_id": run_id}, now, own=True)
        self.tick(now)

    def command(self, action: str, fields: Mapping[str, Any], now: float) -> str:
        """Sends a command as soon as there is a socket; returns its request id."""
        request_id = self._add(action, fields, now)
        if not self._socket:
            self._answer(request_id, unavailable(request_id, "there is no WebSocket address"))
        self.tick(now)
        return request_id

    def _add(
        self,
        action: str,
        fields: Mapping[str, Any],
        now: float,
        *,
        run_id: str = "",
        own: bool = False,
    ) -> str:
        self._requests += 1
        request_id = str(fields.get("request_id") or self._requests)
        until = now + self._timing.answer_s
        self._commands[request_id] = _Command(action, fields, until, run_id=run_id, own=own)
        return request_id

    # -- what happened to the connection -----------------------------------------------

    def opened(self, connection: int, now: float) -> None:
        """Takes that the socket is open."""
        if connection != self._connection or not self._opening:
            return
        self._opening, self._open, self._heard = False, True, False
        self._opened_at = self._sent_at = now
        self._pinged_at = self._down_at = None
        jitter = self._rand() * self._timing.lifetime_jitter_s
        self._renew_at = now + self._timing.lifetime_s - jitter
        self.tick(now)

    def open_failed(self, connection: int, now: float) -> None:
        """Takes that the socket could not be opened."""
        if connection != self._connection or not self._opening:
            return
        self._opening = False
        self._failures += 1
        self._open_at = now + self._pause()
        for request_id in [i for i, c in self._commands.items() if not c.sent]:
            self._answer(request_id, unavailable(request_id, "no socket could be opened"))
        self.tick(now)

    def closed(self, connection: int, now: float) -> None:
        """Takes that the socket is gone, whoever closed it."""
        if connection != self._connection or not self._open:
            return
        self._failures = 0 if self._heard else self._failures + 1
        self._cut(now + self._pause())
        self.tick(now)

    def _pause(self) -> float:
        """Full jitter: everybody whom a restart has cut off comes back, not all at once."""
        return self._timing.jittered(self._rand(), self._failures)

    def _cut(self, open_at: float) -> None:
        self._open, self._open_at = False, open_at
        for watch in self._watches.values():
            watch.cut()
        for request_id, command in list(self._commands.items()):
            if command.run_id:
                del self._commands[request_id]
            elif command.sent:
                reason = "the connection closed before the answer: it may have been carried out"
                self._answer(request_id, unavailable(request_id, reason))

    def _renew(self, now: float) -> None:
        """Replaces the socket at once."""
        self._out.put("close", connection=self._connection)
        self._cut(now)

    # -- frames ------------------------------------------------------------------------

    def frame(self, connection: int, message: Any, now: float) -> None:
        """Takes what the socket has brought; what makes no sense is ignored."""
        if connection != self._connection or not self._open:
            return
        self._pinged_at = None
        if readable(message):
            self._take(message, now)
        self.tick(now)

    def _take(self, message: Event, now: float) -> None:
        self._heard, self._failures = True, 0
        name, watch = message["event"], self._watches.get(message.get("run_id", ""))
        if name in ("ack", "pong", "error"):
            self._answered(message, now)
        elif watch is None or watch.done:
            return
        elif name == "resync":
            watch.resync(message, now)
        elif name == "hint":
            watch.hint(message, now)
        else:
            watch.heard(message, now)

    def _answered(self, frame: Event, now: float) -> None:
        data = frame.get("data") or {}
        watch = self._watches.get(frame.get("run_id", ""))
        if watch is not None:
            watch.feed.cursor.note_head(frame)
        request_id = str(data.get("request_id"))
        command = self._commands.get(request_id)
        if command is None:
            return
        if not command.run_id:
            self._answer(request_id, frame)
        refused = frame["event"] == "error"
        expired = refused and data.get("code") == "unauthorized"
        if expired and now - self._opened_at > self._timing.renew_s:
            # The token has expired: a new socket asks for a new one.
            self._renew(now)
            return
        self._commands.pop(request_id, None)
        subscribed = self._watches.get(command.run_id)
        if subscribed is None or subscribed.request_id != request_id:
            return
        if refused:
            subscribed.refused(data, now)
        else:
            subscribed.acknowledged(frame, now)

    def _answer(self, request_id: str, frame: Event) -> None:
        command = self._commands.pop(request_id, None)
        if command is None or not command.own:
            self._out.put("answer", request_id=request_id, frame=frame)

    # -- answers of HTTP ---------------------------------------------------------------

    def fetched(self, id_: int, answer: Any, now: float) -> None:
        """Takes the answer to a `fetch`."""
        for watch in list(self._watches.values()):
            if not watch.done:
                watch.fetched(id_, answer, now)
        self.tick(now)

    def fetch_failed(self, id_: int, error: Mapping[str, Any], now: float) -> None:
        """Takes that a `fetch` got no answer: `{code, message, retryable, details?}`."""
        for watch in list(self._watches.values()):
            if not watch.done:
                watch.failed(id_, error, now)
        self.tick(now)

    # -- what is due -------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Does everything that is due. Too often does no harm."""
        before = -1
        while before != self._out.count:
            # What was done may make something else due, or due later.
            before = self._out.count
            self._settle(now)

    def _settle(self, now: float) -> None:
        self._out.next = None
        self._expire(now)
        self._settle_connection(now)
        connection = self._connection if self._open else 0
        pulling = not self._open and self._pulls(now)
        for run_id, watch in list(self._watches.items()):
            command = watch.settle(now, connection=connection, pulling=pulling)
            if command is not None:
                watch.request_id = self._add("subscribe", command, now, run_id=run_id)
            if watch.done:
                del self._watches[run_id]
        self._send(now)

    def _pulls(self, now: float) -> bool:
        """Whether HTTP has to do: no socket can be had, or one takes long to open."""
        if self._down_at is None:
            self._down_at = now
        failed = not self._socket or self._failures > 0
        return failed or self._out.due(self._down_at + self._timing.slow_open_s, now)

    def _settle_connection(self, now: float) -> None:
        due = self._out.due
        if self._open:
            if self._pinged_at is not None and due(self._pinged_at + self._timing.pong_s, now):
                self._out.put("close", connection=self._connection)
                self._cut(now + self._pause())
            elif due(self._renew_at, now) and not self._commands:
                self._renew(now)
            elif due(self._sent_at + self._timing.ping_s, now) and self._pinged_at is None:
                self._ping(now)
        wanted = self._watches or self._commands
        if self._socket and wanted and not (self._open or self._opening):
            if not due(self._open_at, now):
                return
            self._connection += 1
            self._opening = True
            self._out.put("open", connection=self._connection)

    def _ping(self, now: float) -> None:
        quietest = min(self._watches.values(), key=lambda w: w.heard_at, default=None)
        fields = {"run_id": quietest.run_id} if quietest else {}
        self._add("ping", fields, now, own=True)
        self._pinged_at = now

    def _expire(self, now: float) -> None:
        """Gives up the commands that got no answer in time."""
        for request_id, command in list(self._commands.items()):
            if not self._out.due(command.until, now):
                continue
            if not command.run_id:
                self._answer(request_id, unavailable(request_id, "no answer in time"))
                continue
            del self._commands[request_id]
            watch = self._watches.get(command.run_id)
            if watch is not None and watch.request_id == request_id:
                watch.unanswered()

    def _send(self, now: float) -> None:
        """Sends what was not sent on this connection."""
        for request_id, command in self._commands.items():
            self._out.due(command.until, now)
            if self._open and not command.sent:
                command.sent, self._sent_at = True, now
                body = {"action": command.action, "request_id": request_id, **command.fields}
                self._out.put("send", connection=self._connection, command=body)
