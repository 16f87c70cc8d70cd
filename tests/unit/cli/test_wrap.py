from __future__ import annotations

import random

from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from joinery_cli.live.wrap import KEPT_LINES, TailWrap
from joinery_cli.live.wrap import wrapped as wrap_all


def wrapped(text, width, height=100):
    wrap = TailWrap(width)
    wrap.update(text, width)
    return wrap.tail(height)


def test_words_are_kept_together():
    assert wrapped("the quick brown fox", 10) == ["the quick", "brown fox"]
    assert wrapped("the quick brown fox", 9) == ["the quick", "brown fox"]
    assert wrapped("ab cd", 5) == ["ab cd"]


def test_lines_paragraphs_and_indentation_stay():
    assert wrapped("one\n\n  two\nthree", 20) == ["one", "", "  two", "three"]


def test_a_word_wider_than_the_line_is_broken():
    assert wrapped("abcdefghij", 4) == ["abcd", "efgh", "ij"]
    assert wrapped("x abcdefghij", 4)[0] == "x"


def test_wide_characters_take_two_cells():
    assert wrapped("日本語のテキスト", 6) == ["日本語", "のテキ", "スト"]
    assert wrapped("日本語", 5) == ["日本", "語"]


def test_what_steers_a_terminal_is_left_out():
    assert wrapped("a\x1b[2Jb\r\x07c\u202ed", 20) == ["a[2Jbcd"]
    assert wrapped("a\tb", 20) == ["a   b"]


def test_only_the_tail_is_shown():
    assert wrapped("\n".join(map(str, range(50))), 10, 3) == ["47", "48", "49"]
    assert wrapped("text", 10, 0) == []


ALPHABET = "ab c\n日é🎉\t-"


@given(st.text(alphabet=ALPHABET, max_size=80), st.integers(2, 20))
@example("日", 2)
def test_no_line_is_wider_and_nothing_is_lost(text, width):
    lines = wrapped(text, width, 1_000)
    assert all(cell_len(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


@given(st.text(alphabet=ALPHABET, max_size=80), st.integers(2, 20), st.integers(0, 99))
def test_growing_text_wraps_as_it_does_at_once(text, width, seed):
    grown = TailWrap(width)
    cuts = sorted(random.Random(seed).choices(range(len(text) + 1), k=4))
    for cut in [*cuts, len(text)]:
        grown.update(text[:cut], width)
        grown.tail(5)
    # Only a tab counts from where its piece began.
    if "\t" not in text:
        assert grown.tail(1_000) == wrapped(text, width, 1_000)


def test_another_width_or_another_text_begins_anew():
    wrap = TailWrap(10)
    wrap.update("the quick brown", 10)
    wrap.update("the quick brown", 5)
    assert wrap.tail(9) == ["the", "quick", "brown"]
    wrap.update("other", 5)
    assert wrap.tail(9) == ["other"]


def test_a_very_long_text_costs_only_its_end():
    wrap = TailWrap(40)
    wrap.update("word " * 1_000_000, 40)
    assert len(wrap.tail(1_000)) <= KEPT_LINES + 1


def test_a_whole_text_is_wrapped_when_all_of_it_is_wanted():
    lines = wrap_all("word " * 30_000, 40)
    assert len(lines) == 30_000 // 8
    assert "".join(lines).count("word") == 30_000
