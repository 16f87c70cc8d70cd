"""A gateway whose clients may be slow, gone or full, and subscribers in memory."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from unit.aws.faults import refusal

from joinery.aws.sockets import SocketPublisher
from joinery.aws.subscribers import Subscriber
from joinery.errors import TransientStore
from joinery.events.make import make_delta, make_event

if TYPE_CHECKING:
    from collections.abc import Callable

RUN = "run_01kaj4z5v9c8w1h7x2m3n4p5q6"
LATER = 9e9


class FakeGateway:
    """The connections' management API, with clients that may be slow, gone or full."""

    def __init__(self) -> None:
        self.sent: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.bytes: list[int] = []
        self.times: list[float] = []
        self.gates: dict[str, threading.Event] = {}
        self.waiting = threading.Event()
        self.refusals: dict[str, list[Exception]] = {}

    def post_to_connection(self, ConnectionId: str, Data: bytes) -> None:
        if self.refusals.get(ConnectionId):
            raise self.refusals[ConnectionId].pop(0)
        if ConnectionId in self.gates:
            self.waiting.set()
            assert self.gates[ConnectionId].wait(5)
        self.bytes.append(len(Data))
        self.times.append(time.monotonic())
        self.sent[ConnectionId].append(json.loads(Data))

    def close_gate(self, connection_id: str) -> threading.Event:
        self.gates[connection_id] = threading.Event()
        return self.gates[connection_id]

    def names(self, connection_id: str) -> list[str]:
        return [message["event"] for message in self.sent[connection_id]]

    def seqs(self, connection_id: str) -> list[int]:
        return [m["seq"] for m in self.sent[connection_id] if "seq" in m]

    def text(self, connection_id: str, stream: str = "text") -> str:
        """Merges deltas by offset, as clients do; fails at a hole."""
        text = ""
        for message in self.sent[connection_id]:
            data = message["data"]
            if message["event"] == "text.delta" and data["stream"] == stream:
                assert data["offset"] <= len(text), "a hole"
                text = text[: data["offset"]] + data["text"]
        return text


class Hold:
    """A read that has its answer, and comes back with it late."""

    def __init__(self) -> None:
        self.reading, self.go_on = threading.Event(), threading.Event()


class FakeStore:
    """Subscribers in memory."""

    def __init__(self) -> None:
        self.watching: dict[str, Subscriber] = {}
        self.subs: int | None = 0
        self.reads = 0
        self.gone: list[tuple[str, str]] = []
        self.deleted: list[str] = []
        self.lagged: list[tuple[str, str]] = []
        self.broken = False
        self.hold: Hold | None = None

    def hold_next_read(self) -> Hold:
        self.hold = Hold()
        return self.hold

    def watch(self, *connections: str, until: float = LATER) -> None:
        for connection in connections:
            self.watching[connection] = Subscriber(connection, "ada", until)
            self.subs = (self.subs or 0) + 1

    def subscribers(self, run_id: str) -> list[Subscriber]:
        self.reads += 1
        if self.broken:
            raise TransientStore("throttled")
        found, hold, self.hold = list(self.watching.values()), self.hold, None
        if hold is not None:
            hold.reading.set()
            assert hold.go_on.wait(5)
        return found

    def unsubscribe(self, run_id: str, connection_id: str) -> None:
        self.gone.append((run_id, connection_id))
        self.watching.pop(connection_id, None)

    def lag(self, run_id: str, connection_id: str) -> None:
        self.lagged.append((run_id, connection_id))
        self.watching[connection_id] = replace(self.watching[connection_id], lagging=True)
        self.subs = (self.subs or 0) + 1

    def subs_seen(self, run_id: str) -> int | None:
        return self.subs

    def delete(self, connection_id: str) -> None:
        self.deleted.append(connection_id)


class World:
    """A publisher with what is around it."""

    def __init__(self) -> None:
        self.gateway, self.store = FakeGateway(), FakeStore()
        self.now = time.time()
        self.publishers: list[SocketPublisher] = []
        self.publisher = self.make()

    def make(self, **options: Any) -> SocketPublisher:
        made = SocketPublisher(
            self.gateway, self.store, self.store,
            **{"clock": lambda: self.now, "posts_per_second": 5_000.0, **options},
        )  # fmt: skip
        self.publishers.append(made)
        return made

    def events(self, *seqs: int) -> None:
        self.publisher.publish(RUN, [event(seq) for seq in seqs])

    def say(self, text: str, offset: int, **place: Any) -> None:
        self.publisher.publish(RUN, [delta(text, offset, **place)])


def event(seq: int, **data: Any) -> dict[str, Any]:
    return {**make_event("node.started", RUN, data, at=1.0), "seq": seq, "head": seq}


def delta(text: str, offset: int, *, head: int = 1, **place: Any) -> dict[str, Any]:
    place = {"node_id": "judge", "path": "", "attempt": 1, "stream": "text", **place}
    return make_delta(RUN, at=1.0, head=head, offset=offset, text=text, **place)


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def behind(world: World) -> None:
    """Lets the lane of `a` hang in its first post."""
    world.store.watch("a")
    world.gateway.close_gate("a")
    world.events(1)
    assert world.gateway.waiting.wait(5)


def full(times: int) -> list[Exception]:
    """Returns refusals of a client whose buffer is full."""
    return [refusal("LimitExceededException", 429) for _ in range(times)]
