"""What viewers are shown of a tool's result: more than a model is told, and less than all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from joinery import limits
from joinery.tools.cutting import fitting, shortened, shorter_lists, to_json

SHOWN_CHARS: Final = 20_000
"""Code points of a text that viewers are shown, and of data as JSON."""

SHOWN_BYTES: Final = limits.WEBSOCKET_FRAME_BYTES - 2_048
"""Most bytes of what is shown as JSON: an event costs a viewer one message."""

LIST_ITEMS: Final = 128
LIST_HEAD: Final = 48
LIST_TAIL: Final = 16
"""Of a list with more items, so many of the first and of the last are shown."""

PAGE_ITEMS: Final = 500
PAGE_HEAD: Final = 180
PAGE_TAIL: Final = 60
"""The same of a list in a page, of which its tool has more."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A result as viewers are shown it.

    Attributes:
        result: A text, or data; a text where data is too large in the end.
        cut: Why it is less than the whole: `items`, `text`, `size`; nothing where it is not.
    """

    result: Any
    cut: tuple[str, ...] = ()


def of_text(text: str) -> Shown:
    """Returns what is shown of a text."""
    head = _ends(text)
    return Shown(head, () if head is text or head == text else ("text",))


def of_data(data: Any, whole: str) -> Shown:
    """Returns what is shown of data.

    Args:
        data: The data.
        whole: The same as JSON.
    """
    short, fewer = shorter_lists(data, _kept)
    reasons = ["items"] if fewer else []
    said = to_json(short) if fewer else whole
    if len(said) > SHOWN_CHARS:
        fits = fitting(short, SHOWN_CHARS)
        if fits is not None:
            reasons.append("text")
            said = to_json(fits)
    if len(said) > SHOWN_CHARS or _bytes(said) > SHOWN_BYTES:
        return Shown(_ends(said), (*reasons, "size"))
    # What JSON makes of it: keys are text, tuples are lists.
    return Shown(json.loads(_sound(said)), tuple(reasons))


def _kept(items: Sequence[Any], page: bool) -> tuple[int, int] | None:
    if page:
        return (PAGE_HEAD, PAGE_TAIL) if len(items) > PAGE_ITEMS else None
    return (LIST_HEAD, LIST_TAIL) if len(items) > LIST_ITEMS else None


def _ends(text: str) -> str:
    """Returns head and tail of a text that fit into an event."""
    most = SHOWN_CHARS
    shown = _sound(shortened(text, most))
    while _bytes(shown) > SHOWN_BYTES:
        most = most * 3 // 4
        shown = _sound(shortened(text, most))
    return shown


def _sound(text: str) -> str:
    """Returns a text without halves of surrogate pairs, which nobody can store."""
    return text.encode("utf-8", "replace").decode()


def _bytes(text: str) -> int:
    """Returns the bytes of a text inside an event, which is JSON."""
    return len(json.dumps(text, ensure_ascii=False).encode("utf-8", "replace"))
