"""Reads YAML into a tree that keeps what data forgets: comments, styles, anchors, empty lines.

The library's own round trip hangs a comment on the token before it, often far down in
the value of another key, and drops comments in brackets; a comment could not follow its
key to another place. So comments are taken from between the tokens here, and given to
the entry that they stand at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final

from joinery.workflow.formatting.tree import Alias, Collection, Scalar, Unit

# https://yaml.org/spec/1.2.2/#66-comments; the library ends a line at these as well.
_COMMENT: Final = re.compile("#[^\n\x85\u2028\u2029]*")
_HEADER: Final = re.compile(r"[|>][0-9+-]*[ \t]*(#[^\n\x85\u2028\u2029]*)?")


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment.

    Attributes:
        text: It, with its `#`.
        index: Where it begins, in characters of the file.
        line: Its line, from 1.
        column: Its column, from 0.
        blank: Whether the line above is empty.
    """

    text: str
    index: int
    line: int
    column: int
    blank: bool


@dataclass(slots=True)
class Scanned:
    """The tokens of a file that matter here, in order."""

    comments: list[Comment] = field(default_factory=list)
    dashes: list[Any] = field(default_factory=list)
    scalars: list[Any] = field(default_factory=list)


def lines_of(text: str) -> str:
    """Returns a text whose lines end as YAML writes them."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def scan(text: str) -> Scanned:
    """Finds the comments of a YAML text that can be read, and where lists and texts stand."""
    from ruamel.yaml import YAML

    found = Scanned()
    position = counted = 0
    line = 1

    def note(begin: int, end: int) -> None:
        nonlocal counted, line
        for match in _COMMENT.finditer(text, begin, end):
            start = match.start()
            line, counted = line + text.count("\n", counted, start), start
            column, blank = column_of(text, start), blank_above(text, start)
            found.comments.append(Comment(match[0].rstrip(), start, line, column, blank))

    for token in YAML(typ="safe", pure=True).scan(text):
        start, end = token.start_mark.index, token.end_mark.index
        if start > position:
            note(position, start)
        kind = type(token).__name__
        if kind == "BlockEntryToken":
            found.dashes.append(token)
        elif kind == "ScalarToken":
            found.scalars.append(token)
            header = _HEADER.match(text, start) if token.style in ("|", ">") else None
            if header and header[1]:
                note(header.start(1), header.end(1))
        position = max(position, end)
    note(position, len(text))
    return found


def column_of(text: str, index: int) -> int:
    """Returns the column of a character, from 0."""
    return index - (text.rfind("\n", 0, index) + 1)


def blank_above(text: str, index: int) -> bool:
    """Whether the line above is empty and nothing but dashes stands before on this one."""
    start = text.rfind("\n", 0, index) + 1
    if not start or text[start:index].strip(" -?"):
        return False
    return not text[text.rfind("\n", 0, start - 1) + 1 : start - 1].strip()


def read(text: str) -> tuple[Collection, list[Comment]]:
    """Returns the tree and the comments of a YAML text that is known to be a mapping."""
    from ruamel.yaml import YAML

    scanned = scan(text)
    builder = _Builder(text, scanned)
    for event in YAML(typ="safe", pure=True).parse(text):
        builder.take(event)
    return builder.finish(), scanned.comments


class _Builder:
    """Puts events, dashes and comments together in the order of the file."""

    def __init__(self, text: str, scanned: Scanned) -> None:
        self._text = text
        self._scalars: Iterator[Any] = iter(scanned.scalars)
        marks = [(token.start_mark.index, token) for token in scanned.dashes]
        marks += [(comment.index, comment) for comment in scanned.comments]
        self._marks = sorted(marks, key=lambda mark: mark[0])
        self._next = 0
        self._stack: list[Collection] = []
        self._owners: list[Unit | None] = []
        self._starts: list[int] = []
        self._pending: list[Comment] = []
        self._last: Unit | None = None
        self._last_end = 0
        self._root: Collection | None = None

    def take(self, event: Any) -> None:
        """Takes an event, after everything that stands before it."""
        index = event.start_mark.index
        while self._next < len(self._marks) and self._marks[self._next][0] < index:
            self._mark(self._marks[self._next][1])
            self._next += 1
        handler = getattr(self, f"_{type(event).__name__}", None)
        if handler is not None:
            handler(event)

    def finish(self) -> Collection:
        """Returns the mapping; what is left belongs to its end."""
        for _, mark in self._marks[self._next :]:
            self._mark(mark)
        if self._root is None:
            raise ValueError("there is no mapping")
        self._root.foot += _lines(self._pending)
        return self._root

    def _mark(self, mark: Any) -> None:
        if not isinstance(mark, Comment):
            self._last = self._begin(mark.start_mark.index)
            self._last_end = mark.end_mark.index
        elif self._last and self._ends_a_line(mark):
            self._last.annotate(mark.text, mark.column)
        else:
            self._pending.append(mark)

    def _ends_a_line(self, comment: Comment) -> bool:
        """Whether a comment stands on the line of what was read last."""
        begin = comment.index - comment.column
        written = self._text[begin : comment.index].strip()
        return bool(written) and "\n" not in self._text[self._last_end : comment.index]

    # -- events; the names are the library's ----------------------------------------------

    def _ScalarEvent(self, event: Any) -> None:
        if event.style is None and not event.value:
            scalar = Scalar("", "", "", event.anchor or "")
        else:
            token = next(self._scalars)
            raw = self._text[token.start_mark.index : token.end_mark.index]
            scalar = Scalar(event.value, event.style or "", raw, event.anchor or "")
        self._leaf(scalar, event)

    def _AliasEvent(self, event: Any) -> None:
        self._leaf(Alias(event.anchor), event)

    def _MappingStartEvent(self, event: Any) -> None:
        self._open(Collection(True, bool(event.flow_style), event.anchor or ""), event)

    def _SequenceStartEvent(self, event: Any) -> None:
        self._open(Collection(False, bool(event.flow_style), event.anchor or ""), event)

    def _MappingEndEvent(self, event: Any) -> None:
        self._close(event)

    def _SequenceEndEvent(self, event: Any) -> None:
        self._close(event)

    # -- building ---------------------------------------------------------------------------

    def _leaf(self, leaf: Scalar | Alias, event: Any) -> None:
        parent = self._stack[-1]
        if parent.mapping and self._expects_unit(parent):
            unit = self._begin(event.start_mark.index)
            unit.key = leaf
        else:
            unit = self._valued(event)
            unit.value = leaf
            if not (isinstance(leaf, Scalar) and leaf.empty):
                self._hoist(unit)
        self._last, self._last_end = unit, event.end_mark.index

    def _open(self, collection: Collection, event: Any) -> None:
        unit = self._valued(event) if self._stack else None
        if unit is None:
            self._root = collection
        else:
            unit.value = collection
        if collection.flow and unit is not None:
            self._hoist(unit)
            self._last, self._last_end = unit, event.end_mark.index
        self._stack.append(collection)
        self._owners.append(unit)
        self._starts.append(event.start_mark.index)

    def _close(self, event: Any) -> None:
        collection, owner, start = self._stack[-1], self._owners.pop(), self._starts.pop()
        if collection.flow:
            end = event.end_mark.index
            collection.flow = "\n" not in self._text[start:end]
            if collection.units:
                collection.foot += _lines(self._pending)
                self._pending = []
            elif owner is not None:
                self._hoist(owner)
            self._last, self._last_end = owner, end
        else:
            self._below_nothing(collection)
            at_end = event.start_mark.index >= len(self._text.rstrip())
            outside = 0 if at_end else event.start_mark.column
            least = max(collection.column, outside + 1)
            collection.foot += _lines(self._leading(least))
        self._stack.pop()

    @staticmethod
    def _expects_unit(parent: Collection) -> bool:
        return not parent.units or parent.units[-1].value is not None

    def _valued(self, event: Any) -> Unit:
        """Returns the entry or item that a value belongs to."""
        parent = self._stack[-1]
        if self._expects_unit(parent):  # a list in brackets has no dashes
            return self._begin(event.start_mark.index)
        return parent.units[-1]

    def _begin(self, index: int) -> Unit:
        parent = self._stack[-1]
        self._below_nothing(parent)
        if not parent.units:
            parent.column = column_of(self._text, index)
        unit = Unit(before=_lines(self._pending))
        self._pending = []
        if blank_above(self._text, index):
            unit.before.append("")
        parent.units.append(unit)
        return unit

    def _hoist(self, unit: Unit) -> None:
        """Moves comments between a key and its value above the key."""
        unit.before += [comment.text for comment in self._pending]
        self._pending = []

    def _below_nothing(self, parent: Collection) -> None:
        """Gives comments to the key above them when they stand where its value would."""
        last = parent.units[-1] if parent.units else None
        if last and isinstance(last.value, Scalar) and last.value.empty and last.key:
            last.inner += _lines(self._leading(parent.column + 1))

    def _leading(self, column: int) -> list[Comment]:
        """Takes the comments before the first one that stands farther to the left."""
        count = 0
        columns = list(map(attrgetter("column"), self._pending))
        while count < len(columns) and columns[count] >= column:
            count += 1
        taken, self._pending = self._pending[:count], self._pending[count:]
        return taken


def _lines(comments: list[Comment]) -> list[str]:
    lines: list[str] = []
    for comment in comments:
        lines += ["", comment.text] if comment.blank else [comment.text]
    return lines
