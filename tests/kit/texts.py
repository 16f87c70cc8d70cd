"""Text that viewers put together, a code point at a time and with no code of the product.

Deltas overlap, and come in any order: whoever subscribes late is sent what is stored
by one process, and what is being said by another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class Heard:
    """One stream of one attempt."""

    def __init__(self) -> None:
        self._points: dict[int, str] = {}

    def add(self, delta: Mapping[str, Any]) -> None:
        """Takes the data of a delta; two deltas must agree where they overlap."""
        for place, point in enumerate(delta["text"], delta["offset"]):
            assert self._points.setdefault(place, point) == point, f"two texts at {place}"

    @property
    def text(self) -> str:
        """The whole text; a hole fails."""
        missing = set(range(max(self._points, default=-1) + 1)) - set(self._points)
        assert not missing, f"a hole at {min(missing)}"
        return "".join(self._points[place] for place in sorted(self._points))


def heard(messages: Iterable[Mapping[str, Any]]) -> str:
    """Returns the text of a run in which one node speaks once; a hole fails."""
    said = Heard()
    for message in messages:
        if message["event"] == "text.delta":
            said.add(message["data"])
    return said.text
