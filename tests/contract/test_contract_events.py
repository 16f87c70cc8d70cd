"""What every store promises of events and text."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from joinery.errors import NotFound, RunCancelled, RunSuspended
from joinery.events.make import make_event
from joinery.runs.model import NodeKey, NodeRecord
from joinery.runs.ports import ClaimLost, TextPiece

if TYPE_CHECKING:
    from contract.backends import Backend, Started


def _event(started: Started, number: int = 0) -> dict[str, Any]:
    return make_event("node.started", started.id, {"n": number}, at=started.now)


def test_events_are_numbered_and_read_in_order(started: Started) -> None:
    first = started.store.append(started.id, [_event(started, 1), _event(started, 2)])
    second = started.again().append(started.id, [_event(started, 3)])
    assert [(e["seq"], e["data"]["n"]) for e in [*first, *second]] == [(1, 1), (2, 2), (3, 3)]
    store = started.again()
    assert store.events(started.id, 0, 10) == [*first, *second]
    assert [e["seq"] for e in store.events(started.id, 1, 10)] == [2, 3]
    assert [e["seq"] for e in store.events(started.id, 0, 2)] == [1, 2]
    assert store.events(started.id, 3, 10) == []
    assert store.control(started.id).head == 3


def test_appending_nothing_stores_nothing(started: Started) -> None:
    assert started.store.append(started.id, []) == []
    assert started.store.control(started.id).head == 0


def test_an_attempt_begins_only_in_a_run_that_goes_on(started: Started) -> None:
    record = NodeRecord(NodeKey(3, ""), "node3", "running", 1)
    started.store.request_cancel(started.id)
    with pytest.raises(RunCancelled):
        started.again().append(started.id, [_event(started)], begins=record)
    assert started.store.control(started.id).head == 0
    # What is no beginning is told all the same.
    [stored] = started.again().append(started.id, [_event(started)])
    assert stored["seq"] == 1


def test_no_attempt_begins_in_a_paused_run(started: Started) -> None:
    run = started.store.get_run(started.id)
    paused = make_event("run.paused", started.id, {"incarnation": 1}, at=started.now)
    [event] = started.store.pause_run(run, paused)
    record = NodeRecord(NodeKey(3, ""), "node3", "running", 1)
    with pytest.raises(RunSuspended):
        started.again().append(started.id, [_event(started)], begins=record)
    assert started.store.control(started.id).head == event["seq"]


def test_no_attempt_begins_in_a_run_that_is_not_there(backend: Backend) -> None:
    record = NodeRecord(NodeKey(3, ""), "node3", "running", 1)
    event = make_event("node.started", "run_absent", {}, at=1.0)
    with pytest.raises(NotFound):
        backend.make().append("run_absent", [event], begins=record)


def test_the_beginning_of_an_attempt_that_was_overtaken_is_refused(started: Started) -> None:
    def claim(now: float) -> NodeRecord:
        return started.again().claim(
            started.id, NodeKey(3, ""), "node3", holder=str(now), now=now, until=now + 15
        )

    slow, log = claim(started.now), getattr(started.store, "_log", None)
    if log is None:
        claim(started.now + 16)
    else:
        draw = log.draw

        def and_sleep(run_id: str, count: int, **more: Any) -> list[int]:
            seqs: list[int] = draw(run_id, count, **more)
            log.draw = draw
            log.void(run_id, seqs)
            claim(started.now + 16)
            return seqs

        log.draw = and_sleep
    with pytest.raises(ClaimLost):
        started.store.append(started.id, [_event(started)], begins=slow)
    assert "node.started" not in [e["event"] for e in started.again().events(started.id, 0, 10)]


def test_forty_writers_at_once_leave_no_hole(started: Started) -> None:
    with ThreadPoolExecutor(20) as pool:
        stored = list(pool.map(lambda n: started.store.append(started.id, [_event(started, n)]),
                               range(40)))  # fmt: skip
    assert sorted(e["seq"] for [e] in stored) == list(range(1, 41))
    read = started.again().events(started.id, 0, 100)
    assert [e["seq"] for e in read] == list(range(1, 41))
    assert {e["data"]["n"] for e in read} == set(range(40))
    assert {(e["seq"], e["data"]["n"]) for e in read} == {
        (e["seq"], e["data"]["n"]) for [e] in stored
    }


def test_long_logs_are_read_page_by_page(started: Started) -> None:
    filler = "x" * 30_000
    for number in range(60):
        event = make_event("node.started", started.id, {"n": number, "f": filler}, at=1.0)
        started.store.append(started.id, [event])
    assert [e["data"]["n"] for e in started.again().events(started.id, 0, 1000)] == list(range(60))
    assert [e["seq"] for e in started.again().events(started.id, 10, 45)] == list(range(11, 56))


@pytest.mark.parametrize(
    "text",
    ["", "plain", "漢字かな交じり文", "👩🏽‍🚀" * 300, '\u0000\n\t"\\', "half \ud83d pair", "עברית"],
)
def test_text_comes_back_in_any_script(started: Started, text: str) -> None:
    piece = TextPiece(NodeKey(1, "2.0"), 1, "text", 0, text)
    started.store.put_text(started.id, piece)
    assert started.again().texts(started.id) == [piece]


def test_text_is_listed_by_node_attempt_stream_and_offset(started: Started) -> None:
    pieces = [
        TextPiece(NodeKey(ord_, path), attempt, stream, offset, f"{offset}")
        for ord_, path in ((1, ""), (1, "2"), (1, "10"), (12, ""))
        for attempt in (1, 2)
        for stream in ("call.1.0", "reasoning", "text")
        for offset in (0, 7, 1_000)
    ]
    shuffled = random.Random(1).sample(pieces, len(pieces))
    for piece in shuffled:
        started.store.put_text(started.id, piece)
    assert started.again().texts(started.id) == pieces


def test_the_text_of_one_attempt_is_read_by_itself(started: Started) -> None:
    here = NodeKey(2, "1.0")
    places = [(here, 1, "text", 0), (here, 1, "text", 3), (here, 1, "reasoning", 0)]
    others = [
        (here, 2, "text", 0),
        (NodeKey(2, "1"), 1, "text", 0),
        (NodeKey(20, ""), 1, "text", 0),
    ]
    for place in [*others, *places]:
        started.store.put_text(started.id, TextPiece(*place, "abc"))
    found = started.again().texts_of(started.id, here, 1)
    assert [(p.stream, p.offset) for p in found] == [("reasoning", 0), ("text", 0), ("text", 3)]
    assert started.again().texts_of(started.id, here, 3) == []
