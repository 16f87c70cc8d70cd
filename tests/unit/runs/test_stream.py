"""Whoever asks again and again, cut off anywhere, has every event and all text in the end."""

from __future__ import annotations

import random
from typing import Any

import pytest
from kit.installation import Archive
from kit.workflows import workflow

from joinery.compiler.compile import compile_workflow
from joinery.compiler.plan import Plan
from joinery.errors import CursorAhead
from joinery.events.make import Event, make_event
from joinery.runs.cursor import Cursor
from joinery.runs.model import NodeKey, NodeRecord, RunRecord
from joinery.runs.ports import TextPiece
from joinery.runs.stream import Portion, read_portion, wait_for_news

RUN = "run_01kaj4z5v9c8w1h7x2m3n4p5q6"
NODES = ("a", "b", "c")
WORDS = "héllo 漢字 👩🏽‍🚀 שלום e\u0301 "
PLAN: Plan = compile_workflow(
    workflow(
        ["start -> a, b, c", "a, b, c -> end"], {n: {"type": "llm", "prompt": "hi"} for n in NODES}
    )
).plan


class Script:
    """A run of three nodes that write at once, step by step."""

    def __init__(self, seed: int) -> None:
        self.store = Archive()
        self.random = random.Random(seed)
        self.store.create_run(RunRecord(RUN, "me", "wf", 1, "test", "running"), {}, [], {})
        self.event("run.started", {})
        self.texts: dict[str, str] = {}
        self.left = {name: self.random.randint(0, 9) for name in NODES}
        self.begun: dict[str, int] = {}

    def event(self, name: str, data: dict[str, Any], node: str | None = None) -> Event:
        path = "" if node else None
        made = make_event(name, RUN, data, at=1.0, node_id=node, path=path)
        [stored] = self.store.append(RUN, [made])
        return stored

    def key(self, node: str) -> NodeKey:
        return NodeKey(PLAN.by_id[node].ord, "")

    def step(self) -> bool:
        """Does one thing; False when the run is over."""
        node = self.random.choice([n for n in NODES if self.left[n] >= 0] or ["end"])
        if node == "end":
            run = self.store.get_run(RUN)
            end = make_event("run.completed", RUN, {}, at=2.0)
            self.store.close_run(run, status="completed", at=2.0, event=end)
            return False
        if node not in self.begun:
            self._begin(node)
        elif self.left[node] == 0:
            self._end(node)
        elif self.random.random() < 0.1 and self.begun[node] < 3:
            self.event("node.retrying", {"attempt": self.begun[node], "error": {}}, node)
            self._begin(node)
        else:
            self._write(node)
        return True

    def _begin(self, node: str) -> None:
        attempt = self.begun[node] = self.begun.get(node, 0) + 1
        self.texts[node] = ""
        self.store._run(RUN).nodes[self.key(node)] = NodeRecord(
            self.key(node), node, "running", attempt
        )
        self.event("node.started", {"attempt": attempt, "type": "llm"}, node)

    def _write(self, node: str) -> None:
        self.left[node] -= 1
        piece = WORDS * self.random.randint(1, 3)
        offset = len(self.texts[node])
        place = (self.key(node), self.begun[node], "text", offset, piece)
        self.store.put_text(RUN, TextPiece(*place))
        self.texts[node] += piece

    def _end(self, node: str) -> None:
        self.left[node] -= 1
        attempt, length = self.begun[node], len(self.texts[node])
        self.event("usage.recorded", {}, node)
        streams = {"text": {"length": length, "sha256": ""}} if length else {}
        done = self.event("node.completed", {"attempt": attempt, "streams": streams}, node)
        self.store._run(RUN).nodes[self.key(node)] = NodeRecord(
            self.key(node), node, "completed", attempt, seq=done["seq"] - 1
        )

    def read(self, cursor: Cursor, limit: int = 100, most: int = 10_000) -> Portion:
        run = self.store.get_run(RUN)
        return read_portion(
            self.store, run, PLAN, cursor, limit=limit, most_bytes=most, now=1_000.0
        )


