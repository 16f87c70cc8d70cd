"""Text that an attempt goes on from."""

from __future__ import annotations

import hashlib

from joinery.events.streams import TextStreams

Piece = tuple[str, int, str]


def streams(kept: dict[str, str] | None = None) -> tuple[TextStreams, list[Piece], list[Piece]]:
    posted: list[Piece] = []
    stored: list[Piece] = []
    made = TextStreams(
        lambda *piece: posted.append(piece),
        lambda *piece: stored.append(piece),
        background=False,
        kept=kept,
    )
    return made, posted, stored


def test_kept_text_is_stored_again_but_not_posted() -> None:
    made, posted, stored = streams({"text": "so far", "call.1.0": "{}"})
    made.add("text", " and on")
    summary = made.close()
    assert posted == [("text", 6, " and on")]
    assert sorted(stored) == [("call.1.0", 0, "{}"), ("text", 0, "so far and on")]
    assert summary["text"]["length"] == 13
    assert summary["text"]["sha256"] == hashlib.sha256(b"so far and on").hexdigest()
    assert summary["call.1.0"]["length"] == 2


def test_who_comes_later_is_sent_kept_text_too() -> None:
    made, posted, _ = streams({"text": "so far"})
    made.resend()
    made.close()
    assert posted == [("text", 0, "so far")]


def test_a_gap_stands_between_texts_only() -> None:
    made, posted, _ = streams()
    made.part("text", "\n\n")  # nothing is before it
    made.add("text", "one")
    made.part("text", "\n\n")
    made.part("text", "\n\n")
    made.add("text", "two")
    made.part("text", "\n\n")  # nothing comes after it
    made.close()
    assert "".join(text for _, _, text in posted) == "one\n\ntwo"


def test_what_was_said_since() -> None:
    made, _, _ = streams({"text": "a"})
    before = made.lengths()
    assert made.since(before) == {}
    made.add("text", "b")
    made.add("reasoning", "é🦊")
    assert made.since(before) == {"text": "b", "reasoning": "é🦊"}
    assert made.lengths() == {"text": 2, "reasoning": 2}
