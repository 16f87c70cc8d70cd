"""Wraps text that grows into lines of terminal cells, without doing it anew each time."""

from __future__ import annotations

from collections import deque
from typing import Final

from rich.cells import cell_len, get_character_cell_size

from joinery_cli.output import clean

KEPT_LINES: Final = 200
"""More than a terminal is high; earlier lines of a stream are not drawn again."""

_KEPT_CHARS: Final = 20_000


class TailWrap:
    """The last lines of a growing text, wrapped at words to a width in cells.

    A wide character, such as a Chinese one, takes two cells and is never split. A
    word that is wider than a line is broken.
    """

    def __init__(self, width: int, *, kept: int | None = KEPT_LINES) -> None:
        self._kept = kept
        self._begin(width)

    def _begin(self, width: int) -> None:
        self.width = max(2, width)
        self._broken = False
        self._lines: deque[str] = deque(maxlen=self._kept)
        self._line = ""
        self._word = ""
        self._source = ""
        self._taken = 0

    def update(self, text: str, width: int) -> None:
        """Makes this show `text`; costs only what is new when the text has grown."""
        # Comparing lengths alone would miss a hole that fills.
        if max(2, width) != self.width or not text.startswith(self._source):
            self._begin(width)
        if self._kept is not None and len(text) - self._taken > _KEPT_CHARS:
            self._taken = text.find("\n", len(text) - _KEPT_CHARS) + 1 or len(text) - _KEPT_CHARS
        new = text[self._taken :]
        self._source, self._taken = text, len(text)
        for character in clean(new).expandtabs(4):
            self._take(character)

    def tail(self, height: int | None = None) -> list[str]:
        """Returns the last lines, at most `height` of them, or all that are kept."""
        lines = list(self._lines)
        last = self._line
        if self._word:
            if cell_len(last) + cell_len(self._word) > self.width and last:
                lines.append(last.rstrip())
                last = ""
            last += self._word
        if last or not lines:
            lines.append(last.rstrip())
        if height is None:
            return lines
        return lines[-height:] if height > 0 else []

    def _take(self, character: str) -> None:
        if character == "\n":
            self._end_word()
            self._lines.append(self._line.rstrip())
            self._line, self._broken = "", False
        elif character == " ":
            self._end_word()
            # No line begins with the space it was broken at.
            if (self._line or not self._broken) and cell_len(self._line) < self.width:
                self._line += " "
        elif get_character_cell_size(character) == 2:
            # Text in wide characters may be broken between any two of them.
            self._end_word()
            self._word = character
            self._end_word()
        else:
            self._word += character
            if cell_len(self._word) >= self.width:
                self._end_word()

    def _end_word(self) -> None:
        if not self._word:
            return
        if cell_len(self._line) + cell_len(self._word) > self.width:
            self._lines.append(self._line.rstrip())
            self._line, self._broken = "", True
        self._line += self._word
        self._word = ""


def wrapped(text: str, width: int) -> list[str]:
    """Returns a whole text in lines of at most `width` cells."""
    wrap = TailWrap(width, kept=None)
    wrap.update(text, width)
    return wrap.tail()
