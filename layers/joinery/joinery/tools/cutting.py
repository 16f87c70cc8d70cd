"""What a model is told of a tool's result that is too long for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

RESULT_CHARS: Final = 20_000
"""Code points of a result that a model is told; of a longer one its head and its tail."""

LIST_ITEMS: Final = 32
"""Items of a list that a model is told; of a longer one the first and the last."""

LIST_HEAD: Final = 20
LIST_TAIL: Final = 8


@dataclass(frozen=True, slots=True)
class Told:
    """A result as the model is told it.

    Attributes:
        text: What it is told.
        whole: All of the result.
        cut: Whether `text` is less than that.
    """

    text: str
    whole: str
    cut: bool


def of_text(text: str) -> Told:
    """Returns a text with at most `RESULT_CHARS` of it."""
    return Told(shortened(text, RESULT_CHARS), text, len(text) > RESULT_CHARS)


def of_data(data: Any) -> Told:
    """Returns data as JSON: first its lists are shortened, then the text where need be.

    Raises:
        ValueError: It cannot be said in JSON; also TypeError and RecursionError.
    """
    whole = _json(data)
    short, left_out = _shorter_lists(data)
    text = _json(short) if left_out else whole
    return Told(shortened(text, RESULT_CHARS), whole, left_out or len(text) > RESULT_CHARS)


def shortened(text: str, most: int) -> str:
    """Returns head and tail of a text, `most` code points together, with a line between them."""
    if len(text) <= most:
        return text
    head, tail = (most + 1) // 2, most // 2
    missing = len(text) - head - tail
    return f"{text[:head]}\n[… {missing:,} characters left out …]\n{text[len(text) - tail :]}"


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False)


def _shorter_lists(value: Any) -> tuple[Any, bool]:
    """Returns data without the middles of long lists, and whether anything was left out."""
    if isinstance(value, Mapping):
        made: dict[str, Any] = {}
        some = False
        for key, item in value.items():
            made[key], less = _shorter_lists(item)
            some = some or less
        return made, some
    if not isinstance(value, list | tuple):
        return value, False
    long = len(value) > LIST_ITEMS
    items = [*value[:LIST_HEAD], *value[-LIST_TAIL:]] if long else value
    parts = [_shorter_lists(item) for item in items]
    kept = [part for part, _ in parts]
    if long:
        missing = len(value) - LIST_HEAD - LIST_TAIL
        kept.insert(LIST_HEAD, f"… {missing:,} of {len(value):,} items left out …")
    return kept, long or any(less for _, less in parts)
