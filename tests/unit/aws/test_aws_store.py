"""What the DynamoDB store does beyond the contract."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from unit.aws.faults import Faulty

from joinery import limits
from joinery.aws.documents import Documents, SizedCache
from joinery.aws.dynamo_connections import Connection, DynamoConnections
from joinery.aws.dynamo_runs import DynamoRunStore
from joinery.aws.dynamo_tokens import DynamoTokens
from joinery.aws.dynamo_watches import DynamoWatches
from joinery.aws.items import key, run_pk
from joinery.aws.subscribers import Subscriber
from joinery.errors import InvalidRequest, NotFound, PermanentInternal, TooLarge
from joinery.events.make import make_event
from joinery.runs.ids import new_run_id
from joinery.runs.model import Address, NodeKey, NodeRecord, RunRecord
from joinery.runs.ports import TextPiece

if TYPE_CHECKING:
    from contract.backends import Backend, Started

LARGE = {"text": "漢" * limits.INLINE_BYTES}


def _item(moto: Backend, run_id: str, sk: str) -> dict[str, Any]:
    answer = moto.client.get_item(TableName=moto.state_table, Key=key(run_pk(run_id), sk))
    item: dict[str, Any] = answer["Item"]
    return item


def _store(moto: Backend, **options: Any) -> DynamoRunStore:
    return DynamoRunStore(moto.client, moto.state_table, Documents(moto.s3, moto.bucket), **options)


# -- documents -------------------------------------------------------------------------------


def test_large_values_lie_under_their_hash(moto: Backend, started: Started) -> None:
    record = NodeRecord(NodeKey(3, "2"), "judge", "completed", result=LARGE)
    started.store.finish(started.id, record, [], fenced=False)
    ref = _item(moto, started.id, "N#00003#00002")["result_ref"]["M"]
    body = moto.s3.get_object(Bucket=moto.bucket, Key=ref["ref"]["S"])["Body"].read()
    digest = hashlib.sha256(body).hexdigest()
    assert ref["ref"]["S"] == f"runs/{started.id}/{digest}.json"
    assert ref["sha256"]["S"] == digest
    assert int(ref["bytes"]["N"]) == len(body) > limits.INLINE_BYTES
    assert json.loads(body) == LARGE


def test_the_document_is_there_before_its_item(moto: Backend, started: Started) -> None:
    order: list[str] = []

    def noted(name: str) -> Any:
        def call(method: Any, **parameters: Any) -> Any:
            order.append(name)
            return method(**parameters)

        return call

    client = Faulty(moto.client, transact_write_items=noted("item"))
    s3 = Faulty(moto.s3, put_object=noted("document"))
    store = DynamoRunStore(client, moto.state_table, Documents(s3, moto.bucket))
    record = NodeRecord(NodeKey(3, ""), "judge", "completed", result=LARGE)
    store.finish(started.id, record, [], fenced=False)
    assert order == ["document", "item"]


def _large_result(moto: Backend, started: Started) -> tuple[str, NodeRecord]:
    record = NodeRecord(NodeKey(3, ""), "judge", "completed", result=LARGE)
    started.store.finish(started.id, record, [], fenced=False)
    address = Address(record.key)
    found = moto.make().load(started.id, [address]).records[address]
    assert found.result is None
    return found.result_ref, found


def test_a_damaged_document_is_noticed(moto: Backend, started: Started) -> None:
    ref, record = _large_result(moto, started)
    moto.s3.put_object(Bucket=moto.bucket, Key=ref, Body=b'{"text":"other"}')
    with pytest.raises(PermanentInternal, match="damaged"):
        _store(moto).result(started.id, record)


def test_a_document_that_is_gone_is_not_found(moto: Backend, started: Started) -> None:
    ref, record = _large_result(moto, started)
    moto.s3.delete_object(Bucket=moto.bucket, Key=ref)
    with pytest.raises(NotFound, match="retention"):
        _store(moto).result(started.id, record)


def test_documents_are_read_once(moto: Backend, started: Started) -> None:
    _, record = _large_result(moto, started)
    s3 = Faulty(moto.s3)
    store = DynamoRunStore(moto.client, moto.state_table, Documents(s3, moto.bucket))
    assert store.result(started.id, record) == store.result(started.id, record) == LARGE
    assert s3.calls == ["get_object"]


def test_a_record_that_refers_to_its_result_can_be_stored_again(
    moto: Backend, started: Started
) -> None:
    _, record = _large_result(moto, started)
    other = record.with_(key=NodeKey(4, ""))
    started.store.finish(started.id, other, [], fenced=False)
    found = [r for r in moto.make().nodes(started.id) if r.key.ord == 4]
    assert _store(moto).result(started.id, found[0]) == LARGE


def test_the_cache_forgets_what_was_used_longest_ago() -> None:
    cache = SizedCache(limit=10)
    cache.put("a", 1, 4)
    cache.put("b", 2, 4)
    assert cache.get("a") == 1
    cache.put("c", 3, 4)
    cache.put("huge", 4, 11)
    assert [cache.get(name) for name in ("a", "b", "c", "huge")] == [1, None, 3, None]


def test_inputs_are_read_once(moto: Backend, started: Started) -> None:
    client = Faulty(moto.client)
    store = DynamoRunStore(client, moto.state_table, Documents(moto.s3, moto.bucket))
    store.get_run(started.id)
    store.inputs(started.id)
    store.extra(started.id)
    assert client.calls == ["get_item"]


# -- limits that emulators do not keep ----------------------------------------------------------


def test_an_item_above_400_kb_is_refused(started: Started) -> None:
    text = "漢" * 140_000
    with pytest.raises(TooLarge) as raised:
        started.store.put_text(started.id, TextPiece(NodeKey(1, ""), 1, "text", 0, text))
    assert raised.value.details["limit"] == limits.DYNAMODB_ITEM_BYTES


def test_an_event_above_400_kb_is_kept_in_the_bucket(moto: Backend, started: Started) -> None:
    event = make_event("run.started", started.id, {"nodes": ["n" * 60] * 8_000}, at=1.0)
    [stored] = started.store.append(started.id, [event])
    assert moto.make().events(started.id, 0, 5) == [stored]
    assert "event_ref" in _item(moto, started.id, "E#0000000001")


def test_what_is_not_json_is_refused(started: Started) -> None:
    event = make_event("x", started.id, {"value": float("nan")}, at=1.0)
    with pytest.raises(PermanentInternal, match="not JSON"):
        started.store.append(started.id, [event])


def test_a_path_that_does_not_fit_a_key_is_refused(started: Started) -> None:
    with pytest.raises(PermanentInternal):
        started.store.load(started.id, [Address(NodeKey(1, "100000"))])


# -- retention -------------------------------------------------------------------------------


def test_nothing_expires_unless_it_is_asked_for(moto: Backend, started: Started) -> None:
    started.store.append(started.id, [make_event("node.started", started.id, {}, at=1.0)])
    assert "ttl" not in _item(moto, started.id, "E#0000000001")


def test_expired_events_and_texts_are_not_read(moto: Backend, started: Started) -> None:
    now = [1_000.0]
    store = _store(moto, retention_s=60, clock=lambda: now[0])
    store.append(started.id, [make_event("node.started", started.id, {}, at=1.0)])
    piece = TextPiece(NodeKey(1, ""), 1, "text", 0, "a")
    store.put_text(started.id, piece)
    assert _item(moto, started.id, "E#0000000001")["ttl"] == {"N": "1060"}
    assert (len(store.events(started.id, 0, 5)), store.texts(started.id)) == (1, [piece])
    now[0] = 1_060.0
    assert (store.events(started.id, 0, 5), store.texts(started.id)) == ([], [])


# -- lists -----------------------------------------------------------------------------------


def test_runs_are_listed_by_time_and_page(moto: Backend) -> None:
    store, owner = _store(moto), new_run_id()
    runs = [
        RunRecord(
            new_run_id(), owner, "wf_0", 1, f"r{n}", created_at=1_700_000_000.0 + n, session_id="s"
        )
        for n in range(5)
    ]
    for run in runs:
        store.create_run(run, {"large": LARGE}, [], {})
    store.create_run(replace(runs[0], run_id=new_run_id(), owner="other"), {}, [], {})
    first = store.list_runs(owner, limit=2)
    assert first.runs == runs[:2:-1]
    second = store.list_runs(owner, 2, first.cursor)
    third = store.list_runs(owner, 2, second.cursor)
    assert [run.name for page in (first, second, third) for run in page.runs] == [
        "r4", "r3", "r2", "r1", "r0"
    ]  # fmt: skip
    assert third.cursor is None
    assert store.list_runs(owner, 5).cursor is None
    assert store.list_runs("nobody", 5).runs == []


@pytest.mark.parametrize("cursor", ["!", "äöü", "_w", "a"])
def test_a_foreign_cursor_is_refused(moto: Backend, cursor: str) -> None:
    with pytest.raises(InvalidRequest):
        _store(moto).list_runs("ada", 2, cursor)


# -- subscribers -------------------------------------------------------------------------------


def test_subscribers_are_counted_by_the_control_item(moto: Backend, started: Started) -> None:
    now = started.now
    store = _store(moto, clock=lambda: now)
    store.subscribe(started.id, "c1", "ada", now + 60.5)
    store.subscribe(started.id, "c2", "ada", now - 1)
    assert store.subscribers(started.id) == [Subscriber("c1", "ada", now + 60.5, since=now)]
    assert store.control(started.id).subs == 2
    store.unsubscribe(started.id, "c1")
    store.unsubscribe(started.id, "c1")
    assert store.subscribers(started.id) == []
    assert store.control(started.id).subs == 3


def test_the_first_subscribers_are_live_for_as_long_as_they_stay(
    moto: Backend, started: Started
) -> None:
    now = [started.now]
    store = _store(moto, clock=lambda: now[0])
    for number in range(limits.LIVE_VIEWERS + 2):
        now[0] += 1
        room = store.subscribe(started.id, f"c{99 - number}", "ada", now[0] + 600)
        assert room == (number < limits.LIVE_VIEWERS)
    # Subscribing again renews it and keeps the place.
    now[0] += 1
    assert store.subscribe(started.id, "c99", "ada", now[0] + 600)
    assert not store.subscribe(started.id, "c78", "ada", now[0] + 600)
    assert [s.connection_id for s in store.subscribers(started.id)][:2] == ["c99", "c98"]
    store.unsubscribe(started.id, "c99")
    assert store.subscribe(started.id, "c79", "ada", now[0] + 600)


def test_whoever_lags_is_marked_until_it_subscribes_again(moto: Backend, started: Started) -> None:
    store = _store(moto)
    store.lag(started.id, "c1")
    assert store.control(started.id).subs == 0
    store.subscribe(started.id, "c1", "ada", started.now + 60)
    store.lag(started.id, "c1")
    assert [s.lagging for s in store.subscribers(started.id)] == [True]
    assert store.control(started.id).subs == 2
    store.subscribe(started.id, "c1", "ada", started.now + 60)
    assert [s.lagging for s in store.subscribers(started.id)] == [False]


def test_nobody_subscribes_to_a_run_that_is_not_there(moto: Backend) -> None:
    store, run_id = _store(moto), new_run_id()
    with pytest.raises(NotFound):
        store.subscribe(run_id, "c1", "ada", 9e9)
    assert store.subscribers(run_id) == []


def test_every_read_brings_the_subscribers_version(moto: Backend, started: Started) -> None:
    store = _store(moto)
    assert store.subs_seen(started.id) is None
    store.append(started.id, [make_event("node.started", started.id, {}, at=1.0)])
    assert store.subs_seen(started.id) == 0
    started.store.subscribe(started.id, "c1", "ada", started.now + 60)
    store.append(started.id, [make_event("node.started", started.id, {}, at=1.0)])
    assert store.subs_seen(started.id) == 1
    started.store.unsubscribe(started.id, "c1")
    store.load(started.id, [])
    assert store.subs_seen(started.id) == 2


# -- tokens and connections ------------------------------------------------------------------------


def test_tokens_have_an_owner_until_they_expire(moto: Backend) -> None:
    now = [100.0]
    tokens = DynamoTokens(moto.client, "catalog", clock=lambda: now[0])
    assert tokens.owner_of_token("0f") is None
    tokens.put_token("0f", "ada", 200.0)
    assert tokens.owner_of_token("0f") == ("ada", 200.0)
    now[0] = 200.0
    assert tokens.owner_of_token("0f") is None
    now[0] = 100.0
    assert tokens.delete_token("0f")
    assert not tokens.delete_token("0f")
    assert tokens.owner_of_token("0f") is None


def test_connections_last_until_their_token_or_socket_ends(moto: Backend) -> None:
    now = [100.0]
    connections = DynamoConnections(moto.client, "connections", clock=lambda: now[0])
    connections.put("c=1", "ada", 200.5)
    connections.put("c2", "ada", 9e9)
    assert connections.get("c=1") == Connection("c=1", "ada", 200.5)
    now[0] = 201.0
    assert connections.get("c=1") is None
    assert connections.get("c2") == Connection("c2", "ada", 9e9)
    now[0] = 100.0 + limits.WEBSOCKET_LIFETIME_S + 1
    assert connections.get("c2") is None
    connections.delete("c2")
    connections.delete("c2")
    assert connections.get("c2") is None


def test_what_a_connection_watches_ends_with_its_socket(moto: Backend) -> None:
    now = [100.0]
    watches = DynamoWatches(moto.client, "connections", clock=lambda: now[0])
    watches.add("c3", "run_a")
    watches.add("c3", "run_b")
    watches.add("c33", "run_c")
    watches.remove("c3", "run_a")
    assert watches.of("c3") == ["run_b"]
    now[0] += limits.WEBSOCKET_LIFETIME_S + 2
    assert watches.of("c3") == []
