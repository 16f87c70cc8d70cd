"""Text on its way out: nothing lost, nothing double, offsets in code points."""

from __future__ import annotations

import json
import statistics
import threading
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joinery import limits
from joinery.errors import TransientStore
from joinery.events.streams import DELTA_TEXT_BYTES, TextStreams, split_encoded

Sent = list[tuple[str, int, str]]


def joined(sent: Sent, stream: str = "text") -> str:
    """Rebuilds a stream by offset, as a client does."""
    text = ""
    for name, offset, piece in sent:
        if name == stream:
            assert offset <= len(text), "a hole"
            text = text[:offset] + piece
    return text


@pytest.mark.parametrize("background", [False, True])
def test_text_arrives_whole_on_both_ways(background: bool) -> None:
    posted: Sent = []
    stored: Sent = []
    streams = TextStreams(
        lambda *a: posted.append(a),
        lambda *a: stored.append(a),
        background=background,
        delta_s=0.005,
        durable_s=0.01,
    )
    words = ["Grüße ", "👩‍👩‍👧 ", "שלום ", "x" * 50_000, "é"] * 3
    for word in words:
        streams.add("text", word)
        streams.add("reasoning", word[:1])
        time.sleep(0.003)
    summary = streams.close()
    assert joined(posted) == joined(stored) == "".join(words)
    assert joined(posted, "reasoning") == "".join(w[:1] for w in words)
    assert summary["text"]["length"] == len("".join(words))
    assert all(len(json.dumps(piece)) <= DELTA_TEXT_BYTES for _, _, piece in posted)


def test_first_text_goes_out_at_once_and_then_at_intervals() -> None:
    arrived = threading.Event()
    posted: Sent = []

    def post(stream: str, offset: int, text: str) -> None:
        posted.append((stream, offset, text))
        arrived.set()

    streams = TextStreams(post, lambda *a: None, background=True, delta_s=30, durable_s=30)
    streams.add("text", "first")
    assert arrived.wait(5)
    for _ in range(100):
        streams.add("text", " more")
    streams.close()
    assert [text for _, _, text in posted] == ["first", " more" * 100]


def test_text_comes_half_as_often_once_it_is_ahead_of_its_reader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "DELTA_FRESH_S", 0.4)
    times: list[float] = []
    streams = TextStreams(
        lambda *a: times.append(time.monotonic()),
        lambda *a: None,
        background=True,
        delta_s=0.05,
        durable_s=30,
    )

    def gaps(seconds: float) -> list[float]:
        begun = time.monotonic()
        times.clear()
        while time.monotonic() < begun + seconds:
            streams.add("text", "x")
            time.sleep(0.005)
        return [after - before for before, after in pairwise(times)]

    def typical(found: list[float]) -> float:
        return statistics.median(found)

    fresh, settled = typical(gaps(0.35)), typical(gaps(0.8))
    assert 0.045 <= fresh < 0.085 < 0.095 <= settled < 0.15
    # Text that comes again after a silence is waited for as if it began.
    time.sleep(0.6)
    assert typical(gaps(0.35)) < 0.085
    streams.close()


def test_slow_posts_merge_text_instead_of_holding_up_the_model() -> None:
    posted: Sent = []

    def slow(stream: str, offset: int, text: str) -> None:
        time.sleep(0.05)
        posted.append((stream, offset, text))

    streams = TextStreams(slow, lambda *a: None, background=True, delta_s=0, durable_s=30)
    began = time.monotonic()
    for _ in range(1000):
        streams.add("text", "x")
    assert time.monotonic() - began < 1
    streams.close()
    assert joined(posted) == "x" * 1000
    assert len(posted) < 20


def test_a_new_subscriber_gets_the_text_from_its_beginning() -> None:
    posted: Sent = []
    streams = TextStreams(lambda *a: posted.append(a), lambda *a: None, background=False)
    streams.add("text", "one ")
    streams.resend()
    streams.add("text", "two")
    streams.close()
    assert posted[-1] == ("text", 0, "one two")


def test_text_that_cannot_be_stored_ends_the_attempt() -> None:
    def broken(*_: object) -> None:
        raise TransientStore("throttled")

    streams = TextStreams(lambda *a: None, broken, background=True, durable_s=0.01)
    streams.add("text", "x")
    time.sleep(0.05)
    with pytest.raises(TransientStore):
        streams.close()


@given(st.text(max_size=300), st.integers(12, 200))
def test_splitting_keeps_every_code_point(text: str, limit: int) -> None:
    pieces = split_encoded(text, limit)
    assert "".join(piece for _, piece in pieces) == text
    assert [start for start, _ in pieces] == [
        len("".join(p for _, p in pieces[:i])) for i in range(len(pieces))
    ]
    assert all(len(json.dumps(p)) <= limit for _, p in pieces if len(p) > 1)
