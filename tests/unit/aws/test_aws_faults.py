"""The store when calls are repeated, lost, refused or overtaken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from unit.aws.faults import Faulty, answer_lost, cancelled, refusal, refused, twice

from joinery.aws.documents import Documents
from joinery.aws.dynamo_runs import DynamoRunStore
from joinery.aws.errors import Contended, aws_errors
from joinery.aws.event_log import EventLog
from joinery.aws.items import event_sk, key, number, run_pk, string
from joinery.aws.table import TRIES, Table
from joinery.errors import PermanentInternal, RunCancelled, TransientStore, Unavailable
from joinery.events.make import make_event
from joinery.runs.ids import new_run_id
from joinery.runs.model import Address, NodeKey, NodeRecord, RunRecord
from joinery.runs.ports import AlreadyTerminal, ClaimLost

if TYPE_CHECKING:
    from contract.backends import Backend, Started

KEY = NodeKey(3, "")


def _store(moto: Backend, **replaced: Any) -> DynamoRunStore:
    client = Faulty(moto.client, **replaced)
    return DynamoRunStore(client, moto.state_table, Documents(moto.s3, moto.bucket))


def _event(started: Started, name: str = "node.completed", **data: Any) -> dict[str, Any]:
    return make_event(name, started.id, data, at=1.5, node_id="judge", path="")


def _claim(started: Started, store: Any = None, holder: str = "me") -> NodeRecord:
    now = started.now
    claimed: NodeRecord = (store or started.store).claim(
        started.id, KEY, "judge", holder=holder, now=now, until=now + 15
    )
    return claimed


def _ended(record: NodeRecord) -> NodeRecord:
    return record.with_(status="completed", ended_at=2.0, result={"text": "yes"})


def _names(started: Started) -> list[str]:
    return [event["event"] for event in started.store.events(started.id, 0, 50)]


def _take_next(started: Started, ahead: int = 1) -> int:
    """Fills a number before it is drawn, as a replay does that meets an old hole."""
    seq: int = started.store.control(started.id).head + ahead
    assert started.store.put_void(started.id, seq)
    return seq


# -- calls that the SDK repeats ----------------------------------------------------------------


def test_a_repeated_claim_begins_one_attempt(moto: Backend, started: Started) -> None:
    record = _claim(started, _store(moto, update_item=twice))
    assert (record.attempt, record.holder) == (1, "me")
    assert started.store.nodes(started.id) == [record]


def test_a_repeated_put_stores_an_event_once(moto: Backend, started: Started) -> None:
    store = _store(moto, put_item=twice)
    [stored] = store.append(started.id, [_event(started)])
    assert stored["seq"] == 1
    assert started.store.events(started.id, 0, 10) == [stored]


def test_a_repeated_end_is_its_own(moto: Backend, started: Started) -> None:
    store = _store(moto, transact_write_items=twice)
    stored = store.finish(started.id, _ended(_claim(started)), [_event(started)])
    assert [event["seq"] for event in stored] == [1]
    assert _names(started) == ["node.completed"]


def test_a_repeated_release_is_its_own(moto: Backend, started: Started) -> None:
    store = _store(moto, transact_write_items=twice)
    stored = store.release(started.id, _claim(started), [_event(started, "node.retrying")])
    assert started.store.events(started.id, 0, 10) == stored


def test_a_repeated_close_is_its_own(moto: Backend, started: Started) -> None:
    store = _store(moto, transact_write_items=twice)
    event = _event(started, "run.completed")
    stored = store.close_run(started.run, status="completed", at=3.0, event=event)
    assert started.store.events(started.id, 0, 10) == stored != []


def test_a_repeated_creation_is_its_own(moto: Backend) -> None:
    store = _store(moto, transact_write_items=twice)
    run = RunRecord(new_run_id(), "ada", "wf_0", 1, "debate", created_at=1.0)
    event = make_event("run.started", run.run_id, {}, at=1.0)
    assert [e["seq"] for e in store.create_run(run, {}, [event], {})[1]] == [1]
    assert moto.make().create_run(run, {}, [event], {}) == (run, [])


# -- answers that are lost ---------------------------------------------------------------------


def test_an_end_whose_answer_is_lost_is_looked_up(moto: Backend, started: Started) -> None:
    store = _store(moto, transact_write_items=answer_lost)
    stored = store.finish(started.id, _ended(_claim(started)), [_event(started)])
    assert started.store.events(started.id, 0, 10) == stored != []


def test_an_end_that_nobody_stored_is_transient(moto: Backend, started: Started) -> None:
    store = _store(moto, transact_write_items=refused("InternalServerError", 500))
    with pytest.raises(TransientStore):
        store.finish(started.id, _ended(_claim(started)), [_event(started)])


def test_somebody_elses_end_is_not_taken_for_mine(moto: Backend, started: Started) -> None:
    record = _ended(_claim(started))
    started.store.finish(started.id, record, [_event(started)])
    store = _store(moto, transact_write_items=refused("InternalServerError", 500))
    with pytest.raises(TransientStore):
        store.finish(started.id, record, [_event(started)])


# -- numbers that a replay has voided -------------------------------------------------------------


def test_an_append_draws_again_when_its_number_is_taken(started: Started) -> None:
    taken = _take_next(started)
    [stored] = started.store.append(started.id, [_event(started)])
    assert stored["seq"] == taken + 1
    assert _names(started) == ["void", "node.completed"]


def test_several_events_keep_their_order(started: Started) -> None:
    taken = _take_next(started, ahead=2)
    names = ["usage.recorded", "node.completed", "loop.round"]
    stored = started.store.append(started.id, [_event(started, name) for name in names])
    assert [event["event"] for event in stored] == names
    assert [event["seq"] for event in stored] == [1, taken + 2, taken + 3]
    assert _names(started) == ["usage.recorded", "void", "void", "node.completed", "loop.round"]


def test_an_end_draws_again_when_its_number_is_taken(started: Started) -> None:
    record = _ended(_claim(started))
    _take_next(started, ahead=2)
    events = [_event(started, "usage.recorded"), _event(started)]
    stored = started.store.finish(started.id, record, events)
    assert [event["seq"] for event in stored] == [3, 4]
    assert _names(started) == ["void", "void", "usage.recorded", "node.completed"]
    [kept] = started.store.nodes(started.id)
    assert kept.seq == 3


def test_a_release_and_a_close_draw_again(started: Started) -> None:
    record = _claim(started)
    _take_next(started)
    [event] = started.store.release(started.id, record, [_event(started, "node.retrying")])
    assert event["seq"] == 2
    _take_next(started)
    closing = _event(started, "run.failed")
    [event] = started.store.close_run(started.run, status="failed", at=1.0, event=closing)
    assert event["seq"] == 4
    assert _names(started) == ["void", "node.retrying", "void", "run.failed"]


def test_a_hole_is_filled_once(started: Started) -> None:
    assert started.store.put_void(started.id, 1)
    [stored] = started.store.append(started.id, [_event(started)])
    assert stored["seq"] == 2
    assert not started.store.put_void(started.id, 2)


# -- what loses leaves no hole --------------------------------------------------------------------


def test_who_comes_too_late_leaves_no_hole(started: Started) -> None:
    first = _claim(started)
    started.store.finish(started.id, _ended(first), [_event(started)])
    with pytest.raises(AlreadyTerminal):
        started.store.finish(started.id, _ended(first), [_event(started)] * 2)
    with pytest.raises(ClaimLost):
        started.store.release(started.id, first, [_event(started)])
    closing = _event(started, "run.completed")
    started.store.close_run(started.run, status="completed", at=1.0, event=closing)
    assert started.store.close_run(started.run, status="failed", at=1.0, event=closing) == []
    expected = ["node.completed", "void", "void", "void", "run.completed"]
    assert _names(started) == expected
    assert started.store.control(started.id).head == len(expected)


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_a_node_that_ends_while_its_run_is_closed_has_no_place_behind_the_end(
    started: Started, status: str
) -> None:
    record = _claim(started)
    tried: list[str] = []

    def meanwhile(log: EventLog, *args: Any, **more: Any) -> list[int]:
        seqs: list[int] = draw(log, *args, **more)
        if more.get("of_run"):
            # The number of the last event is drawn, and the run is not closed yet.
            with pytest.raises(RunCancelled):
                started.store.finish(started.id, _ended(record), [_event(started)])
            tried.append(record.node_id)
        return seqs

    draw = EventLog.draw
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EventLog, "draw", meanwhile)
        closing = _event(started, f"run.{status}")
        started.store.close_run(started.run, status=status, at=1.0, event=closing)
    assert tried
    assert _names(started) == [f"run.{status}"]


@pytest.mark.parametrize("then", ["completed", "failed", "cancelled"])
def test_who_closes_the_log_and_dies_leaves_the_run_to_be_closed(
    started: Started, then: str
) -> None:
    def dies(*_: Any, **__: Any) -> list[int]:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(EventLog, "draw", dies)
        closing = _event(started, "run.failed")
        started.store.close_run(started.run, status="failed", at=1.0, event=closing)
    run = started.store.get_run(started.id)
    assert not run.closed
    (told,) = started.store.close_run(run, status=then, at=2.0, event=_event(started, "run.over"))
    assert started.store.get_run(started.id).status == then
    assert started.store.control(started.id).ended == then
    assert _names(started) == [told["event"]]


# -- skips that exist ---------------------------------------------------------------------------


def _skip(ord_: int) -> NodeRecord:
    return NodeRecord(NodeKey(ord_, ""), f"n{ord_}", "skipped", ended_at=1.0)


def _skip_event(started: Started, *ords: int) -> dict[str, Any]:
    rows = [{"node_id": f"n{ord_}", "path": ""} for ord_ in ords]
    return _event(started, "nodes.skipped", nodes=rows)


def test_the_event_tells_only_of_new_skips(started: Started) -> None:
    skip = _skip(4)
    started.store.finish(started.id, skip, [_skip_event(started, 4)], fenced=False)
    events = [_event(started), _skip_event(started, 4, 5)]
    stored = started.store.finish(started.id, _ended(_claim(started)), events, [_skip(4), _skip(5)])
    assert stored[1]["data"]["nodes"] == [{"node_id": "n5", "path": ""}]
    assert started.store.events(started.id, 1, 10) == stored


def test_an_event_of_no_skips_is_void(started: Started) -> None:
    started.store.finish(started.id, _skip(4), [_skip_event(started, 4)], fenced=False)
    events = [_event(started), _skip_event(started, 4)]
    stored = started.store.finish(started.id, _ended(_claim(started)), events, [_skip(4)])
    assert [event["event"] for event in stored] == ["node.completed", "void"]
    assert stored[1] == {
        "v": 1, "event": "void", "run_id": started.id, "timestamp": stored[1]["timestamp"],
        "data": {}, "seq": 3, "head": 3,
    }  # fmt: skip


def test_excess_skips_are_fenced_too(started: Started) -> None:
    lost = _claim(started)
    started.store.claim(
        started.id, KEY, "judge", holder="b", now=started.now + 20, until=started.now + 30
    )
    skipped = [_skip(10 + n) for n in range(150)]
    with pytest.raises(ClaimLost):
        started.store.finish(started.id, _ended(lost), [_event(started)], skipped)
    assert len(started.store.nodes(started.id)) == 1


def test_excess_skips_of_a_dead_attempt_are_met_again(moto: Backend, started: Started) -> None:
    record = _claim(started)
    skipped = [_skip(10 + n) for n in range(150)]
    event = _skip_event(started, *range(10, 160))

    class DiedError(Exception):
        pass

    def die_at_the_end(method: Any, **parameters: Any) -> Any:
        if "Put" in parameters["TransactItems"][0]:
            raise DiedError
        return method(**parameters)

    with pytest.raises(DiedError):
        _store(moto, transact_write_items=die_at_the_end).finish(
            started.id, _ended(record), [_event(started), event], skipped
        )
    stored = started.store.finish(started.id, _ended(record), [_event(started), event], skipped)
    assert len(stored[1]["data"]["nodes"]) == 150
    assert len(started.store.nodes(started.id)) == 151


# -- contention, throttling, defects -----------------------------------------------------------


def _table(moto: Backend, **replaced: Any) -> tuple[Table, list[float]]:
    waits: list[float] = []
    return Table(Faulty(moto.client, **replaced), moto.state_table, sleep=waits.append), waits


PUT = {"Put": {"Item": {**key("P", "S"), "n": number(1)}}}


def test_contention_is_waited_out_under_one_token(moto: Backend) -> None:
    tokens: list[str] = []
    refuse = refused("TransactionCanceledException", times=2, **cancelled("TransactionConflict"))

    def contended(method: Any, **parameters: Any) -> Any:
        tokens.append(parameters["ClientRequestToken"])
        return refuse(method, **parameters)

    table, waits = _table(moto, transact_write_items=contended)
    table.transact([PUT])
    assert len(waits) == 2
    assert len(tokens) == 3
    assert len(set(tokens)) == 1


@pytest.mark.parametrize("reason", ["TransactionConflict", "ThrottlingError"])
def test_contention_that_does_not_end_is_transient(moto: Backend, reason: str) -> None:
    refuse = refused("TransactionCanceledException", **cancelled("None", reason))
    table, waits = _table(moto, transact_write_items=refuse)
    with pytest.raises(TransientStore):
        table.transact([PUT])
    assert len(waits) == TRIES
    assert all(wait <= 1 for wait in waits)


def test_an_update_that_meets_a_transaction_is_repeated(moto: Backend) -> None:
    table, waits = _table(moto, update_item=refused("TransactionConflictException", times=1))
    table.update(
        key("U", "S"), UpdateExpression="ADD n :n", ExpressionAttributeValues={":n": number(1)}
    )
    assert len(waits) == 1


def test_another_reason_is_a_defect(moto: Backend) -> None:
    refuse = refused("TransactionCanceledException", **cancelled("ValidationError"))
    table, _ = _table(moto, transact_write_items=refuse)
    with pytest.raises(PermanentInternal, match="TransactWriteItems"):
        table.transact([PUT])


def test_keys_left_unread_are_asked_for_again(moto: Backend, started: Started) -> None:
    def one_each(method: Any, RequestItems: Any) -> Any:
        [(table, asked)] = RequestItems.items()
        first, rest = asked["Keys"][:1], asked["Keys"][1:]
        answer = method(RequestItems={table: {**asked, "Keys": first}})
        left = {table: {**asked, "Keys": rest}} if rest else {}
        return {**answer, "UnprocessedKeys": left}

    for ord_ in (1, 2):
        started.store.finish(started.id, _skip(ord_), [], fenced=False)
    store = _store(moto, batch_get_item=one_each)
    loaded = store.load(started.id, [Address(NodeKey(1, "")), Address(NodeKey(2, ""))])
    assert len(loaded.records) == 2


def test_keys_that_stay_unread_are_transient(moto: Backend) -> None:
    def none(method: Any, RequestItems: Any) -> Any:
        return {"Responses": {}, "UnprocessedKeys": RequestItems}

    table, waits = _table(moto, batch_get_item=none)
    with pytest.raises(TransientStore):
        table.batch_get([key("P", "S")])
    assert len(waits) == TRIES


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("ProvisionedThroughputExceededException", 400, TransientStore),
        ("ThrottlingException", 400, TransientStore),
        ("InternalServerError", 500, TransientStore),
        ("SomethingNew", 503, TransientStore),
        ("AccessDeniedException", 400, PermanentInternal),
        ("ResourceNotFoundException", 400, PermanentInternal),
        ("ValidationException", 400, PermanentInternal),
    ],
)
def test_errors_of_aws_become_ours(
    moto: Backend, started: Started, code: str, status: int, kind: type[Exception]
) -> None:
    store = _store(moto, get_item=refused(code, status))
    with pytest.raises(kind) as raised:
        store.control(started.id)
    shown = raised.value.to_dict()  # type: ignore[attr-defined]  # all kinds are JoineryErrors
    assert shown["details"] == {"aws_code": code}
    assert "secret" not in str(shown)
    assert moto.state_table not in str(shown)


def test_timeouts_are_transient(moto: Backend, started: Started) -> None:
    with pytest.raises(TransientStore):
        _store(moto, get_item=answer_lost).control(started.id)


def test_busy_may_be_told_otherwise_and_other_errors_pass() -> None:
    with pytest.raises(Unavailable), aws_errors("Invoke", Unavailable):
        raise refusal("TooManyRequestsException", 429)
    with pytest.raises(Contended), aws_errors("UpdateItem"):
        raise refusal("TransactionInProgressException")
    with pytest.raises(KeyError), aws_errors("Invoke"):
        raise KeyError


def test_a_void_by_hand_has_the_key_that_replays_use(moto: Backend, started: Started) -> None:
    started.store.put_void(started.id, 7)
    table, _ = _table(moto)
    item = table.get(key(run_pk(started.id), event_sk(7)))
    assert item is not None
    assert item["sk"] == string("E#0000000007")
