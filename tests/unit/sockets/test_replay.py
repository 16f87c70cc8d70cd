"""The replay that a subscriber begins with: nothing missing, and bounded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from joinery.events.make import Event, make_event
from joinery.runs.model import NodeKey, NodeRecord
from joinery.runs.ports import TextPiece
from joinery.sockets import replay as replays

from .conftest import Socket


def say(socket: Socket, run_id: str, texts: list[str], *, attempt: int = 1, path: str = "") -> None:
    key = NodeKey(0, path)
    socket.store._runs[run_id].nodes[key] = NodeRecord(key, "a", "running", attempt)
    offset = 0
    for text in texts:
        socket.store.put_text(run_id, TextPiece(key, attempt, "text", offset, text))
        offset += len(text)


def ended(socket: Socket, run_id: str) -> None:
    event = make_event("node.completed", run_id, {"attempt": 1}, at=1, node_id="a", path="")
    socket.store.append(run_id, [event])


def deltas(frames: list[Event]) -> list[Any]:
    return [
        (f["data"]["attempt"], f["data"]["offset"], f["data"]["text"])
        for f in frames
        if f["event"] == "text.delta"
    ]


def test_only_what_is_behind_the_cursor_is_sent(socket: Socket) -> None:
    run_id = socket.run(events=4)
    frames = socket.send("subscribe", run_id=run_id, after_seq=3)
    assert [f.get("seq") for f in frames] == [4, 5, None]
    assert {f["head"] for f in frames} == {5}
    again = socket.send("subscribe", run_id=run_id, after_seq=5)
    assert [f["event"] for f in again] == ["ack"]


def test_text_comes_merged_before_the_end_of_its_node(socket: Socket) -> None:
    run_id = socket.run(events=1)
    say(socket, run_id, ["The plan ", "is ", "good 🌿."])
    ended(socket, run_id)
    frames = socket.send("subscribe", run_id=run_id)
    assert [f["event"] for f in frames] == [
        "run.started",
        "node.started",
        "text.delta",
        "node.completed",
        "ack",
    ]
    assert deltas(frames) == [(1, 0, "The plan is good 🌿.")]
    assert (frames[2]["node_id"], frames[2]["path"]) == ("a", "")


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (0, [(1, 0, "abcdef")]),
        (3, [(1, 3, "def")]),
        (4, [(1, 4, "ef")]),
        (6, []),
        (99, []),
    ],
)
def test_offsets_leave_out_what_is_known(socket: Socket, known: int, expected: Any) -> None:
    run_id = socket.run()
    say(socket, run_id, ["abc", "def"])
    offsets = {"a||1|text": known, "b||1|text": 5}
    assert deltas(socket.send("subscribe", run_id=run_id, offsets=offsets)) == expected


@pytest.mark.parametrize(("known", "expected"), [(6, []), (7, [(1, 0, "abcdef")])])
def test_nobody_has_more_than_all_of_a_finished_stream(
    socket: Socket, known: int, expected: Any
) -> None:
    run_id = socket.run()
    say(socket, run_id, ["abc", "def"])
    nodes = socket.store._runs[run_id].nodes
    [(key, record)] = nodes.items()
    streams = {"text": {"length": 6, "sha256": ""}}
    nodes[key] = record.with_(status="completed", attempt=1, streams=streams)
    frames = socket.send("subscribe", run_id=run_id, offsets={"a||1|text": known})
    assert deltas(frames) == expected


def test_attempts_and_paths_are_streams_of_their_own(socket: Socket) -> None:
    run_id = socket.run()
    say(socket, run_id, ["first"], path="1")
    say(socket, run_id, ["second"], attempt=2, path="1")
    say(socket, run_id, ["round two"], path="2")
    frames = socket.send("subscribe", run_id=run_id, offsets={"a|1|1|text": 5})
    assert deltas(frames) == [(2, 0, "second"), (1, 0, "round two")]


def test_a_hole_in_the_text_stays_visible(socket: Socket) -> None:
    run_id = socket.run()
    say(socket, run_id, ["abc", "def", "ghi"])
    del socket.store._runs[run_id].texts[1]
    frames = socket.send("subscribe", run_id=run_id)
    assert deltas(frames) == [(1, 0, "abc"), (1, 6, "ghi")]


def test_frames_stay_below_32_kb(socket: Socket) -> None:
    run_id = socket.run()
    text = 'ü🌿\n"' * 20_000
    say(socket, run_id, [text[:30_000], text[30_000:]])
    frames = socket.send("subscribe", run_id=run_id)
    assert "".join(piece for _, _, piece in deltas(frames)) == text
    assert max(len(json.dumps(f)) for f in frames) <= 32 * 1024


def test_a_long_replay_keeps_a_pace(socket: Socket) -> None:
    run_id = socket.run(events=100)
    socket.send("subscribe", run_id=run_id)
    assert socket.slept == [replays.PACE_S] * (101 - replays.BURST)


def test_a_replay_without_end_leaves_the_rest_to_http(
    socket: Socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = socket.run(events=20)
    monkeypatch.setattr(replays, "EVENTS_MAX", 8)
    frames = socket.send("subscribe", run_id=run_id)
    assert [f.get("seq") for f in frames] == [1, 2, 3, 4, 5, 6, 7, 8, None, None]
    assert [f["event"] for f in frames[-2:]] == ["resync", "ack"]
    assert frames[-2]["head"] == 21


def test_a_replay_that_takes_too_long_leaves_the_rest_to_http(
    socket: Socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = socket.run(events=5)
    monkeypatch.setattr(replays, "BUDGET_S", -1)
    assert [f["event"] for f in socket.send("subscribe", run_id=run_id)] == ["resync", "ack"]


# -- writers that are still at it ------------------------------------------------------------------


def test_a_number_that_was_drawn_before_is_waited_for(socket: Socket) -> None:
    run_id = socket.run(events=3)
    lost = socket.store.drop_event(run_id, 3)

    def comes_late(_: float) -> None:
        if lost not in socket.store.events(run_id, 0, 99):
            socket.store.put_event(run_id, lost)

    object.__setattr__(socket.services, "sleep", comes_late)
    frames = socket.send("subscribe", run_id=run_id)
    assert [f.get("seq") for f in frames] == [1, 2, 3, 4, None]
    assert "void" not in [f["event"] for f in frames]


def test_a_number_that_nobody_will_use_becomes_a_void(
    socket: Socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = socket.run(events=3)
    for seq in (2, 4):
        socket.store.drop_event(run_id, seq)
    elapsed = [0.0]
    monkeypatch.setattr(replays.time, "monotonic", lambda: elapsed[0])
    object.__setattr__(socket.services, "sleep", lambda s: elapsed.__setitem__(0, elapsed[0] + s))
    frames = socket.send("subscribe", run_id=run_id)
    assert [(f.get("seq"), f["event"]) for f in frames[:4]] == [
        (1, "run.started"),
        (2, "void"),
        (3, "node.started"),
        (4, "void"),
    ]
    assert 2.0 < elapsed[0] < 3.0


def test_what_is_written_during_the_replay_is_left_to_its_writer(socket: Socket) -> None:
    """The subscription is stored first, so whoever draws a number later knows of it."""
    run_id = socket.run(events=1)
    seen: list[bool] = []

    def meanwhile(message: Event) -> None:
        if message["event"] == "run.started":
            seen.append((run_id, "conn=") in socket.store.subscribed)
            socket.append(run_id, 1)

    socket.outlet.on_send = meanwhile
    frames = socket.send("subscribe", run_id=run_id)
    assert [f.get("seq") for f in frames] == [1, 2, None]
    assert seen == [True]
    assert frames[-1]["head"] == 3
