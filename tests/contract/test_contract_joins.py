"""What every store promises of joins that do not wait for all their parents."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from joinery.errors import NotFound
from joinery.events.make import make_event
from joinery.runs.ids import new_run_id
from joinery.runs.joins import REACHED, JoinState, advance
from joinery.runs.model import Address, NodeKey, NodeRecord
from joinery.runs.ports import AlreadyTerminal, ClaimLost, JoinChanged
from joinery.runs.quorum import tries

if TYPE_CHECKING:
    from contract.backends import Started

JOIN = NodeKey(50, "2")


def _event(started: Started, name: str = "node.completed", **data: Any) -> dict[str, Any]:
    return make_event(name, started.id, data, at=started.now, node_id="node", path="")


def _cancelled(started: Started) -> dict[str, Any]:
    return _event(started, "nodes.cancelled", join="j")


def _claim(started: Started, ord_: int, path: str = "") -> NodeRecord:
    record: NodeRecord = started.store.claim(
        started.id, NodeKey(ord_, path), f"node{ord_}", holder="me",
        now=started.now, until=started.now + 15,
    )  # fmt: skip
    return record


def _end(record: NodeRecord) -> NodeRecord:
    return record.with_(status="completed", ended_at=9.5, result={"text": "x"})


def _loser(ord_: int, path: str = "") -> NodeRecord:
    return NodeRecord(NodeKey(ord_, path), f"node{ord_}", "cancelled", ended_at=7.25)


def _held(started: Started) -> JoinState | None:
    return started.again().load(started.id, [], joins=[JOIN]).joins.get(JOIN)


def _one(started: Started, ord_: int, path: str = "") -> NodeRecord:
    address = Address(NodeKey(ord_, path))
    found: NodeRecord = started.again().load(started.id, [address]).records[address]
    return found


# -- the state of a join -------------------------------------------------------------------


def test_what_nobody_has_stored_is_left_out(started: Started) -> None:
    assert _held(started) is None


def test_an_end_and_what_it_does_to_a_join_are_one(started: Started) -> None:
    state = JoinState(JOIN, taken=(2,), dead=(0, 3), failed=(("node3", "2.1"),))
    started.store.finish(started.id, _end(_claim(started, 1)), [_event(started)], joins=[state])
    assert _held(started) == replace(state, version=1)

    over = replace(_held(started), taken=(2, 1), outcome=REACHED, winners=(1, 2))
    started.store.finish(started.id, _end(_claim(started, 2)), [_event(started)], joins=[over])
    assert _held(started) == replace(over, version=2)


def test_a_state_that_has_changed_since_refuses_the_whole_end(started: Started) -> None:
    read = JoinState(JOIN, taken=(0,))
    started.store.finish(started.id, _end(_claim(started, 1)), [_event(started)], joins=[read])
    skip = NodeRecord(NodeKey(3, ""), "node3", "skipped", ended_at=1.0)
    late, record = JoinState(JOIN, taken=(1,)), _claim(started, 2)
    for again in (late, replace(late, version=7)):
        with pytest.raises(JoinChanged):
            started.store.finish(started.id, _end(record), [_event(started)], [skip], joins=[again])
    assert _one(started, 2).status == "running"
    assert (
        Address(NodeKey(3, ""))
        not in started.again().load(started.id, [Address(NodeKey(3, ""))]).records
    )
    assert _held(started) == replace(read, version=1)
    started.store.finish(
        started.id, _end(record), [_event(started)], [skip], joins=[replace(late, version=1)]
    )
    assert _one(started, 2).status == "completed"
    told = started.store.events(started.id, 0, 50)
    assert [e["event"] for e in told if e["event"] != "void"] == ["node.completed"] * 2


def test_who_was_overtaken_changes_no_join(started: Started) -> None:
    record = _claim(started, 1)
    started.store.finish(started.id, _end(record), [_event(started)])
    with pytest.raises(AlreadyTerminal):
        started.store.finish(
            started.id, _end(record), [_event(started)], joins=[JoinState(JOIN, taken=(0,))]
        )
    assert _held(started) is None


def test_joins_of_a_run_that_is_not_there(started: Started) -> None:
    with pytest.raises(NotFound):
        started.store.load(new_run_id(), [], joins=[JOIN])


# -- losers ----------------------------------------------------------------------------------


def test_what_has_not_ended_is_cancelled(started: Started) -> None:
    usage = {"input_tokens": 7, "output_tokens": 1, "model_calls": 1, "estimated": True}
    released = _claim(started, 1).with_(usage=usage, error={"code": "x", "message": "y"})
    started.store.release(started.id, released, [])
    _claim(started, 1)
    started.store.finish(started.id, _end(_claim(started, 2)), [_event(started)])
    losers = [_loser(1), _loser(2), _loser(3, "1.2")]
    (told,) = started.store.cancel_nodes(started.id, losers, _cancelled(started))
    assert told["data"] == {
        "join": "j",
        "nodes": [{"node_id": "node1", "path": ""}, {"node_id": "node3", "path": "1.2"}],
    }
    begun, done, never = _one(started, 1), _one(started, 2), _one(started, 3, "1.2")
    assert (begun.status, begun.attempt, begun.usage) == ("cancelled", 2, usage)
    assert (begun.started_at, begun.ended_at, begun.claim_until) == (started.now, 7.25, 0.0)
    assert (begun.error, begun.seq) == (None, told["seq"])
    assert (done.status, done.result) == ("completed", {"text": "x"})
    assert (never.status, never.attempt, never.ended_at) == ("cancelled", 0, 7.25)
    assert never.node_id == "node3"


def test_where_all_have_ended_nothing_is_told(started: Started) -> None:
    started.store.finish(started.id, _end(_claim(started, 1)), [_event(started)])
    assert started.store.cancel_nodes(started.id, [_loser(1)], _cancelled(started)) == []
    assert started.store.cancel_nodes(started.id, [], _cancelled(started)) == []


def test_more_losers_than_a_transaction_holds(started: Started) -> None:
    losers = [_loser(n) for n in range(230)]
    told = started.store.cancel_nodes(started.id, losers, _cancelled(started))
    rows = [row["node_id"] for event in told for row in event["data"]["nodes"]]
    assert sorted(rows) == sorted(f"node{n}" for n in range(230))
    assert {r.status for r in started.again().nodes(started.id)} == {"cancelled"}
    assert started.store.cancel_nodes(started.id, losers, _cancelled(started)) == []


def test_late_writes_of_a_loser_fail(started: Started) -> None:
    record = _claim(started, 1)
    started.store.cancel_nodes(started.id, [_loser(1)], _cancelled(started))
    with pytest.raises(AlreadyTerminal) as late:
        started.store.finish(started.id, _end(record), [_event(started)])
    assert late.value.record.status == "cancelled"
    with pytest.raises(ClaimLost):
        started.store.renew(started.id, record.key, 1, started.now + 99)
    with pytest.raises(ClaimLost):
        started.store.release(started.id, record, [])


def test_what_a_loser_had_used_is_added_to_it(started: Started) -> None:
    record = _claim(started, 1)
    started.store.cancel_nodes(started.id, [_loser(1)], _cancelled(started))
    used = record.with_(
        usage={"input_tokens": 3, "output_tokens": 2, "model_calls": 1, "estimated": False},
        streams={"text": {"length": 1, "sha256": "00"}},
    )
    other = [_event(started, "usage.recorded", **used.usage)]
    assert started.store.settle(started.id, used.with_(attempt=2), other) == []
    (told,) = started.store.settle(started.id, used, other)
    assert told["event"] == "usage.recorded"
    stored = _one(started, 1)
    assert (stored.status, stored.usage, stored.streams) == ("cancelled", used.usage, used.streams)
    assert stored.ended_at == 7.25
    done = _end(_claim(started, 2))
    started.store.finish(started.id, done, [_event(started)])
    assert started.store.settle(started.id, done, other) == []


# -- many at once ----------------------------------------------------------------------------

PARENTS = 20
RACES = int(os.environ.get("JOINERY_RACES", "0"))
"""How often each race is run; by default few times where it is slow."""


@pytest.mark.parametrize("needed", [1, 7, PARENTS])
def test_of_many_parents_that_end_at_once_exactly_one_decides(
    started: Started, needed: int
) -> None:
    times = RACES or {"memory": 60, "moto": 1, "stack": 1}[started.backend.name]
    for attempt in range(times):
        _race(started, NodeKey(60, str(attempt + 1)), needed, attempt)


def _race(started: Started, join: NodeKey, needed: int, attempt: int) -> None:
    store, gate = started.store, threading.Barrier(PARENTS)
    path = str(attempt + 1)
    records = [_claim(started, n, path) for n in range(PARENTS)]

    def vote(place: int) -> str:
        gate.wait()
        for _ in tries():
            before = store.load(started.id, [], joins=[join]).joins.get(join, JoinState(join))
            if before.outcome:
                return "late"
            after = advance(before, needed, PARENTS, taken=[place])
            try:
                store.finish(started.id, _end(records[place]), [_event(started)], joins=[after])
            except JoinChanged:
                continue
            return "decided" if after.outcome else "counted"
        return "gave up"

    with ThreadPoolExecutor(PARENTS) as pool:
        outcomes = list(pool.map(vote, range(PARENTS)))
    state = store.load(started.id, [], joins=[join]).joins[join]
    assert outcomes.count("decided") == 1
    assert outcomes.count("counted") == needed - 1
    assert outcomes.count("late") == PARENTS - needed
    assert state.outcome == REACHED
    assert len(state.winners) == needed
    assert {n for n, how in enumerate(outcomes) if how != "late"} == set(state.winners)
    ended = [r for r in store.nodes(started.id) if r.key.path == path and r.terminal]
    assert {r.key.ord for r in ended} == set(state.winners)
