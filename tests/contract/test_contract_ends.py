"""What every store promises of a run that has ended: its last event stays the last one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from joinery.errors import RunCancelled
from joinery.events.make import make_event
from joinery.runs.model import NodeKey, NodeRecord
from joinery.runs.ports import AlreadyTerminal

if TYPE_CHECKING:
    from contract.backends import Started

ENDS = ("completed", "failed", "cancelled", "timed_out")


def _event(started: Started, name: str) -> dict[str, Any]:
    return make_event(name, started.id, {}, at=1_700_000_000.25)


def _claim(started: Started, ord_: int = 3) -> NodeRecord:
    now = time.time()
    record: NodeRecord = started.store.claim(
        started.id, NodeKey(ord_, ""), f"n{ord_}", holder="h", now=now, until=now + 9
    )
    return record


def _close(started: Started, status: str) -> int:
    run = started.store.get_run(started.id)
    (told,) = started.store.close_run(
        run, status=status, at=3.0, event=_event(started, f"run.{status}")
    )
    seq: int = told["seq"]
    return seq


def _after(started: Started, seq: int) -> list[str]:
    """Names of what follows in the log; who was refused may have left a `void`."""
    found = [event["event"] for event in started.again().events(started.id, seq, 50)]
    return [name for name in found if name != "void"]


@pytest.mark.parametrize("status", ENDS)
def test_nothing_that_a_node_says_follows_the_last_event(started: Started, status: str) -> None:
    store, record = started.store, _claim(started)
    last = _close(started, status)
    ended = record.with_(status="completed", ended_at=time.time())
    with pytest.raises(RunCancelled):
        store.finish(started.id, ended, [_event(started, "node.completed")])
    with pytest.raises(RunCancelled):
        store.append(started.id, [_event(started, "agent.round")])
    with pytest.raises(RunCancelled):
        store.append(started.id, [_event(started, "node.started")], begins=record)
    with pytest.raises(RunCancelled):
        store.release(started.id, record, [_event(started, "node.retrying")])
    with pytest.raises(RunCancelled):
        store.cancel_nodes(started.id, [record], _event(started, "node.cancelled"))
    assert _after(started, last) == []
    # What the node was when the run ended, it stays.
    assert [r.status for r in started.again().nodes(started.id)] == ["running"]


def test_what_had_ended_before_is_found_as_it_is(started: Started) -> None:
    store, record = started.store, _claim(started)
    ended = record.with_(status="completed", ended_at=time.time())
    store.finish(started.id, ended, [_event(started, "node.completed")])
    _close(started, "completed")
    with pytest.raises(AlreadyTerminal):
        store.finish(started.id, ended, [_event(started, "node.completed")])


def test_what_a_stopped_attempt_has_used_is_kept_without_an_event(started: Started) -> None:
    store, record = started.store, _claim(started)
    gone = NodeRecord(record.key, record.node_id, "cancelled", ended_at=time.time())
    store.cancel_nodes(started.id, [gone], _event(started, "node.cancelled"))
    last = _close(started, "completed")
    used = record.with_(status="cancelled", usage={"model_calls": 2})
    assert store.settle(started.id, used, [_event(started, "usage.recorded")]) == []
    assert [r.usage for r in started.again().nodes(started.id)] == [{"model_calls": 2}]
    assert _after(started, last) == []


@pytest.mark.parametrize("status", ENDS)
def test_running_nodes_are_told(started: Started, status: str) -> None:
    assert not started.store.control(started.id).stopped
    _close(started, status)
    control = started.again().control(started.id)
    assert control.ended == status
    assert control.stopped is (status != "completed")


def test_a_run_that_is_begun_again_has_room_for_more(started: Started) -> None:
    store = started.store
    last = _close(started, "failed")
    run = started.again().get_run(started.id)
    store.reopen_run(run, _event(started, "run.resumed"), at=4.0)
    assert not started.again().control(started.id).ended
    record = _claim(started)
    store.append(started.id, [_event(started, "node.started")], begins=record)
    ended = record.with_(status="completed", ended_at=time.time())
    store.finish(started.id, ended, [_event(started, "node.completed")])
    assert _after(started, last) == ["run.resumed", "node.started", "node.completed"]
