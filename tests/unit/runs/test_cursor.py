"""A cursor is one short word that says where a reader is in events and text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joinery.errors import InvalidRequest
from joinery.runs.cursor import CURSOR_CHARS, Cursor, Writing
from joinery.runs.model import NodeKey

NUMBERS = st.integers(0, 99_999)
KEYS = st.builds(
    NodeKey, NUMBERS, st.lists(NUMBERS, max_size=3).map(lambda parts: ".".join(map(str, parts)))
)
STREAMS = st.sampled_from(["text", "reasoning", "call.1.0", "call.12.3"])
NODES = st.builds(
    Writing, st.integers(1, 999), st.dictionaries(STREAMS, st.integers(0, 9_999_999_999))
)
CURSORS = st.builds(
    Cursor, st.integers(0, 9_999_999_999), st.dictionaries(KEYS, NODES, max_size=60), st.booleans()
)


@given(CURSORS)
def test_what_is_written_is_read_and_is_short(cursor: Cursor) -> None:
    text = str(cursor)
    assert len(text) <= CURSOR_CHARS
    read = Cursor.parse(text)
    assert read.seq == cursor.seq
    assert read.writing.items() <= cursor.writing.items()
    # What did not fit is said to be missing.
    assert read.more == (cursor.more or len(read.writing) < len(cursor.writing))


@pytest.mark.parametrize(
    ("text", "cursor"),
    [
        ("12", Cursor(12, more=True)),
        ("0", Cursor()),
        ("12;", Cursor(12)),
        ("12;+", Cursor(12, more=True)),
        ("7;3/2.0/1", Cursor(7, {NodeKey(3, "2.0"): Writing(1)})),
        ("7;3//2/text/9,+", Cursor(7, {NodeKey(3, ""): Writing(2, {"text": 9})}, more=True)),
    ],
)
def test_the_forms(text: str, cursor: Cursor) -> None:
    assert Cursor.parse(text) == cursor


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "-1", "1.5", "99999999999", "1;;", "1;x", "1;3", "1;3//", "1;3//1/text",
        "1;3//1/TEXT/4", "1;3//1/text/-4", "1;+,3//1", "1;3//1,", "1;3//1,,4//1", "1 ", "1\n",
        "1;3//1/text/4\n", "1;" + "3//1," * 900, "१",
    ],
)  # fmt: skip
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        Cursor.parse(text)
