"""What a run may post: shared by its nodes, whoever watches; and those for whom there is none."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kit.models import Says
from kit.workflows import workflow
from unit.aws.faults import refusal
from unit.aws.gateway import LATER, RUN, World, event, full, until

from joinery import limits
from joinery.aws import lanes
from joinery.aws.posting import others_share, share
from joinery.aws.sockets import SocketPublisher
from joinery.aws.subscribers import Subscriber, by_room
from joinery.compiler.compile import compile_workflow
from joinery.errors import NodeError
from joinery.events.make import make_event
from joinery.runs.deps import Deps
from joinery.runs.memory_store import MemoryStore
from joinery.runs.start import create_run
from joinery.runs.task import run_task

MOST = limits.RUN_POSTS_PER_SECOND


def ended(seq: int) -> dict[str, Any]:
    return {**make_event("run.completed", RUN, {}, at=1.0), "seq": seq, "head": seq}


# -- shares ------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", range(1, 21))
def test_all_that_may_post_at_once_stay_below_the_cap_in_any_second(width: int) -> None:
    pace, burst = share(MOST, width)
    others_pace, others_burst = others_share(MOST)
    assert round(width * (pace + burst) + others_pace + others_burst, 9) <= MOST


@pytest.mark.parametrize("width", [21, 40, 100, 1_000])
def test_very_many_stay_below_it_over_time_and_each_can_post(width: int) -> None:
    pace, burst = share(MOST, width)
    assert width * pace + others_share(MOST)[0] <= MOST
    assert pace > 0
    assert burst == 1


def busiest_second(times: list[float]) -> int:
    """Returns the most posts in any one second."""
    ordered, first, most = sorted(times), 0, 0
    for last, at in enumerate(ordered):
        while at - ordered[first] >= 1:
            first += 1
        most = max(most, last - first + 1)
    return most


def turns_of(publishers: list[Any], monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Notes when each post of these publishers has its turn; without one nothing is posted."""
    turns: list[float] = []
    for publisher in publishers:

        def noted(turn: Callable[[], float] = publisher._pacer.turn) -> float:
            at = turn()
            turns.append(at)
            return at

        monkeypatch.setattr(publisher._pacer, "turn", noted)
    return turns


def test_a_thousand_subscribers_do_not_raise_the_posts_of_a_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.store.watch(*(f"c{number:04d}" for number in range(1_000)))
    # Three nodes at work in three processes, and one that runs none.
    nodes = [world.make(posts_per_second=float(MOST)) for _ in range(3)]
    for node in nodes:
        node.begin(RUN, len(nodes))
        node._hinter.every_s = 0.1
    publishers = [*nodes, world.make(posts_per_second=float(MOST))]
    turns = turns_of(publishers, monkeypatch)
    until_ = time.monotonic() + 3
    seq = 0
    while time.monotonic() < until_:
        seq += 1
        for publisher in publishers:
            publisher.publish(RUN, [event(seq)])
        time.sleep(0.01)
    for publisher in publishers:
        publisher.close()
    # A post that has its turn may be held up by a busy machine, and then meet later ones.
    assert 40 <= len(world.gateway.times) <= len(turns)
    assert busiest_second(turns) <= MOST
    # Most go to the first twenty; the crowd hears something too.
    live = {f"c{number:04d}" for number in range(limits.LIVE_VIEWERS)}
    told = {name for name, sent in world.gateway.sent.items() if sent} - live
    assert len(told) >= 2
    assert {m["event"] for name in told for m in world.gateway.sent[name]} == {"hint"}
    assert "hint" not in {m["event"] for name in live for m in world.gateway.sent[name]}


def test_the_pace_of_deltas_follows_streams_and_viewers(world: World) -> None:
    publisher = world.make(posts_per_second=float(MOST))
    assert publisher.interval(RUN) == 0
    world.store.watch("a", "b")
    publisher.begin(RUN, 1)
    assert publisher.refresh(RUN, 2)
    alone = publisher.interval(RUN)
    assert alone == pytest.approx(2 / share(MOST, 1)[0])
    publisher.begin(RUN, 4)
    assert publisher.interval(RUN) == pytest.approx(2 / share(MOST, 4)[0])
    assert publisher.interval(RUN) > 3 * alone
    # Where there are many, some of the pace is left to their hints.
    world.store.watch(*(f"c{number}" for number in range(30)))
    publisher.refresh(RUN, 32)
    assert publisher.interval(RUN) == pytest.approx(20 / share(MOST, 4)[0] / 0.75)


