"""How much new a message says: what the breaker's rule `loop` is computed from.

The novelty of a message is 1 minus the largest Jaccard similarity of its set of character
3-grams with that of any earlier message: 1 where it shares nothing, 0 where it is a copy.
Rewritten texts have 0.8 and more, texts with a word changed a few hundredths.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

WINDOW: Final = 3
"""So many of the last messages are looked at, each against all before it."""

GRAM: Final = 3


def grams(text: str) -> frozenset[str]:
    """Returns the character 3-grams of a text, without regard to case and white space."""
    plain = " ".join(text.lower().split())
    if len(plain) < GRAM:
        return frozenset({plain})
    return frozenset(plain[i : i + GRAM] for i in range(len(plain) - GRAM + 1))


def similarity(a: frozenset[str], b: frozenset[str]) -> float:
    """Returns the Jaccard similarity of two sets."""
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared) if a or b else 1.0


def novelty(messages: Sequence[str], *, window: int = WINDOW) -> float | None:
    """Returns the mean novelty of the last messages, against those before each of them.

    Args:
        messages: All messages of one line of work, oldest first.
        window: How many of the last ones count.

    Returns:
        From 0 to 1; None while there are not more messages than the window.
    """
    if len(messages) <= window:
        return None
    sets = [grams(text) for text in messages]
    fresh = [
        1.0 - max(similarity(sets[place], before) for before in sets[:place])
        for place in range(len(sets) - window, len(sets))
    ]
    return sum(fresh) / window
