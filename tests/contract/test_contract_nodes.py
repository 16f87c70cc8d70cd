"""What every store promises of node records."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from joinery.events.make import make_event
from joinery.runs.model import Address, NodeKey, NodeRecord
from joinery.runs.ports import AlreadyTerminal, ClaimHeld, ClaimLost, TaskToken

if TYPE_CHECKING:
    from contract.backends import Started

LEASE = 15.0
KEY = NodeKey(3, "")


def _claim(
    started: Started, key: NodeKey = KEY, holder: str = "me", later: float = 0.0, store: Any = None
) -> NodeRecord:
    now = started.now + later
    record: NodeRecord = (store or started.store).claim(
        started.id, key, f"node{key.ord}", holder=holder, now=now, until=now + LEASE
    )
    return record


def _event(started: Started, name: str = "node.completed", **data: Any) -> dict[str, Any]:
    return make_event(name, started.id, data, at=started.now, node_id="node3", path="")


def _skip(ord_: int, path: str = "") -> NodeRecord:
    return NodeRecord(NodeKey(ord_, path), f"node{ord_}", "skipped", ended_at=5.0)


def _skip_event(started: Started, *records: NodeRecord) -> dict[str, Any]:
    rows = [{"node_id": r.node_id, "path": r.key.path} for r in records]
    return _event(started, "nodes.skipped", nodes=rows)


def _one(started: Started, key: NodeKey = KEY) -> NodeRecord | None:
    return started.again().load(started.id, [Address(key)]).records.get(Address(key))


# -- claims --------------------------------------------------------------------------------


def test_a_claim_begins_an_attempt(started: Started) -> None:
    record = _claim(started)
    assert record == NodeRecord(
        KEY, "node3", "running", 1, started.now + LEASE, "me", started_at=started.now
    )
    assert _one(started) == record


def test_a_live_claim_is_held(started: Started) -> None:
    _claim(started)
    with pytest.raises(ClaimHeld) as held:
        _claim(started, holder="other", later=LEASE - 1)
    assert held.value.until == started.now + LEASE
    assert _one(started).attempt == 1


def test_an_expired_claim_may_be_taken(started: Started) -> None:
    _claim(started)
    record = _claim(started, holder="other", later=LEASE + 1)
    assert (record.attempt, record.holder, record.started_at) == (2, "other", started.now)


def test_of_many_claims_at_once_one_wins(started: Started) -> None:
    gate = threading.Barrier(8)

    def race(number: int) -> str:
        gate.wait()
        try:
            return f"attempt {_claim(started, holder=str(number)).attempt}"
        except ClaimHeld:
            return "held"

    with ThreadPoolExecutor(8) as pool:
        ended = sorted(pool.map(race, range(8)))
    assert ended == ["attempt 1", *["held"] * 7]


def test_a_claim_is_renewed_by_its_attempt_only(started: Started) -> None:
    _claim(started)
    started.store.renew(started.id, KEY, 1, started.now + 100)
    assert _one(started).claim_until == started.now + 100
    with pytest.raises(ClaimHeld):
        _claim(started, holder="other", later=LEASE + 1)
    _claim(started, holder="other", later=101)
    with pytest.raises(ClaimLost):
        started.store.renew(started.id, KEY, 1, started.now + 300)
    with pytest.raises(ClaimLost):
        started.store.renew(started.id, NodeKey(9, ""), 1, started.now + 300)


def test_a_released_claim_is_free_and_keeps_what_it_cost(started: Started) -> None:
    usage = {"input_tokens": 7, "output_tokens": 1, "model_calls": 1, "estimated": True}
    error = {"code": "model_timeout", "message": "no token", "retryable": True}
    record = _claim(started).with_(usage=usage, error=error)
    events = started.store.release(started.id, record, [_event(started, "node.retrying")])
    assert [e["seq"] for e in events] == [1]
    stored = _one(started)
    assert (stored.claim_until, stored.holder, stored.status) == (0.0, "", "running")
    again = _claim(started, holder="other", later=1)
    assert (again.attempt, again.usage, again.error) == (2, usage, error)
    assert again.started_at == started.now


def test_a_lost_claim_cannot_be_released(started: Started) -> None:
    record = _claim(started)
    _claim(started, holder="other", later=LEASE + 1)
    with pytest.raises(ClaimLost):
        started.store.release(started.id, record, [_event(started, "node.retrying")])
    assert _one(started).holder == "other"
    told = [e["event"] for e in started.store.events(started.id, 0, 9)]
    assert "node.retrying" not in told


# -- waiting -------------------------------------------------------------------------------


def test_a_node_waits_without_a_claim_until_somebody_ends_it(started: Started) -> None:
    waiting = _claim(started).with_(status="waiting", child="run_c", claim_until=0.0, holder="")
    stored = started.store.release(started.id, waiting, [_event(started, "child.started")])
    assert [e["event"] for e in stored] == ["child.started"]
    assert _one(started) == waiting
    started.again().finish(started.id, _end(waiting), [_event(started)])
    assert _one(started).status == "completed"
    with pytest.raises(ClaimLost):
        started.store.release(started.id, waiting, [], was="waiting")


def test_of_two_that_wake_a_node_one_wins(started: Started) -> None:
    waiting = _claim(started).with_(status="waiting", child="run_c", claim_until=0.0, holder="")
    started.store.release(started.id, waiting, [])
    again = waiting.with_(status="running", children=1)
    event = [_event(started, "node.retrying")]
    started.store.release(started.id, again, event, was="waiting")
    with pytest.raises(ClaimLost):
        started.again().release(started.id, again, event, was="waiting")
    told = [e["event"] for e in started.store.events(started.id, 0, 9)]
    assert told.count("node.retrying") == 1
    assert (_one(started).status, _one(started).children) == ("running", 1)


def test_the_token_that_was_issued_last_is_kept(started: Started) -> None:
    store, key = started.store, NodeKey(3, "2.0")
    assert store.token(started.id, key) is None
    first, second = TaskToken(key, "a" * 900, "run_c", 5.0), TaskToken(key, "b", "run_d", 6.5)
    store.put_token(started.id, first)
    assert started.again().token(started.id, key) == first
    started.again().put_token(started.id, second)
    store.put_token(started.id, first)
    assert store.token(started.id, key) == second
    assert store.token(started.id, NodeKey(3, "2.1")) is None
    assert started.store.nodes(started.id) == []


# -- the end -------------------------------------------------------------------------------


def _end(record: NodeRecord, **changes: Any) -> NodeRecord:
    ended = {"status": "completed", "ended_at": 6.5, "result": {"text": "yes"}, **changes}
    return record.with_(**ended)


def test_a_node_ends_with_its_events_and_skips(started: Started) -> None:
    record = _end(
        _claim(started),
        port="yes",
        next_path="2",
        result={"text": "yes", "output": {"score": 0.1}},
        usage={"model_calls": 1},
        streams={"text": {"length": 3, "sha256": "0"}},
        reason="until",
    )
    skipped = [_skip(4), _skip(5, "1")]
    events = [
        _event(started, "usage.recorded"),
        _event(started),
        _skip_event(started, *skipped),
    ]
    stored = started.store.finish(started.id, record, events, skipped)
    assert [e["seq"] for e in stored] == [1, 2, 3]
    assert stored == [{**e, "seq": i, "head": i} for i, e in enumerate(events, 1)]
    assert started.store.events(started.id, 0, 10) == stored
    found = _one(started)
    assert found == record.with_(claim_until=0.0, seq=1)
    assert started.again().result(started.id, found) == record.result
    assert _one(started, NodeKey(4, "")) == skipped[0]
    assert _one(started, NodeKey(5, "1")) == skipped[1]


def test_a_node_ends_once(started: Started) -> None:
    record = _end(_claim(started))
    started.store.finish(started.id, record, [_event(started)])
    with pytest.raises(AlreadyTerminal) as ended:
        started.store.finish(started.id, record, [_event(started)])
    assert ended.value.record.status == "completed"
    with pytest.raises(AlreadyTerminal):
        _claim(started, later=LEASE + 1)
    told = [e["event"] for e in started.store.events(started.id, 0, 9)]
    assert told.count("node.completed") == 1


def test_who_lost_the_claim_cannot_end_the_node(started: Started) -> None:
    record = _claim(started)
    mine = _claim(started, holder="other", later=LEASE + 1)
    skipped = [_skip(4)]
    with pytest.raises(ClaimLost):
        started.store.finish(started.id, _end(record), [_event(started)], skipped)
    assert _one(started) == mine
    assert _one(started, NodeKey(4, "")) is None
    told = [e["event"] for e in started.store.events(started.id, 0, 9)]
    assert "node.completed" not in told
    started.store.finish(started.id, _end(mine), [_event(started)])
    assert _one(started).attempt == 2


def test_nobody_ends_a_node_that_was_never_claimed(started: Started) -> None:
    with pytest.raises(ClaimLost):
        started.store.finish(started.id, _end(NodeRecord(KEY, "node3", attempt=1)), [])


def test_a_skip_needs_no_claim(started: Started) -> None:
    record, skipped = _skip(3), [_skip(4)]
    event = _skip_event(started, record, *skipped)
    started.store.finish(started.id, record, [event], skipped, fenced=False)
    assert _one(started).status == "skipped"
    with pytest.raises(AlreadyTerminal):
        started.store.finish(started.id, record, [event], skipped, fenced=False)


def test_what_is_skipped_already_is_left_as_it_is(started: Started) -> None:
    first = _skip(4).with_(ended_at=1.0)
    started.store.finish(started.id, first, [_skip_event(started, first)], fenced=False)
    done = _end(_claim(started, NodeKey(5, ""), "x"))
    started.store.finish(started.id, done, [_event(started)])
    skipped = [_skip(4), _skip(5), _skip(6)]
    stored = started.store.finish(
        started.id,
        _end(_claim(started)),
        [_event(started), _skip_event(started, *skipped)],
        skipped,
    )
    assert stored[0]["event"] == "node.completed"
    assert stored[1]["seq"] == stored[0]["seq"] + 1
    assert _one(started, NodeKey(4, "")).ended_at == 1.0
    assert _one(started, NodeKey(5, "")).status == "completed"
    assert _one(started, NodeKey(6, "")).status == "skipped"


def test_of_two_ends_at_once_one_wins(started: Started) -> None:
    record = _end(_claim(started))
    gate = threading.Barrier(4)

    def race(number: int) -> str:
        gate.wait()
        try:
            started.again().finish(started.id, record.with_(port=str(number)), [_event(started)])
        except AlreadyTerminal:
            return "late"
        return "stored"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(race, range(4))) == ["late", "late", "late", "stored"]
    events = started.store.events(started.id, 0, 20)
    assert [e["seq"] for e in events] == list(range(1, started.store.control(started.id).head + 1))
    assert [e["event"] for e in events].count("node.completed") == 1


def test_many_skips_fit_into_one_end(started: Started) -> None:
    skipped = [_skip(10 + n) for n in range(230)]
    event = _skip_event(started, *skipped)
    stored = started.store.finish(
        started.id, _end(_claim(started)), [_event(started), event], skipped
    )
    assert len(stored[1]["data"]["nodes"]) == 230
    assert {r.status for r in started.again().nodes(started.id) if r.key.ord >= 10} == {"skipped"}
    assert len(started.again().nodes(started.id)) == 231


@pytest.mark.parametrize("size", [100, 9_000, 600_000])
def test_results_come_back_whatever_their_size(started: Started, size: int) -> None:
    result = {"text": "é漢👩🏽‍🚀"[: size % 7 + 1] * size, "output": [1.1, {"a": None}]}
    record = _end(_claim(started), result=result)
    started.store.finish(started.id, record, [_event(started)])
    store = started.again()
    found = store.load(started.id, [Address(KEY)]).records[Address(KEY)]
    assert store.result(started.id, found) == result


# -- reading -------------------------------------------------------------------------------


def _finish_at(started: Started, ord_: int, path: str) -> None:
    key = NodeKey(ord_, path)
    record = NodeRecord(key, f"node{ord_}", "completed", result={"text": path})
    started.store.finish(started.id, record, [], fenced=False)


def test_loading_leaves_out_what_is_not_there(started: Started) -> None:
    _finish_at(started, 1, "")
    there, missing = Address(NodeKey(1, "")), Address(NodeKey(2, ""))
    gone = Address(NodeKey(4, ""), last=True)
    loaded = started.again().load(started.id, [there, missing, there, gone])
    assert list(loaded.records) == [there]
    assert loaded.control.head == 0


def test_the_last_round_is_the_highest_number(started: Started) -> None:
    for path in ("1", "2", "9", "10"):
        _finish_at(started, 7, path)
    for path in ("1.0", "1.2", "1.11", "2.5"):
        _finish_at(started, 8, path)
    wanted = {
        Address(NodeKey(7, ""), last=True): "10",
        Address(NodeKey(7, "2"), last=True): "2",
        Address(NodeKey(8, "1"), last=True): "1.11",
        Address(NodeKey(8, ""), last=True): "2.5",
        Address(NodeKey(7, "9")): "9",
    }
    loaded = started.again().load(started.id, wanted)
    assert {a: r.key.path for a, r in loaded.records.items()} == wanted


def test_all_items_are_found_each_at_its_own_address(started: Started) -> None:
    for path in ("0", "2", "10", "1"):
        _finish_at(started, 7, path)
    for path in ("1.0.1", "1.0.2", "1.10.1", "2.0.1", "10.0.1"):
        _finish_at(started, 8, path)
    _finish_at(started, 77, "3")

    def found(ord_: int, path: str) -> set[str]:
        wanted = [Address(NodeKey(ord_, path), every=True)]
        loaded = started.again().load(started.id, wanted)
        assert all(a == Address(r.key) for a, r in loaded.records.items())
        return {address.key.path for address in loaded.records}

    assert found(7, "") == {"0", "1", "2", "10"}
    assert found(8, "1") == {"1.0.1", "1.0.2", "1.10.1"}
    assert found(8, "1.0") == {"1.0.1", "1.0.2"}
    assert found(9, "") == set()


def test_how_many_items_there_are_is_kept(started: Started) -> None:
    record = _claim(started).with_(status="completed", ended_at=5.0, port="done", items=0)
    started.store.finish(started.id, record, [_event(started)])
    other = NodeRecord(NodeKey(4, ""), "node4", "failed", ended_at=5.0, contained=True)
    started.store.finish(started.id, other, [_event(started, "node.failed")], fenced=False)
    kept, contained = _one(started), _one(started, NodeKey(4, ""))
    assert kept is not None and (kept.items, kept.contained) == (0, False)
    assert contained is not None and (contained.items, contained.contained) == (None, True)


def test_more_records_are_loaded_than_a_batch_holds(started: Started) -> None:
    for ord_ in range(130):
        _claim(started, NodeKey(ord_, ""))
    wanted = [Address(NodeKey(ord_, "")) for ord_ in range(130)]
    assert set(started.again().load(started.id, wanted).records) == set(wanted)


def test_nodes_are_listed_by_number(started: Started) -> None:
    for ord_, path in ((2, "10"), (2, "2"), (11, ""), (2, "2.0"), (3, "")):
        _finish_at(started, ord_, path)
    listed = [(r.key.ord, r.key.path) for r in started.again().nodes(started.id)]
    assert listed == [(2, "2"), (2, "2.0"), (2, "10"), (3, ""), (11, "")]


def test_every_field_of_an_end_comes_back(started: Started) -> None:
    record = _claim(started).with_(
        status="failed",
        ended_at=started.now + 1.25,
        port="error",
        next_path="2",
        result={"text": "ü", "output": {"x": 1.5}},
        usage={"input_tokens": 3, "model_calls": 1},
        streams={"text": {"length": 1, "sha256": "00"}},
        error={"code": "x", "message": "y"},
        reason="until",
        handled=True,
        refused=("b", "c"),
        child="run_0",
        children=2,
    )
    (stored,) = started.store.finish(started.id, record, [_event(started)])
    assert _one(started) == record.with_(claim_until=0.0, seq=stored["seq"])
