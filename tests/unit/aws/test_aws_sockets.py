"""The publisher: order, merging, slow clients, gone clients, and who is watching."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from unit.aws.faults import refusal
from unit.aws.gateway import RUN, World, behind, delta, event, full, until

from joinery import limits
from joinery.aws import lanes
from joinery.aws.posting import Pacer
from joinery.aws.subscribers import Subscriber

if TYPE_CHECKING:
    pass


# -- sending -----------------------------------------------------------------------------------


def test_everybody_gets_everything_in_order(world: World) -> None:
    world.store.watch("a", "b")
    for seq in range(1, 60):
        world.events(seq)
        world.say(str(seq % 10), seq - 1)
    assert world.publisher.drain(5)
    for connection in ("a", "b"):
        assert world.gateway.seqs(connection) == list(range(1, 60))
        assert world.gateway.text(connection) == "".join(str(n % 10) for n in range(1, 60))


def test_a_run_that_nobody_watches_costs_nothing(world: World) -> None:
    world.events(1, 2)
    assert world.publisher.drain(5)
    assert world.store.reads == 0
    assert world.gateway.sent == {}


def test_publishing_does_not_wait_for_a_slow_client(world: World) -> None:
    world.store.watch("slow", "fast")
    world.gateway.close_gate("slow")
    world.events(1)
    assert world.gateway.waiting.wait(5)
    for seq in range(2, 40):
        world.events(seq)
    until(lambda: len(world.gateway.sent["fast"]) == 39)
    assert world.gateway.sent["slow"] == []
    world.gateway.gates["slow"].set()
    assert world.publisher.drain(5)
    assert world.gateway.seqs("slow") == list(range(1, 40))


def test_publishing_does_not_wait_for_the_table(world: World) -> None:
    gate = threading.Event()
    read = world.store.subscribers

    def slowly(run_id: str) -> list[Subscriber]:
        assert gate.wait(5)
        return read(run_id)

    world.store.subscribers = slowly  # type: ignore[method-assign]  # slow on purpose
    world.store.watch("a")
    world.events(1)
    world.events(2)
    gate.set()
    assert world.publisher.drain(5)
    assert world.gateway.seqs("a") == [1, 2]


def test_a_table_that_does_not_answer_is_no_error(world: World) -> None:
    world.store.watch("a")
    world.store.broken = True
    world.events(1)
    assert not world.publisher.refresh(RUN, 7)
    assert world.publisher.drain(5)
    world.store.broken = False
    world.events(2)
    assert world.publisher.drain(5)
    assert world.gateway.seqs("a") == [2]


# -- merging -----------------------------------------------------------------------------------


def _go_on(world: World) -> None:
    world.gateway.gates["a"].set()
    assert world.publisher.drain(5)


def test_deltas_merge_while_the_lane_isbehind(world: World) -> None:
    behind(world)
    text = "héllo 漢字 👩🏽‍🚀 " * 5
    for offset, letter in enumerate(text):
        world.publisher.publish(RUN, [delta(letter, offset, head=offset + 1)])
    _go_on(world)
    assert world.gateway.names("a") == ["node.started", "text.delta"]
    assert world.gateway.text("a") == text
    assert world.gateway.sent["a"][1]["head"] == len(text)


def test_streams_merge_each_by_itself(world: World) -> None:
    behind(world)
    for offset in range(10):
        world.say("t", offset)
        world.say("r", offset, stream="reasoning")
    _go_on(world)
    assert len(world.gateway.sent["a"]) == 3
    assert world.gateway.text("a") == "t" * 10
    assert world.gateway.text("a", "reasoning") == "r" * 10


@pytest.mark.parametrize(
    "place", [{"node_id": "x"}, {"path": "1"}, {"attempt": 2}, {"stream": "reasoning"}, {}]
)
def test_only_what_adjoins_merges(world: World, place: dict[str, Any]) -> None:
    behind(world)
    world.say("ab", 0)
    world.say("cd", 2 if place else 3, **place)
    _go_on(world)
    assert len(world.gateway.sent["a"]) == 3


def test_text_does_not_pass_an_event(world: World) -> None:
    behind(world)
    world.say("a", 0)
    world.events(2)
    world.say("b", 1)
    _go_on(world)
    assert world.gateway.names("a")[1:] == ["text.delta", "node.started", "text.delta"]


def test_merged_text_stays_within_a_frame(world: World) -> None:
    behind(world)
    for number in range(50):
        world.say("x" * 2_000, number * 2_000)
    _go_on(world)
    assert world.gateway.text("a") == "x" * 100_000
    assert max(world.gateway.bytes) <= limits.WEBSOCKET_FRAME_BYTES
    assert len(world.gateway.sent["a"]) <= 6


def test_posts_are_spread(world: World) -> None:
    publisher = world.make(posts_per_second=50.0)
    world.store.watch("a", "b")
    begun = time.monotonic()
    for offset in range(250):
        publisher.publish(RUN, [delta("x", offset)])
        time.sleep(0.001)
    assert publisher.drain(5)
    took = time.monotonic() - begun
    assert len(world.gateway.times) <= 10 + 50 * took + 1
    assert world.gateway.text("a") == world.gateway.text("b") == "x" * 250


def test_the_pace_lets_a_few_go_at_once() -> None:
    pacer = Pacer(50.0, burst=3)
    delays = [pacer.delay() for _ in range(5)]
    assert delays[:3] == [0, 0, 0]
    assert 0.01 < delays[3] <= 0.02 < delays[4] <= 0.04


# -- clients that cannot follow ------------------------------------------------------------------


def test_a_lane_that_overflows_tells_to_pull(world: World) -> None:
    behind(world)
    for seq in range(2, lanes.LANE_FRAMES + 10):
        world.events(seq)
    _go_on(world)
    assert world.gateway.names("a") == ["node.started", "resync"]
    assert world.gateway.sent["a"][1] == {
        "v": 1, "event": "resync", "run_id": RUN, "head": lanes.LANE_FRAMES + 9,
        "timestamp": world.gateway.sent["a"][1]["timestamp"], "data": {},
    }  # fmt: skip
    world.events(400)
    assert world.publisher.drain(5)
    assert world.gateway.seqs("a")[-1] == 400


def test_a_lane_is_bounded_by_bytes_too(world: World) -> None:
    behind(world)
    for seq in range(2, 9):
        world.publisher.publish(RUN, [event(seq, filler="x" * 100_000)])
    _go_on(world)
    assert world.gateway.names("a") == ["node.started", "resync"]


def test_a_message_above_128_kb_is_a_hint(world: World) -> None:
    world.store.watch("a")
    world.publisher.publish(RUN, [event(1), event(2, filler="x" * 131_072), event(3)])
    assert world.publisher.drain(5)
    assert world.gateway.names("a") == ["node.started", "resync", "node.started"]
    assert world.gateway.sent["a"][1]["head"] == 2
    assert max(world.gateway.bytes) <= limits.WEBSOCKET_MESSAGE_BYTES


def test_a_client_that_is_full_for_a_moment_loses_nothing(world: World) -> None:
    world.store.watch("a")
    world.gateway.refusals["a"] = full(lanes.BUSY_TRIES - 1)
    for seq in (1, 2, 3):
        world.events(seq)
    assert world.publisher.drain(5)
    assert world.gateway.seqs("a") == [1, 2, 3]


def test_a_client_that_stays_full_is_told_to_pull(world: World) -> None:
    world.store.watch("a")
    world.gateway.refusals["a"] = full(lanes.BUSY_TRIES + 3)
    for seq in (1, 2, 3):
        world.events(seq)
    assert world.publisher.drain(5)
    assert world.gateway.names("a") == ["resync"]
    assert world.gateway.sent["a"][0]["head"] == 3


def test_the_wait_after_a_refusal_doubles(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "BACKOFF_S", 0.01)
    monkeypatch.setattr(lanes, "BACKOFF_MAX_S", 0.04)
    world.store.watch("a")
    world.gateway.refusals["a"] = full(4)
    begun = time.monotonic()
    world.events(1)
    assert world.publisher.drain(5)
    assert time.monotonic() - begun >= 0.01 + 0.02 + 0.04 + 0.04


@pytest.mark.parametrize("error", [refusal("Whatever", 503), refusal("RequestTimeout", 408)])
def test_faults_of_the_gateway_are_met_again(world: World, error: Exception) -> None:
    world.store.watch("a")
    world.gateway.refusals["a"] = [error]
    world.events(1)
    assert world.publisher.drain(5)
    assert world.gateway.seqs("a") == [1]


def test_a_connection_that_is_gone_is_forgotten(world: World) -> None:
    world.store.watch("gone", "here")
    world.gateway.refusals["gone"] = [refusal("GoneException", 410)]
    for seq in (1, 2, 3):
        world.events(seq)
    assert world.publisher.drain(5)
    assert world.gateway.sent["gone"] == []
    assert world.gateway.seqs("here") == [1, 2, 3]
    assert world.store.gone == [(RUN, "gone")]
    assert world.store.deleted == ["gone"]


def test_a_connection_that_may_not_be_posted_to_is_left_alone(world: World) -> None:
    world.store.watch("a", "b")
    world.gateway.refusals["a"] = [refusal("ForbiddenException", 403)]
    world.events(1)
    world.events(2)
    assert world.publisher.drain(5)
    assert world.gateway.sent["a"] == []
    assert world.gateway.seqs("b") == [1, 2]
    assert world.store.gone == []


def test_nothing_is_sent_after_the_token_has_expired(world: World) -> None:
    world.store.watch("a", until=world.now + 10)
    world.events(1)
    until(lambda: len(world.gateway.sent["a"]) == 1)
    world.now += 10
    world.events(2)
    assert world.publisher.drain(5)
    assert world.gateway.seqs("a") == [1]
