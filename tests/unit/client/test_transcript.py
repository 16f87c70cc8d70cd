from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joinery.client import Transcript

from .fake_api import delta, event


def test_text_comes_together_in_any_order_and_repeats_are_harmless():
    text = "Ünïcode 🎉 and 日本語, code points and not bytes."
    pieces = [(at, text[at : at + 4]) for at in range(0, len(text), 4)]
    messages = [delta("a", at, piece) for at, piece in pieces] * 2
    random.Random(1).shuffle(messages)
    transcript = Transcript()
    for message in messages:
        transcript.apply(message)
    assert transcript.text("a") == text


@given(st.text(min_size=1, max_size=40), st.data())
def test_overlapping_pieces_always_give_the_text(text, data):
    transcript = Transcript()
    cuts = st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))
    pieces = data.draw(st.lists(cuts, max_size=12))
    for one, other in [*pieces, (0, len(text) // 2), (len(text) // 2, len(text))]:
        start, stop = sorted((one, other))
        before = transcript.text("a")
        news = transcript.apply(delta("a", start, text[start:stop]))
        assert news == (transcript.text("a") != before)
    assert transcript.text("a") == text
    assert transcript.stream("a").complete


def test_a_hole_is_visible_until_it_fills():
    transcript = Transcript()
    transcript.apply(delta("a", 0, "one "))
    transcript.apply(delta("a", 8, "three"))
    assert transcript.text("a") == "one […]three"
    assert not transcript.stream("a").complete
    assert list(transcript.stream("a").pieces()) == [(0, "one "), (8, "three")]
    transcript.apply(delta("a", 4, "two "))
    assert transcript.text("a") == "one two three"


def test_a_new_attempt_replaces_the_one_before_and_late_text_of_the_old_is_dropped():
    transcript = Transcript()
    transcript.apply(delta("a", 0, "first try"))
    assert transcript.apply(event(5, "node.started", "a", attempt=2))
    assert transcript.text("a") == ""
    assert not transcript.apply(delta("a", 9, " goes on", attempt=1))
    assert not transcript.apply(event(3, "node.started", "a", attempt=1))
    transcript.apply(delta("a", 0, "second", attempt=2))
    assert transcript.text("a") == "second"


def test_a_delta_of_a_new_attempt_may_overtake_its_event():
    transcript = Transcript()
    transcript.apply(delta("a", 0, "old"))
    transcript.apply(delta("a", 0, "new", attempt=2))
    assert not transcript.apply(event(5, "node.started", "a", attempt=2))
    assert transcript.text("a") == "new"


def test_rounds_and_streams_are_kept_apart():
    transcript = Transcript()
    transcript.apply(delta("a", 0, "round one", path="1"))
    transcript.apply(delta("a", 0, "round two", path="2"))
    transcript.apply(delta("a", 0, "why", path="2", stream="reasoning"))
    assert transcript.text("a", "1") == "round one"
    assert transcript.text("a", "2", "reasoning") == "why"
    assert transcript.offsets() == {"a|1|1|text": 9, "a|2|1|text": 9, "a|2|1|reasoning": 3}


@pytest.mark.parametrize(
    ("heard", "said", "attempt", "lacks"),
    [
        ("hello", "hello", 1, False),
        ("hell", "hello", 1, True),
        ("hallo", "hello", 1, True),
        ("", "hello", 1, True),
        ("hello", "hello", 2, True),
        ("", "", 1, False),
    ],
)
def test_the_end_of_a_node_tells_whether_text_is_missing(heard, said, attempt, lacks):
    transcript = Transcript()
    if heard:
        transcript.apply(delta("a", 0, heard))
    streams = {"text": {"length": len(said), "sha256": hashlib.sha256(said.encode()).hexdigest()}}
    ended = event(4, "node.completed", "a", attempt=attempt, streams=streams)
    assert transcript.lacks(ended) is lacks
