"""The publisher: who is watching, the end of an invocation, and single posts."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from unit.aws.faults import refusal
from unit.aws.gateway import RUN, FakeGateway, World, behind, event, full, until

from joinery.aws import lanes
from joinery.aws.posting import Outcome, SocketSender

if TYPE_CHECKING:
    pass


# -- who watches -------------------------------------------------------------------------------


def test_new_subscribers_are_seen_without_being_asked_for(world: World) -> None:
    world.store.watch("a")
    world.events(1)
    world.events(2)
    until(lambda: len(world.gateway.sent["a"]) == 2)
    assert world.store.reads == 1
    world.store.watch("b")
    world.events(3)
    assert world.publisher.drain(5)
    assert world.store.reads == 2
    assert (world.gateway.seqs("a"), world.gateway.seqs("b")) == ([1, 2, 3], [3])


def test_refresh_tells_of_new_ones_every_node_that_asks(world: World) -> None:
    world.store.watch("a")
    assert world.publisher.refresh(RUN, 1)
    # Of the nodes that one invocation runs side by side each has a text to send again.
    assert world.publisher.refresh(RUN, 1)
    world.store.watch("b")
    world.events(1)
    until(lambda: len(world.gateway.sent["b"]) == 1)
    reads = world.store.reads
    assert world.publisher.refresh(RUN, 2)
    assert world.store.reads == reads
    world.store.watching.pop("b")
    assert not world.publisher.refresh(RUN, 3)
    assert not world.publisher.refresh(RUN, 0)


def test_without_a_known_version_subscribers_are_read_once_an_invocation(world: World) -> None:
    world.store.watch("a")
    world.store.subs = None
    for seq in (1, 2, 3):
        world.events(seq)
    assert world.publisher.drain(5)
    assert world.store.reads == 1
    world.events(4)
    assert world.publisher.drain(5)
    assert world.store.reads == 2
    assert world.gateway.seqs("a") == [1, 2, 3, 4]


def test_a_look_that_comes_late_takes_no_new_viewer_away(world: World) -> None:
    world.store.watch("a")
    slow = world.store.hold_next_read()
    world.events(1)  # Somebody has begun to read who watches …
    assert slow.reading.wait(5)
    world.store.watch("b")
    assert world.publisher.refresh(RUN, 2)  # … and meanwhile somebody else has read later.
    world.say("what goes to both", 0)
    slow.go_on.set()
    assert world.publisher.drain(5)
    assert [world.gateway.text(name) for name in "ab"] == ["what goes to both"] * 2


# -- the end of an invocation ---------------------------------------------------------------------


def test_draining_ends_in_time_and_leaves_the_rest_to_the_next_invocation(world: World) -> None:
    behind(world)
    world.events(2, 3)
    begun = time.monotonic()
    assert not world.publisher.drain(0.05)
    assert time.monotonic() - begun < 1
    world.gateway.gates["a"].set()
    world.events(4)
    assert world.publisher.drain(5)
    assert world.gateway.seqs("a") == [1, 2, 3, 4]


@pytest.mark.parametrize("ends", [True, False])
def test_draining_waits_longer_for_the_end_of_a_run_whoever_closed_it(
    world: World, ends: bool
) -> None:
    behind(world)
    last = {**event(2), "event": "run.completed" if ends else "node.completed"}
    world.publisher.publish(RUN, [last])
    opens = threading.Timer(0.3, world.gateway.gates["a"].set)
    opens.start()
    assert world.publisher.drain(0.05, end_s=5) is ends
    opens.join()
    world.publisher.drain(5)
    # The next invocation is not held up by an end that was told.
    world.gateway.close_gate("a")
    world.events(3)
    assert not world.publisher.drain(0.05, end_s=5)
    world.gateway.gates["a"].set()


def test_threads_end_when_all_is_sent(world: World) -> None:
    world.store.watch("a", "b")
    world.events(1)
    assert world.publisher.drain(5)
    assert not [t for t in threading.enumerate() if t.name.startswith("lane-")]
    world.events(2)
    assert world.publisher.drain(5)
    assert world.gateway.seqs("a") == [1, 2]


def test_a_thread_without_work_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "IDLE_S", 0.01)
    world.store.watch("a")
    world.events(1)
    until(lambda: len(world.gateway.sent["a"]) == 1)
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("lane-")])
    world.events(2)
    assert world.publisher.drain(5)
    assert world.gateway.seqs("a") == [1, 2]


def test_draining_with_nothing_to_do_is_done(world: World) -> None:
    assert world.publisher.drain(0)


def test_a_message_that_cannot_be_encoded_is_no_error(world: World) -> None:
    world.store.watch("a")
    world.publisher.refresh(RUN, 1)
    world.publisher.publish(RUN, [event(1, value=float("nan"))])
    world.events(2)
    assert world.publisher.drain(5)
    assert world.gateway.seqs("a") == [2]


# -- single posts ------------------------------------------------------------------------------


def test_a_single_message_is_sent_at_once() -> None:
    gateway = FakeGateway()
    sender = SocketSender(gateway)
    assert sender.send("a", {"v": 1, "event": "pong", "data": {"request_id": "é"}}) is Outcome.SENT
    gateway.refusals["a"] = [refusal("GoneException", 410), *full(1), refusal("X", 403)]
    outcomes = [sender.send("a", {"v": 1, "event": "pong", "data": {}}) for _ in range(3)]
    assert outcomes == [Outcome.GONE, Outcome.BUSY, Outcome.REFUSED]
    assert sender.send("a", event(1, filler="x" * 200_000)) is Outcome.SENT
    assert gateway.names("a") == ["pong", "resync"]
