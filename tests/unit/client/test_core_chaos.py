"""The core in a world of its own, where time is a number and everything may go wrong."""

from __future__ import annotations

import heapq
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from kit.recorded import Message, Recorded

from joinery.client import Core

RECORDED = Recorded.four_writers()
LENGTH = len(RECORDED.messages)
STEP_S = 0.05
PATIENCE_S = 300.0
"""How long after the end of the run the client may still be busy."""


@dataclass
class Weather:
    drop: float
    double: float
    late: float
    busy: float
    refuse: float
    cuts: list[float]
    resyncs: list[int]
    hint: int
    begin: int
    seed: int


@dataclass
class World:
    """Server, network and clock."""

    weather: Weather
    now: float = 0.0
    given: list[Message] = field(default_factory=list)
    done: bool = False
    error: Any = None
    connection: int = 0
    subscribed: set[int] = field(default_factory=set)
    queue: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    count: int = 0

    def __post_init__(self) -> None:
        self.dice = random.Random(self.weather.seed)
        self.core = Core(rand=self.dice.random)

    def run(self) -> None:
        for index in range(self.weather.begin, LENGTH):
            self.after((index - self.weather.begin) * STEP_S, lambda index=index: self.post(index))
        for at in self.weather.cuts:
            self.after(at, self.cut)
        self.core.watch(RECORDED.run_id, self.now)
        self.carry()
        end = (LENGTH - self.weather.begin) * STEP_S + PATIENCE_S
        while not self.done:
            due = self.core.next
            if self.queue and (due is None or self.queue[0][0] <= due):
                self.now, _, do = heapq.heappop(self.queue)
                do()
            else:
                assert due is not None, "the client waits for nothing"
                assert due >= self.now - 1e-9, "what is due is done"
                self.now = max(due, self.now)
                self.core.tick(self.now)
            self.carry()
            assert self.now < end, "the client never has it all"

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.queue, (self.now + seconds, self.count, do))

    def lag(self) -> float:
        return self.dice.uniform(0.001, 0.2)

    @property
    def moment(self) -> int:
        return min(LENGTH, self.weather.begin + int(self.now / STEP_S))

    # -- the client's wishes ---------------------------------------------------------------

    def carry(self) -> None:
        for effect in self.core.taken():
            getattr(self, f"do_{effect['do']}")(effect)

    def do_give(self, effect: Message) -> None:
        self.given.append(effect["message"])

    def do_done(self, effect: Message) -> None:
        self.done, self.error = True, effect["error"]

    def do_open(self, effect: Message) -> None:
        number = effect["connection"]
        if self.dice.random() < self.weather.refuse:
            self.after(self.lag(), lambda: self.core.open_failed(number, self.now))
        else:
            self.after(self.lag(), lambda: self.opened(number))

    def opened(self, number: int) -> None:
        self.connection = number
        self.core.opened(number, self.now)

    def do_close(self, effect: Message) -> None:
        self.subscribed.discard(effect["connection"])

    def do_send(self, effect: Message) -> None:
        number, command = effect["connection"], effect["command"]
        self.after(self.lag(), lambda: self.command(number, command))

    def do_fetch(self, effect: Message) -> None:
        self.after(self.lag() + self.dice.random() * effect.get("wait", 0),
                   lambda: self.answer(effect))  # fmt: skip

    # -- the server ------------------------------------------------------------------------

    def frame(self, event: str, **data: Any) -> Message:
        head = RECORDED.head(self.moment)
        return {"event": event, "run_id": RECORDED.run_id, "head": head, "data": data}

    def command(self, number: int, command: Message) -> None:
        if number != self.connection:
            return
        answer = {"request_id": command["request_id"], "action": command["action"]}
        if command["action"] == "ping":
            self.wire(number, self.frame("pong", **answer))
            return
        self.subscribed.add(number)
        if self.weather.hint < 0:
            for message in RECORDED.replay(self.moment, command["after_seq"], command["offsets"]):
                self.wire(number, message)
        status = "completed" if self.moment == LENGTH else "running"
        self.wire(number, self.frame("ack", **answer, status=status))

    def post(self, index: int) -> None:
        for number in self.subscribed:
            if index in self.weather.resyncs:
                self.wire(number, self.frame("resync"))
            elif 0 <= self.weather.hint <= index:
                self.wire(number, self.frame("hint"))
            else:
                self.wire(number, RECORDED.messages[index])

    def wire(self, number: int, message: Message) -> None:
        dice, weather = self.dice, self.weather
        if dice.random() < weather.drop:
            return
        lag = self.lag() + (dice.uniform(0, 5) if dice.random() < weather.late else 0)
        for _ in range(2 if dice.random() < weather.double else 1):
            self.after(lag, lambda: self.core.frame(number, message, self.now))

    def cut(self) -> None:
        if self.connection in self.subscribed:
            self.subscribed.clear()
            number, self.connection = self.connection, 0
            self.core.closed(number, self.now)

    def answer(self, effect: Message) -> None:
        if self.dice.random() < self.weather.busy:
            error = {"code": "unavailable", "message": "busy", "retryable": True}
            self.core.fetch_failed(effect["id"], error, self.now)
            return
        answer: Any = {"status": "completed" if self.moment == LENGTH else "running"}
        if effect["what"] == "events":
            events = RECORDED.events(self.moment, effect["after_seq"])[:20]
            answer = {"events": events, "head": RECORDED.head(self.moment)}
        elif effect["what"] == "texts":
            answer = RECORDED.texts(self.moment, effect["node_id"])
        self.core.fetched(effect["id"], answer, self.now)


@settings(max_examples=int(os.environ.get("JOINERY_EXAMPLES", "60")), deadline=None)
@given(
    st.builds(
        Weather,
        drop=st.floats(0, 1),
        double=st.floats(0, 1),
        late=st.floats(0, 1),
        busy=st.floats(0, 0.6),
        refuse=st.floats(0, 1),
        cuts=st.lists(st.floats(0, 8), max_size=12),
        resyncs=st.lists(st.integers(0, LENGTH), max_size=3),
        hint=st.integers(-40, LENGTH),
        begin=st.integers(0, LENGTH),
        seed=st.integers(0, 2**32),
    )
)
def test_whatever_happens_the_whole_run_comes_once(weather: Weather) -> None:
    world = World(weather)
    world.run()
    assert world.error is None
    RECORDED.check(world.given)
