"""What every store promises of runs that are paused, begun again, forked and deleted."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from joinery.aws.documents import Documents
from joinery.aws.due import TTL_LAG_S
from joinery.aws.dynamo_runs import DynamoRunStore
from joinery.errors import NotFound
from joinery.events.make import make_event
from joinery.runs.closing_ports import SETTLED_S
from joinery.runs.ids import new_run_id
from joinery.runs.model import Address, NodeKey, NodeRecord, RunRecord
from joinery.runs.ports import TextPiece
from joinery.runs.sweep import FIRST_LOOK_S

if TYPE_CHECKING:
    from contract.backends import Backend, Started


def _event(run_id: str, name: str) -> dict[str, Any]:
    return make_event(name, run_id, {}, at=1_700_000_000.25)


def _pause(started: Started) -> list[dict[str, Any]]:
    stored: list[dict[str, Any]] = started.store.pause_run(
        started.store.get_run(started.id), _event(started.id, "run.paused")
    )
    return stored


def _told(started: Started, name: str) -> list[dict[str, Any]]:
    """What is stored under a name; who was refused may have left a `void`."""
    return [e for e in started.again().events(started.id, 0, 50) if e["event"] == name]


def _failed(started: Started) -> NodeRecord:
    now = time.time()
    store, key = started.store, NodeKey(3, "1")
    record = store.claim(started.id, key, "n", holder="h", now=now, until=now + 9)
    failed = record.with_(
        status="failed", ended_at=now, error={"code": "x"}, result={"error": {"code": "x"}},
        usage={"model_calls": 2},
    )  # fmt: skip
    store.finish(started.id, failed, [_event(started.id, "node.failed")])
    found: NodeRecord = started.again().nodes(started.id)[0]
    return found


def test_a_pause_moves_the_run_raises_the_flag_and_is_told_once(started: Started) -> None:
    started.store.mark_started(started.id, "arn", 2.0)
    (told,) = _pause(started)
    assert told["event"] == "run.paused"
    assert started.again().get_run(started.id).status == "paused"
    assert started.again().control(started.id).pause
    assert _pause(started) == []
    assert _told(started, "run.paused") == [told]


def test_only_what_is_open_is_paused(started: Started) -> None:
    run = started.store.get_run(started.id)
    older = replace(run, incarnation=run.incarnation + 1)
    assert started.store.pause_run(older, _event(run.run_id, "run.paused")) == []
    event = _event(run.run_id, "run.failed")
    started.store.close_run(run, status="failed", at=3.0, event=event)
    assert _pause(started) == []
    assert not started.again().control(started.id).pause


def test_a_run_is_begun_again_once(started: Started) -> None:
    store = started.store
    store.mark_started(started.id, "arn", 2.0)
    store.request_cancel(started.id)
    run = store.get_run(started.id)
    closing = _event(started.id, "run.failed")
    store.close_run(run, status="failed", at=3.0, event=closing, error={"code": "x"})

    run = started.again().get_run(started.id)
    (told,) = store.reopen_run(run, _event(started.id, "run.resumed"))
    assert store.reopen_run(run, _event(started.id, "run.resumed")) == []
    now = started.again().get_run(started.id)
    assert (now.status, now.incarnation, now.execution_arn) == ("running", 2, "")
    assert (now.ended_at, now.error, now.started_at) == (0.0, None, 2.0)
    control = started.again().control(started.id)
    assert (control.cancel, control.pause) == (False, False)
    assert _told(started, "run.resumed") == [told]
    # The incarnation before can close nothing any more.
    assert store.close_run(run, status="failed", at=4.0, event=closing) == []


def test_a_paused_run_is_begun_again_and_its_flag_is_down(started: Started) -> None:
    _pause(started)
    run = started.store.get_run(started.id)
    assert started.store.reopen_run(run, _event(started.id, "run.resumed"))
    assert not started.again().control(started.id).pause


def test_a_failed_node_can_be_claimed_again_with_the_next_number(started: Started) -> None:
    failed = _failed(started)
    started.store.reset_node(started.id, failed)
    now = time.time()
    record = started.again().claim(started.id, failed.key, "n", holder="g", now=now, until=now + 9)
    assert (record.status, record.attempt, record.tries) == ("running", 2, 1)
    assert record.started_at == pytest.approx(now)
    assert record.usage == {"model_calls": 2}
    assert record.error is None


def test_a_node_that_has_changed_since_is_not_reset(started: Started) -> None:
    failed = _failed(started)
    started.store.reset_node(started.id, failed)
    now = time.time()
    running = started.store.claim(started.id, failed.key, "n", holder="g", now=now, until=now + 9)
    started.store.reset_node(started.id, failed)
    assert started.again().nodes(started.id)[0] == running


def test_adopted_records_are_found_and_replace_nothing(started: Started) -> None:
    failed = _failed(started)
    large = {"text": "漢" * 40_000}
    records = [
        NodeRecord(NodeKey(0, ""), "a", "completed", 1, result=large, ended_at=5.0),
        NodeRecord(NodeKey(1, "2"), "b", "skipped", ended_at=5.0),
        NodeRecord(failed.key, "n", "completed", 1),
    ]
    started.store.adopt(started.id, records)
    store = started.again()
    loaded = store.load(started.id, [Address(NodeKey(0, "")), Address(NodeKey(1, "2"))])
    first, second = loaded.records.values()
    assert store.result(started.id, first) == large
    assert (first.status, second.status) == ("completed", "skipped")
    assert next(r for r in store.nodes(started.id) if r.key == failed.key) == failed


def test_nothing_is_left_of_a_deleted_run(backend: Backend, started: Started) -> None:
    store = started.store
    other = replace(started.run, run_id=new_run_id())
    store.create_run(other, {"document": "y" * 20_000}, [], {})
    _failed(started)
    store.append(started.id, [_event(started.id, "void") for _ in range(40)])
    store.put_text(started.id, TextPiece(NodeKey(3, "1"), 1, "text", 0, "hello"))
    store.adopt(
        started.id, [NodeRecord(NodeKey(9, ""), "z", "completed", result={"text": "z" * 90_000})]
    )
    assert store.delete_run(started.id)
    assert store.delete_run(started.id)
    with pytest.raises(NotFound):
        started.again().get_run(started.id)
    assert backend.make().inputs(other.run_id) if backend.client else store.inputs(other.run_id)
    if backend.client:
        left = backend.client.query(
            TableName=backend.state_table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": f"RUN#{started.id}"}},
        )
        assert left["Items"] == []
        found = backend.s3.list_objects_v2(Bucket=backend.bucket, Prefix=f"runs/{started.id}/")
        assert found.get("KeyCount", 0) == 0


# -- what is due ------------------------------------------------------------------------


def _due(backend: Backend, run_id: str, at: float) -> list[bool]:
    store: Any = backend.make()
    return [is_old for due, is_old in store.due(at) if due == run_id]


def test_an_open_run_is_due_until_it_is_closed_or_paused(backend: Backend) -> None:
    if not backend.client:
        return  # memory has no sweeper: its runs end with their process
    store: Any = backend.make()
    run = RunRecord(new_run_id(), "me", "wf", 1, "n", created_at=1_000.0)
    store.create_run(run, {}, [_event(run.run_id, "run.started")], {})
    first = 1_000.0 + FIRST_LOOK_S
    assert _due(backend, run.run_id, first) == []
    assert _due(backend, run.run_id, first + 1) == [False]
    store.look_again(run, 9_000.0)
    assert _due(backend, run.run_id, 8_999.0) == []
    assert _due(backend, run.run_id, 9_001.0) == [False]

    store.pause_run(run, _event(run.run_id, "run.paused"))
    assert _due(backend, run.run_id, 2e9) == []
    store.reopen_run(store.get_run(run.run_id), _event(run.run_id, "run.resumed"))
    assert _due(backend, run.run_id, 2e9) == [False]
    store.look_again(run, 5.0)  # as it was before: nothing changes
    assert _due(backend, run.run_id, 100.0) == []

    again = store.get_run(run.run_id)
    store.close_run(again, status="completed", at=7.0, event=_event(run.run_id, "run.completed"))
    assert _due(backend, run.run_id, 2e9) == []


@pytest.mark.parametrize("status", ["failed", "cancelled", "timed_out"])
def test_a_run_that_did_not_complete_is_due_until_what_follows_is_done(
    backend: Backend, status: str
) -> None:
    if not backend.client:
        return
    store: Any = backend.make()
    run = RunRecord(new_run_id(), "me", "wf", 1, "n", created_at=1_000.0)
    store.create_run(run, {}, [_event(run.run_id, "run.started")], {})
    store.close_run(run, status=status, at=7_000.0, event=_event(run.run_id, f"run.{status}"))
    assert _due(backend, run.run_id, 7_000.0 + SETTLED_S) == []
    assert _due(backend, run.run_id, 7_001.0 + SETTLED_S) == [False]
    store.settled(run)  # as it was before: nothing changes
    assert _due(backend, run.run_id, 2e9) == [False]
    closed = store.get_run(run.run_id)
    store.settled(closed)
    assert _due(backend, run.run_id, 2e9) == []
    store.settled(closed)
    store.reopen_run(closed, _event(run.run_id, "run.resumed"))
    store.settled(closed)  # it goes on
    assert _due(backend, run.run_id, 2e9) == [False]


def test_a_run_that_stands_still_is_due_when_somebody_cancels_it(backend: Backend) -> None:
    if not backend.client:
        return
    store: Any = backend.make()
    run = RunRecord(new_run_id(), "me", "wf", 1, "n", created_at=1_000.0)
    store.create_run(run, {}, [_event(run.run_id, "run.started")], {})
    store.pause_run(run, _event(run.run_id, "run.paused"))
    store.look_at(run, 50.0)  # as it was before: nothing changes
    assert _due(backend, run.run_id, 2e9) == []
    paused = store.get_run(run.run_id)
    store.look_at(paused, 50.0)
    assert _due(backend, run.run_id, 51.0) == [False]
    store.settled(paused)
    assert _due(backend, run.run_id, 2e9) == []


def test_runs_of_tools_are_known_until_they_are_dropped(started: Started) -> None:
    store = started.store
    assert store.below(started.id) == []
    for name in ("run_b", "run_a", "run_b"):
        store.note_below(started.id, name)
    assert started.again().below(started.id) == ["run_a", "run_b"]
    store.drop_below(started.id, "run_a")
    store.drop_below(started.id, "run_a")
    assert started.again().below(started.id) == ["run_b"]
    assert store.nodes(started.id) == []
    store.delete_run(started.id)
    assert started.again().below(started.id) == []


def test_a_closed_run_is_due_for_deletion_when_it_was_kept_long_enough(backend: Backend) -> None:
    if not backend.client:
        return
    keeping = DynamoRunStore(
        backend.client, backend.state_table, Documents(backend.s3, backend.bucket), retention_s=100
    )
    run = RunRecord(new_run_id(), "me", "wf", 1, "n", created_at=1_000.0)
    keeping.create_run(run, {}, [], {})
    keeping.close_run(run, status="failed", at=2_000.0, event=_event(run.run_id, "run.failed"))
    keeping.settled(keeping.get_run(run.run_id))
    assert _due(backend, run.run_id, 2_100.0 + TTL_LAG_S) == []
    assert _due(backend, run.run_id, 2_101.0 + TTL_LAG_S) == [True]
