"""Reaches the people who watch a run: `Publisher` over the WebSocket API."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from joinery import limits
from joinery.aws.frames import Frame, frame_of
from joinery.aws.hints import HINT_S, Hinter
from joinery.aws.lanes import Lane
from joinery.aws.posting import Pacer, SocketSender, others_share, share
from joinery.aws.subscribers import Subscriber, by_room
from joinery.events.make import RUN_ENDINGS, Event

log = logging.getLogger(__name__)

_CROWD_SHARE: Final = 0.25
"""What deltas leave of the pace to hints, where some viewers are told to pull."""

_CLOSE_S: Final = 5.0
"""A post ends within this time: two attempts of 2 s."""


class Subscriptions(Protocol):
    """Who watches; the run store knows."""

    def subscribers(self, run_id: str) -> list[Subscriber]:
        """Returns who watches a run now."""
        ...

    def unsubscribe(self, run_id: str, connection_id: str) -> None:
        """Ends a subscription."""
        ...

    def lag(self, run_id: str, connection_id: str) -> None:
        """Notes that a subscriber could not follow."""
        ...

    def subs_seen(self, run_id: str) -> int | None:
        """Returns the version of the subscribers that was last read, None if never."""
        ...


class Connections(Protocol):
    """The open connections."""

    def delete(self, connection_id: str) -> None:
        """Forgets a connection."""
        ...


@dataclass(slots=True)
class _Audience:
    """The subscribers of one run, as of a version, and what waits for a newer one."""

    version: int | None = None
    lanes: list[Lane] = field(default_factory=list)
    crowded: bool = False
    reading: bool = False
    inbox: list[Event] = field(default_factory=list)
    greeted: set[str] = field(default_factory=set)
    news: int = 0
    """The version that brought new ones: every node of an invocation is told of them."""


class SocketPublisher:
    """Implements `Publisher`.

    Each connection has a lane with a thread of its own, so a slow client delays
    nobody. Subscribers are read again when their version has changed; a run that
    nobody watches costs no call at all. All lanes share this process's part of what
    the run may post; viewers beyond the first ones, and those who cannot follow, get
    hints to pull, within that part.

    Args:
        client: Client of the connections' management API.
        subscriptions: Who watches.
        connections: Where a connection that is gone is forgotten.
        posts_per_second: The most that all processes post for one run.
        clock: Epoch seconds.
    """

    def __init__(
        self,
        client: Any,
        subscriptions: Subscriptions,
        connections: Connections,
        *,
        posts_per_second: float = limits.RUN_POSTS_PER_SECOND,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sender = SocketSender(client)
        self._subscriptions, self._connections = subscriptions, connections
        self._clock = clock
        self._per_second = posts_per_second
        self._pacer = Pacer(*others_share(posts_per_second))
        self._hinter = Hinter(
            self._sender.post, self._pacer, on_gone=self._forget_hinted, clock=clock
        )
        self._runs: dict[str, _Audience] = {}
        self._lanes: dict[str, Lane] = {}
        self._abandoned: list[Lane] = []
        self._changed = threading.Condition()
        self._ends = False

    # -- the port ------------------------------------------------------------------------

    def begin(self, run_id: str, width: int) -> None:
        """See `Publisher.begin`."""
        self._pacer.set(*share(self._per_second, max(1, width)))
        self._hinter.begin(run_id, HINT_S * max(1, width))

    def interval(self, run_id: str) -> float:
        """See `Publisher.interval`."""
        with self._changed:
            audience = self._runs.get(run_id)
            if audience is None:
                return 0.0
            pace = self._pacer.per_second * (1 - _CROWD_SHARE if audience.crowded else 1)
            return len(audience.lanes) / pace

    def publish(self, run_id: str, messages: Sequence[Event]) -> None:
        """See `Publisher.publish`: hands the messages to the lanes and returns."""
        if any(message["event"] in RUN_ENDINGS for message in messages):
            self._ends = True
        try:
            self._publish(run_id, messages)
        except Exception:
            log.exception("messages of run %s were not sent", run_id)

    def refresh(self, run_id: str, subs: int) -> bool:
        """See `Publisher.refresh`."""
        try:
            return self._refresh(run_id, subs)
        except Exception:
            log.exception("the subscribers of run %s were not read", run_id)
            return False

    def drain(self, timeout_s: float, end_s: float = 0.0) -> bool:
        """Waits until all is sent; call it before a handler returns, since Lambda freezes.

        What is not sent in time goes with the next invocation of this process; if there
        is none, the client sees by the next message's `head` that it misses something.
        A connection that is slow is not waited for, and is told to pull from then on.
        Afterwards subscribers are read anew, so the next invocation knows who has come.

        Args:
            timeout_s: Longest wait, in seconds.
            end_s: Longest wait if a run's end has been published since the last time: no
                later message would tell a viewer what is missing.

        Returns:
            Whether everything was sent.
        """
        if self._ends:
            self._ends, timeout_s = False, max(timeout_s, end_s)
        deadline = time.monotonic() + timeout_s
        with self._changed:
            done = self._changed.wait_for(
                lambda: not any(audience.reading for audience in self._runs.values()),
                timeout_s,
            )
            lanes = list(self._lanes.values())
        for lane in lanes:
            done = lane.wait_empty(deadline - time.monotonic()) and done
        done = self._hinter.wait_told(deadline - time.monotonic()) and done
        self._hinter.rest()
        self._let_go(lanes)
        return done

    def _let_go(self, lanes: Sequence[Lane]) -> None:
        """Ends the lanes that are empty, and leaves those to themselves that are slow."""
        empty = [lane for lane in lanes if lane.wait_empty(0)]
        slow = [lane for lane in lanes if lane not in empty and lane.slow]
        with self._changed:
            for lane in (*slow, *empty):
                self._lanes.pop(lane.connection_id, None)
            self._runs.clear()
        for lane in slow:
            self._lag(lane)
        for lane in empty:
            lane.stop(_CLOSE_S)
        self._abandoned = [lane for lane in (*self._abandoned, *slow) if lane.running]

    def close(self) -> None:
        """Ends all threads; what waits is dropped."""
        with self._changed:
            lanes = [*self._lanes.values(), *self._abandoned]
            self._lanes.clear()
            self._runs.clear()
        for lane in lanes:
            lane.stop(_CLOSE_S)
        self._hinter.stop(_CLOSE_S)

    # -- inside --------------------------------------------------------------------------

    def _publish(self, run_id: str, messages: Sequence[Event]) -> None:
        seen = self._subscriptions.subs_seen(run_id)
        with self._changed:
            if seen == 0:
                self._runs.pop(run_id, None)
                return
            audience = self._runs.setdefault(run_id, _Audience())
            if audience.reading:
                audience.inbox.extend(messages)
            elif audience.version is None or (seen or 0) > audience.version:
                audience.inbox.extend(messages)
                audience.reading = True
                # Reading takes milliseconds, or seconds when the table is slow: not here.
                threading.Thread(
                    target=self._read, args=(run_id, audience, seen or 0), daemon=True
                ).start()
            else:
                self._hand_over(run_id, audience, messages)

    def _read(self, run_id: str, audience: _Audience, version: int) -> None:
        found: list[Subscriber] | None = None
        try:
            found = self._subscriptions.subscribers(run_id)
        except Exception as error:
            log.warning("the subscribers of run %s were not read: %s", run_id, error)
        with self._changed:
            if found is not None:
                self._admit(run_id, audience, found, version)
            messages, audience.inbox, audience.reading = audience.inbox, [], False
            self._changed.notify_all()
            self._hand_over(run_id, audience, messages)

    def _refresh(self, run_id: str, subs: int) -> bool:
        with self._changed:
            audience = self._runs.setdefault(run_id, _Audience())
            known = audience.version == subs and not audience.reading
        found = None if known else self._subscriptions.subscribers(run_id) if subs else []
        with self._changed:
            if found is not None:
                self._admit(run_id, audience, found, subs)
            present = {lane.connection_id for lane in audience.lanes}
            if present - audience.greeted:
                audience.news = subs
            audience.greeted = present
            return audience.news == subs

    def _admit(
        self, run_id: str, audience: _Audience, found: Sequence[Subscriber], version: int
    ) -> None:
        """Makes lanes of subscribers; the caller holds the lock.

        Two may read at once, and who read first may come last: what is older than what
        is known is left, or a new viewer would miss what goes out until the next look.
        """
        if audience.version is not None and version < audience.version:
            return
        live, crowd = by_room(found)
        audience.version, audience.crowded = version, bool(crowd)
        audience.lanes = []
        self._hinter.watch(run_id, crowd)
        for subscriber in live:
            lane = self._lanes.get(subscriber.connection_id)
            if lane is None or lane.dead:
                lane = self._lanes[subscriber.connection_id] = Lane(
                    subscriber.connection_id,
                    self._sender.post,
                    self._pacer,
                    on_gone=self._forget,
                    clock=self._clock,
                )
            lane.expires_at = subscriber.expires_at
            lane.runs.add(run_id)
            audience.lanes.append(lane)

    def _forget(self, lane: Lane) -> None:
        """Removes a connection that is gone; runs in its lane's thread."""
        self._forget_connection(sorted(lane.runs), lane.connection_id)

    def _forget_hinted(self, run_id: str, connection_id: str) -> None:
        self._forget_connection([run_id], connection_id)

    def _forget_connection(self, runs: Sequence[str], connection_id: str) -> None:
        try:
            for run_id in runs:
                self._subscriptions.unsubscribe(run_id, connection_id)
            self._connections.delete(connection_id)
        except Exception as error:
            log.warning("a connection that is gone was not forgotten: %s", error)

    def _lag(self, lane: Lane) -> None:
        """Lets nobody wait for a connection again until it subscribes anew."""
        log.warning("a client cannot follow: it is told to pull")
        lane.abandon()
        try:
            for run_id in sorted(lane.runs):
                self._subscriptions.lag(run_id, lane.connection_id)
        except Exception as error:
            log.warning("a client that lags was not marked: %s", error)

    def _hand_over(self, run_id: str, audience: _Audience, messages: Sequence[Event]) -> None:
        if not messages:
            return
        if audience.lanes:
            frames: list[Frame] = [frame_of(message) for message in messages]
            for lane in audience.lanes:
                lane.put(frames)
        if audience.crowded:
            head = max(int(message.get("head", 0)) for message in messages)
            ended = any(message["event"] in RUN_ENDINGS for message in messages)
            self._hinter.news(run_id, head, ended=ended)