# -- hints -------------------------------------------------------------------------------------


def test_the_first_get_everything_and_the_rest_a_hint_at_the_end(world: World) -> None:
    world.store.watch(*(f"c{number:02d}" for number in range(50)))
    for seq in (1, 2, 3):
        world.events(seq)
    world.publisher.publish(RUN, [ended(4)])
    assert world.publisher.drain(5)
    for number in range(50):
        sent = world.gateway.sent[f"c{number:02d}"]
        if number < limits.LIVE_VIEWERS:
            assert [m["seq"] for m in sent] == [1, 2, 3, 4]
        else:
            assert [(m["event"], m["head"]) for m in sent] == [("hint", 4)]


def test_the_end_waits_for_a_hint_that_is_on_its_way(world: World) -> None:
    world.store.watch(*(f"c{number:02d}" for number in range(limits.LIVE_VIEWERS + 1)))
    last = f"c{limits.LIVE_VIEWERS:02d}"
    gate = world.gateway.close_gate(last)
    world.publisher.publish(RUN, [ended(1)])
    assert world.gateway.waiting.wait(5)
    assert not world.publisher.drain(0.05)
    gate.set()
    until(lambda: world.gateway.names(last) == ["hint"])


def test_hints_are_seldom(world: World) -> None:
    world.store.watch(*(f"c{number:02d}" for number in range(limits.LIVE_VIEWERS + 1)))
    world.publisher.begin(RUN, 1)
    world.publisher._hinter.every_s = 0.2
    until_ = time.monotonic() + 1
    for seq in range(1, 1_000):
        world.events(seq)
        time.sleep(0.005)
        if time.monotonic() > until_:
            break
    last = f"c{limits.LIVE_VIEWERS:02d}"
    assert 2 <= len(world.gateway.sent[last]) <= 6
    heads = [m["head"] for m in world.gateway.sent[last]]
    assert heads == sorted(set(heads))


def test_a_hinted_viewer_that_is_gone_or_expired_is_left_alone(world: World) -> None:
    world.store.watch(*(f"c{number:02d}" for number in range(limits.LIVE_VIEWERS)))
    world.store.watch("gone", "busy")
    world.store.watch("late", until=world.now - 1)
    world.gateway.refusals = {"gone": [refusal("GoneException", 410)], "busy": full(1)}
    world.publisher.publish(RUN, [ended(1)])
    assert world.publisher.drain(5)
    until(lambda: world.store.deleted == ["gone"])
    assert world.store.gone == [(RUN, "gone")]
    assert not world.gateway.sent["late"]
    assert not world.gateway.sent["busy"]


def test_who_moves_up_is_new(world: World) -> None:
    world.store.watch(*(f"c{number:02d}" for number in range(limits.LIVE_VIEWERS + 1)))
    # Every node of an invocation asks, and is told.
    assert world.publisher.refresh(RUN, 21)
    assert world.publisher.refresh(RUN, 21)
    world.store.watch("newer")
    # One more at the end of the queue makes no node send its text again.
    assert not world.publisher.refresh(RUN, 22)
    world.store.watching.pop("c00")
    assert world.publisher.refresh(RUN, 23)
    world.events(1)
    assert world.publisher.drain(5)
    assert world.gateway.seqs(f"c{limits.LIVE_VIEWERS:02d}") == [1]


def test_room_goes_by_who_came_first_and_can_follow() -> None:
    watching = [Subscriber(f"c{n}", "ada", LATER, since=n, lagging=n == 3) for n in range(25)]
    live, crowd = by_room(watching)
    assert [s.connection_id for s in live] == [f"c{n}" for n in range(21) if n != 3]
    assert [s.connection_id for s in crowd] == ["c3", "c21", "c22", "c23", "c24"]


# -- clients that take nothing -----------------------------------------------------------------


@pytest.fixture
def impatient(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "STUCK_S", 0.1)


@pytest.mark.usefixtures("impatient")
def test_a_client_that_takes_nothing_is_waited_for_once(world: World) -> None:
    world.store.watch("dead", "fine")
    gate = world.gateway.close_gate("dead")
    world.events(1)
    begun = time.monotonic()
    assert not world.publisher.drain(5)
    assert time.monotonic() - begun < 2
    assert world.store.lagged == [(RUN, "dead")]
    # The next invocation, here or elsewhere, posts to the others and waits for nobody.
    other = world.make()
    for publisher in (world.publisher, other):
        begun = time.monotonic()
        publisher.publish(RUN, [event(2)])
        assert publisher.drain(5)
        assert time.monotonic() - begun < 1
    assert world.gateway.seqs("fine") == [1, 2, 2]
    gate.set()


