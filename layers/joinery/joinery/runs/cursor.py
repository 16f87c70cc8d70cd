"""Where a reader of a run is, in its events and in its text, as one short word.

    12                        has the events up to 12; of text that is being written: unknown
    12;                       the same, and no node was writing
    12;3/1/2/text/345         node 3 in round 1, attempt 2, was writing; has 345 code points
    12;3/1/2,4//1/text/9,+    two nodes were writing, and more that are not listed

Text of nodes that had ended by then needs no place here: whoever has the event of a
node's end was sent its text before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from joinery.errors import InvalidRequest
from joinery.runs.model import NodeKey

CURSOR_CHARS: Final = 1_024
"""Longest cursor: it goes with every message, and comes back as a header."""

_CURSOR: Final = re.compile(r"(\d{1,10})(?:;([0-9a-z_./,+]*))?", re.ASCII)
_NODE: Final = re.compile(
    r"(\d{1,5})/((?:\d{1,5}(?:\.\d{1,5})*)?)/(\d{1,3})((?:/[a-z][a-z0-9_.]{0,31}/\d{1,10})*)",
    re.ASCII,
)
_MORE: Final = "+"


@dataclass(frozen=True, slots=True)
class Writing:
    """A node that was writing: its attempt, and what the reader has of each stream."""

    attempt: int
    offsets: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a reader is.

    Attributes:
        seq: Its highest contiguous event.
        writing: The nodes that had begun and not ended by that event.
        more: Whether there may be others, whose text it may not have.
    """

    seq: int = 0
    writing: Mapping[NodeKey, Writing] = field(default_factory=dict)
    more: bool = False

    @staticmethod
    def at(seq: int) -> Cursor:
        """Returns the cursor of a reader that counts events alone."""
        return Cursor(seq, more=seq > 0)

    @staticmethod
    def parse(text: str) -> Cursor:
        """Returns the cursor that a text holds. Raises: InvalidRequest."""
        match = _CURSOR.fullmatch(text) if len(text) <= CURSOR_CHARS else None
        if match is None:
            raise _malformed()
        if match[2] is None:
            return Cursor.at(int(match[1]))
        writing: dict[NodeKey, Writing] = {}
        entries = match[2].split(",") if match[2] else []
        more = entries[-1:] == [_MORE]
        for entry in entries[:-1] if more else entries:
            found = _NODE.fullmatch(entry)
            if found is None:
                raise _malformed()
            _, *streams = found[4].split("/")
            offsets = dict(zip(streams[::2], map(int, streams[1::2]), strict=True))
            writing[NodeKey(int(found[1]), found[2])] = Writing(int(found[3]), offsets)
        return Cursor(int(match[1]), writing, more)

    def __str__(self) -> str:
        """Returns the cursor as a text that `parse` reads; what does not fit is `more`."""
        text, more = f"{self.seq};", self.more
        for key, node in self.writing.items():
            streams = "".join(f"/{name}/{offset}" for name, offset in node.offsets.items())
            entry = f"{key.ord}/{key.path}/{node.attempt}{streams},"
            if len(text) + len(entry) + len(_MORE) > CURSOR_CHARS:
                more = True
            else:
                text += entry
        return text + _MORE if more else text.removesuffix(",")


def _malformed() -> InvalidRequest:
    return InvalidRequest("this is no id that a stream gave")