class Client:
    """Merges as clients do; the words between it and the server are texts."""

    def __init__(self) -> None:
        self.id = "0"
        self.seqs: list[int] = []
        self.names: list[str] = []
        self.texts: dict[tuple[str, int], str] = {}
        self.latest: dict[str, int] = {}

    def take(self, message: Event, cursor: Cursor) -> None:
        self.id = str(cursor)
        data = message["data"]
        if message["event"] == "text.delta":
            place = (message["node_id"], data["attempt"])
            held = self.texts.get(place, "")
            assert data["offset"] <= len(held), "a hole"
            self.texts[place] = held[: data["offset"]] + data["text"]
            return
        self.seqs.append(message["seq"])
        if message["event"] == "node.started":
            self.latest[message["node_id"]] = data["attempt"]
        if message["event"] == "node.completed" and data["streams"]:
            place = (message["node_id"], data["attempt"])
            assert len(self.texts[place]) == data["streams"]["text"]["length"]


@pytest.mark.parametrize("seed", range(60))
def test_a_reader_that_is_cut_off_anywhere_misses_nothing(seed: int) -> None:
    script, client = Script(seed), Client()
    going, choose = True, script.random
    while True:
        for _ in range(choose.randint(0, 6)):
            going = going and script.step()
        given = client.id
        if choose.random() < 0.1:
            # Somebody who kept the number alone gets the text of open nodes from its start.
            given = given.partition(";")[0]
        portion = script.read(Cursor.parse(given), choose.randint(1, 8), choose.randint(1, 4_000))
        if portion.finished:
            break
        kept = choose.randint(0, len(portion.messages))
        for message, cursor in portion.messages[:kept]:
            client.take(message, cursor)
    assert client.seqs == list(range(1, script.store.control(RUN).head + 1))
    for node, text in script.texts.items():
        assert client.texts.get((node, client.latest[node]), "") == text


def test_text_that_was_had_is_not_sent_again() -> None:
    script = Script(1)
    while script.step():
        pass
    client = Client()
    for message, cursor in script.read(Cursor()).messages:
        client.take(message, cursor)
    assert client.id == f"{script.store.control(RUN).head};"
    assert script.read(Cursor.parse(client.id)).finished
    # One who has all events has all text of what has ended.
    assert script.read(Cursor.at(client.seqs[-1])).finished


def test_a_reader_cannot_be_ahead() -> None:
    script = Script(1)
    with pytest.raises(CursorAhead) as ahead:
        script.read(Cursor.at(2))
    assert ahead.value.details == {"head": 1}


# -- waiting -----------------------------------------------------------------------------


class Waiter:
    def __init__(self, script: Script, cursor: Cursor) -> None:
        self.script, self.cursor = script, cursor
        self.now, self.reads, self.looks = 0.0, 0, 0
        self.at: dict[float, Any] = {}

    def read(self) -> Portion:
        self.reads += 1
        return self.script.read(self.cursor)

    def head(self) -> int:
        self.looks += 1
        return self.script.store.control(RUN).head

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for when in [when for when in self.at if when <= self.now]:
            self.at.pop(when)()

    def wait(self, seconds: float) -> Portion:
        return wait_for_news(
            self.read, self.head, seconds, clock=lambda: self.now, sleep=self.sleep
        )


def test_waiting_costs_a_look_a_second_at_most() -> None:
    waiter = Waiter(Script(1), Cursor(1))
    assert waiter.wait(10).messages == []
    assert waiter.now == 10
    assert waiter.reads == 1
    assert 10 <= waiter.looks <= 13


def test_waiting_ends_with_the_first_news() -> None:
    script = Script(1)
    waiter = Waiter(script, Cursor(1))
    waiter.at[3.0] = lambda: script.event("input.cut", {})
    assert [m["event"] for m, _ in waiter.wait(10).messages] == ["input.cut"]
    assert 3 <= waiter.now <= 4
    assert waiter.reads == 2


def test_waiting_sees_text_of_a_node_that_writes() -> None:
    script = Script(1)
    script._begin("a")
    script.left["a"] = 1
    begun = script.read(Cursor()).cursor
    waiter = Waiter(script, begun)
    waiter.at[2.0] = lambda: script._write("a")
    assert [m["event"] for m, _ in waiter.wait(10).messages] == ["text.delta"]
    assert waiter.now < 4


def test_nobody_waits_for_a_run_that_has_ended() -> None:
    script = Script(1)
    while script.step():
        pass
    waiter = Waiter(script, Cursor.at(script.store.control(RUN).head))
    assert waiter.wait(10).finished
    assert waiter.now == 0