@pytest.mark.usefixtures("impatient")
def test_a_client_that_is_full_for_long_is_told_to_pull_and_subscribe_again(world: World) -> None:
    world.store.watch("full", "fine")
    world.gateway.refusals["full"] = full(1_000)
    world.events(1)
    assert not world.publisher.drain(5)
    assert world.store.lagged == [(RUN, "full")]
    world.gateway.refusals.clear()
    world.publisher.publish(RUN, [ended(2)])
    assert world.publisher.drain(5)
    until(lambda: "resync" in world.gateway.names("full"))
    assert set(world.gateway.names("full")) == {"resync"}
    world.store.watch("full")
    world.events(3)
    assert world.publisher.drain(5)
    assert world.gateway.seqs("full") == [3]


def test_a_client_that_is_slow_at_every_message_is_waited_for_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "SLOW_S", 0.1)
    post = world.gateway.post_to_connection

    def slowly(ConnectionId: str, Data: bytes) -> None:
        if ConnectionId == "slow":
            time.sleep(0.25)
        post(ConnectionId, Data)

    monkeypatch.setattr(world.gateway, "post_to_connection", slowly)
    world.store.watch("slow", "fine")
    for seq in range(1, 40):
        world.events(seq)
    begun = time.monotonic()
    assert not world.publisher.drain(0.6)
    assert time.monotonic() - begun < 2
    assert world.store.lagged == [(RUN, "slow")]
    assert world.gateway.seqs("fine") == list(range(1, 40))
    # One that is slow and has all it was sent is left as it is.
    world.store.watch("slow")
    world.store.lagged.clear()
    world.events(40)
    until(lambda: 40 in world.gateway.seqs("slow"))
    assert world.publisher.drain(5)
    assert not world.store.lagged


def test_a_node_never_waits_for_a_post(world: World) -> None:
    """The model is read, the text stored and the node ended while no post comes back."""
    world.store.watch("a", "b")
    for connection in ("a", "b"):
        world.gateway.close_gate(connection)
    publisher = world.make(posts_per_second=float(MOST))
    read = threading.Event()

    def speak(*_: Any) -> Iterator[str]:
        for number in range(200):
            yield f"{number} "
            time.sleep(0.001)
        read.set()

    plan = compile_workflow(
        workflow(["start -> talk -> end"], {"talk": {"type": "llm", "prompt": "hi"}})
    ).plan
    deps = Deps(MemoryStore(), Renamed(publisher), Says(speak), durable_s=0.02)
    run, _ = create_run(deps, plan, owner="me", workflow_id="wf", version=1, given={})
    run_task(deps, plan, run, "talk", "", deadline=time.monotonic() + 60)
    run_task(deps, plan, run, "end", "", deadline=time.monotonic() + 60)
    assert read.is_set()
    assert deps.store.get_run(run.run_id).status == "completed"
    assert "".join(p.text for p in deps.store.texts(run.run_id)).startswith("0 1 2 ")
    assert world.gateway.waiting.is_set()
    assert not world.gateway.times


class Renamed:
    """Hands everything to a publisher as if it were of the run that is watched."""

    def __init__(self, publisher: SocketPublisher) -> None:
        self.inner = publisher

    def begin(self, run_id: str, width: int) -> None:
        self.inner.begin(RUN, width)

    def interval(self, run_id: str) -> float:
        return self.inner.interval(RUN)

    def publish(self, run_id: str, messages: Any) -> None:
        self.inner.publish(RUN, [{**message, "run_id": RUN} for message in messages])

    def refresh(self, run_id: str, subs: int) -> bool:
        return self.inner.refresh(RUN, subs)


def test_a_fault_of_the_table_is_no_fault_of_the_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "STUCK_S", 0.05)

    def broken(*_: Any) -> None:
        raise NodeError("throttled")

    monkeypatch.setattr(world.store, "lag", broken)
    world.store.watch("dead")
    gate = world.gateway.close_gate("dead")
    world.events(1)
    assert not world.publisher.drain(5)
    gate.set()
