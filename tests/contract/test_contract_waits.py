"""What every store promises of nodes that wait, and of what people say to agents."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from joinery import limits
from joinery.errors import NotFound
from joinery.events.make import make_event
from joinery.input_errors import InboxFull
from joinery.runs.model import Address, LiveInput, NodeKey
from joinery.runs.ports import TaskToken

if TYPE_CHECKING:
    from contract.backends import Started

KEY = NodeKey(3, "2.0")


def message(number: int, **more: Any) -> LiveInput:
    return LiveInput(f"in_{number:04}", f"said {number}", 5.0 + number, digest="d", **more)


def put(started: Started, said: LiveInput, store: Any = None) -> tuple[LiveInput, list[Any]]:
    data = {"kind": "message", "value": said.value, "input_id": said.input_id}
    event = make_event("input.received", started.id, data, at=said.at)
    stored: tuple[LiveInput, list[Any]] = (store or started.store).put_input(
        started.id, said, event
    )
    return stored


def take(started: Started, key: NodeKey = KEY, turn: int = 1, store: Any = None) -> list[Any]:
    """Returns `[ids of the messages, ids that the event tells of]`."""
    data: dict[str, Any] = {"turn": turn, "input_ids": []}
    event = make_event("input.taken", started.id, data, at=9.0, node_id="agent", path=key.path)
    taken, events = (store or started.store).take_inputs(started.id, key, "agent", turn, event)
    told = [i for e in events for i in e["data"]["input_ids"]]
    return [[m.input_id for m in taken], told]


def waiting(started: Started) -> dict[str, Any]:
    return {"kind": "question", "prompt": "Send it?", "options": {"yes": "Yes"}, "schema": None,
            "expires_at": 7.5}  # fmt: skip


def test_what_is_asked_is_kept_with_the_node(started: Started) -> None:
    now = started.now
    record = started.store.claim(started.id, KEY, "ask", holder="h", now=now, until=now + 15)
    record = record.with_(status="waiting", wait=waiting(started), holder="", claim_until=0.0)
    started.store.release(started.id, record, [])
    stored = started.again().load(started.id, [Address(KEY)]).records[Address(KEY)]
    assert (stored.status, stored.wait) == ("waiting", waiting(started))


def test_a_run_notes_that_it_has_asked(started: Started) -> None:
    assert not started.again().get_run(started.id).asked
    started.store.mark_asked(started.id)
    started.store.mark_asked(started.id)
    assert started.again().get_run(started.id).asked
    with pytest.raises(NotFound):
        started.store.mark_asked("run_" + "0" * 26)


def test_a_token_that_was_used_is_forgotten_and_a_newer_one_is_not(started: Started) -> None:
    store = started.store
    first = TaskToken(KEY, "first", "", started.now)
    other = TaskToken(NodeKey(4, ""), "other", "", started.now, ("join",))
    store.put_token(started.id, first)
    store.put_token(started.id, other)
    assert started.again().tokens(started.id) == [first, other]
    second = TaskToken(KEY, "second", "", started.now + 1)
    store.put_token(started.id, second)
    store.drop_token(started.id, first)
    assert started.again().token(started.id, KEY) == second
    store.drop_token(started.id, second)
    store.drop_token(started.id, second)
    assert started.again().tokens(started.id) == [other]


# -- the inbox -------------------------------------------------------------------------------


def test_messages_are_taken_once_in_the_order_of_their_arrival(started: Started) -> None:
    assert take(started) == [[], []]
    for number in (3, 1, 2):
        said, events = put(started, message(number))
        assert [e["seq"] for e in events] == [said.seq]
    ids = ["in_0003", "in_0001", "in_0002"]
    assert started.again().control(started.id).inputs == 3
    assert take(started) == [ids, ids]
    assert take(started, turn=2) == [[], []]
    assert take(started, NodeKey(4, "")) == [[], []]


def test_the_same_turn_is_given_the_same_messages_again_and_new_ones(started: Started) -> None:
    put(started, message(1))
    assert take(started) == [["in_0001"], ["in_0001"]]
    put(started, message(2))
    assert take(started, store=started.again()) == [["in_0001", "in_0002"], ["in_0002"]]
    held = started.again().taken_inputs(started.id, KEY, 1)
    assert [m.value for m in held] == ["said 1", "said 2"]
    assert started.again().taken_inputs(started.id, KEY, 2) == []


def test_a_message_for_one_agent_is_left_by_the_others(started: Started) -> None:
    put(started, message(1, node_id="other"))
    put(started, message(2, node_id="agent", path="1"))
    put(started, message(3, node_id="agent", path="2.0"))
    put(started, message(4, node_id="agent"))
    assert take(started)[0] == ["in_0003", "in_0004"]
    assert take(started, NodeKey(3, "1"))[0] == ["in_0002"]


def test_the_same_message_again_is_stored_once(started: Started) -> None:
    said, _ = put(started, message(1))
    again, events = put(started, message(1), started.again())
    assert (again, events) == (said, [])
    assert started.again().input(started.id, "in_0001") == said
    assert started.again().input(started.id, "in_0002") is None
    take(started)
    assert put(started, message(1))[1] == []
    assert take(started, turn=2) == [[], []]


def test_there_is_room_for_so_many_and_taking_makes_room(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "INBOX_PENDING_MAX", 2)
    monkeypatch.setattr(limits, "INBOX_RUN_MAX", 3)
    put(started, message(1))
    put(started, message(2))
    with pytest.raises(InboxFull) as full:
        put(started, message(3))
    assert full.value.details == {"limit": 2, "for_good": False}
    take(started)
    put(started, message(3))
    take(started)
    with pytest.raises(InboxFull) as full:
        put(started, message(4))
    assert full.value.details == {"limit": 3, "for_good": True}


def test_of_two_takers_at_once_one_has_a_message(started: Started) -> None:
    for number in range(1, 7):
        put(started, message(number))
    nodes = [NodeKey(3, "1"), NodeKey(3, "2")]
    with ThreadPoolExecutor(2) as pool:
        taken = list(pool.map(lambda key: take(started, key, store=started.again()), nodes))
    assert sorted(i for ids, _ in taken for i in ids) == [f"in_{n:04}" for n in range(1, 7)]
    assert all(ids == told for ids, told in taken)
