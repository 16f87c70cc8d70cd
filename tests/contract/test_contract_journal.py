"""What every store promises of journals and of long texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from joinery.errors import NotFound
from joinery.runs.model import NodeKey
from joinery.runs.ports import ClaimLost, JournalEntry

if TYPE_CHECKING:
    from contract.backends import Started

KEY = NodeKey(3, "2.0")
LEASE = 15.0


def claim(started: Started, later: float = 0.0, holder: str = "me", key: NodeKey = KEY) -> None:
    now = started.now + later
    started.store.claim(started.id, key, "node3", holder=holder, now=now, until=now + LEASE)


def note(started: Started, entry_id: str, value: Any, attempt: int = 1, key: NodeKey = KEY) -> None:
    started.store.put_journal(started.id, key, entry_id, value, attempt)


def test_what_was_noted_is_read_in_order(started: Started) -> None:
    claim(started)
    assert started.store.journal(started.id, KEY) == {}
    note(started, "0010.answer", {"text": "ten"})
    note(started, "0002.00.result", {"content": "a"})
    note(started, "0002.answer", {"text": "é 🦊", "calls": [1.5, None, True]})
    found = started.again().journal(started.id, KEY)
    assert list(found) == ["0002.00.result", "0002.answer", "0010.answer"]
    assert found["0002.answer"] == JournalEntry(
        {"text": "é 🦊", "calls": [1.5, None, True]}, attempt=1
    )


def test_the_same_entry_again_replaces_it(started: Started) -> None:
    claim(started)
    note(started, "0001.answer", {"text": "one"})
    note(started, "0001.answer", {"text": "two"})
    assert started.again().journal(started.id, KEY)["0001.answer"].value == {"text": "two"}


def test_each_node_and_path_has_a_journal_of_its_own(started: Started) -> None:
    places = [NodeKey(3, ""), NodeKey(3, "2"), NodeKey(3, "2.0"), NodeKey(30, ""), NodeKey(4, "")]
    for place in places:
        claim(started, key=place)
        note(started, "0001.answer", {"at": [place.ord, place.path]}, key=place)
    for place in places:
        found = started.again().journal(started.id, place)
        assert [e.value for e in found.values()] == [{"at": [place.ord, place.path]}]


def test_an_attempt_that_was_overtaken_notes_nothing_more(started: Started) -> None:
    claim(started)
    note(started, "0001.answer", {"text": "mine"})
    claim(started, later=LEASE + 1, holder="other")
    with pytest.raises(ClaimLost):
        note(started, "0002.answer", {"text": "late"})
    note(started, "0002.answer", {"text": "theirs"}, attempt=2)
    found = started.again().journal(started.id, KEY)
    assert [(e.value["text"], e.attempt) for e in found.values()] == [("mine", 1), ("theirs", 2)]


def test_a_node_that_has_ended_or_never_began_notes_nothing(started: Started) -> None:
    with pytest.raises(ClaimLost):
        note(started, "0001.answer", {"text": "too early"})
    claim(started)
    record = started.store.nodes(started.id)[0]
    started.store.finish(started.id, record.with_(status="completed", ended_at=1.0), [])
    with pytest.raises(ClaimLost):
        note(started, "0001.answer", {"text": "too late"})
    assert started.again().journal(started.id, KEY) == {}


def test_large_values_are_whole(started: Started) -> None:
    claim(started)
    values = {f"{i:04d}.answer": {"text": f"{i}é" * 100_000} for i in range(3)}
    for entry_id, value in values.items():
        note(started, entry_id, value)
    found = started.again().journal(started.id, KEY)
    assert {entry_id: entry.value for entry_id, entry in found.items()} == values


def test_a_journal_outlives_its_attempt(started: Started) -> None:
    claim(started)
    note(started, "0001.answer", {"text": "kept"})
    record = started.store.nodes(started.id)[0]
    started.store.finish(started.id, record.with_(status="failed", ended_at=1.0), [])
    failed = started.store.nodes(started.id)[0]
    started.store.reset_node(started.id, failed)
    claim(started, later=LEASE + 1)
    note(started, "0002.answer", {"text": "next"}, attempt=2)
    found = started.again().journal(started.id, KEY)
    assert [entry.attempt for entry in found.values()] == [1, 2]


@pytest.mark.parametrize("length", [0, 1, 1_048_576, 1_048_577, 2_500_000])
def test_a_range_of_a_long_text(started: Started, length: int) -> None:
    text = ("0123456789é🦊" * (length // 12 + 1))[:length]
    started.store.put_whole(started.id, "3.2.0.0001.00", text)
    store = started.again()
    for start in (0, 5, 1_048_570, max(0, length - 10), length, length + 5):
        for size in (0, 1, 20_000):
            found = store.read_whole(started.id, "3.2.0.0001.00", start, start + size)
            assert found == text[start : start + size], (start, size)


def test_a_text_that_is_not_there(started: Started) -> None:
    with pytest.raises(NotFound):
        started.store.read_whole(started.id, "nothing", 0, 10)
    with pytest.raises(NotFound):
        started.store.read_whole(started.id, "nothing", 5_000_000, 5_000_010)


def test_half_a_surrogate_pair_is_kept(started: Started) -> None:
    claim(started)
    note(started, "0001.answer", {"text": "a\ud83d"})
    started.store.put_whole(started.id, "half", "a\ud83db")
    assert started.again().journal(started.id, KEY)["0001.answer"].value == {"text": "a\ud83d"}
    assert started.again().read_whole(started.id, "half", 1, 3) == "\ud83db"


def test_a_deleted_run_leaves_nothing(started: Started) -> None:
    claim(started)
    note(started, "0001.answer", {"text": "long" * 10_000})
    started.store.put_whole(started.id, "whole", "text")
    assert started.store.delete_run(started.id)
    with pytest.raises(NotFound):
        started.again().read_whole(started.id, "whole", 0, 1)
