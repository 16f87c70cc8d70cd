"""A workflow file as it is written: its values with their comments, styles and anchors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Alias:
    """`*name`."""

    name: str


@dataclass(slots=True)
class Scalar:
    """A text, number, truth value or null.

    Attributes:
        value: Its characters as YAML reads them.
        style: `|`, `>`, `'`, `"`, or an empty text for one without quotes.
        raw: How the author wrote it.
        anchor: Its name for aliases, or an empty text.
        last: Whether nothing follows it in the file.
    """

    value: str
    style: str
    raw: str
    anchor: str = ""
    last: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing is written at all, which means null."""
        return not self.style and not self.value


@dataclass(slots=True)
class Unit:
    """An entry of a mapping or an item of a list.

    Attributes:
        key: The key; None in a list.
        value: The value.
        before: Lines above it: comments, and an empty text for an empty line.
        comment: The comment at the end of its (first) line.
        column: Where the author wrote that comment.
        inner: Comments below a key that has no value.
    """

    key: Scalar | Alias | None = None
    value: Scalar | Alias | Collection | None = None
    before: list[str] = field(default_factory=list)
    comment: str = ""
    column: int = 0
    inner: list[str] = field(default_factory=list)

    def annotate(self, comment: str, column: int) -> None:
        """Puts a comment at the end of the line; one that stands there moves above it."""
        if self.comment:
            self.before.append(self.comment)
        self.comment, self.column = comment, column


@dataclass(slots=True)
class Collection:
    """A mapping or a list.

    Attributes:
        mapping: Whether it is a mapping.
        flow: Whether the author wrote it in brackets on one line.
        anchor: Its name for aliases, or an empty text.
        column: Where its first entry stands.
        units: What is in it.
        head: Lines above the first entry that stay there, whichever entry that is.
        foot: Lines below the last entry.
    """

    mapping: bool
    flow: bool = False
    anchor: str = ""
    column: int = 0
    units: list[Unit] = field(default_factory=list)
    head: list[str] = field(default_factory=list)
    foot: list[str] = field(default_factory=list)

    def text_of(self, key: str) -> str:
        """Returns the text that stands under a key, or an empty one."""
        for unit in self.units:
            if isinstance(unit.key, Scalar) and unit.key.value == key:
                return unit.value.value if isinstance(unit.value, Scalar) else ""
        return ""

    def nested(self) -> Iterator[Collection]:
        """Yields all collections in it, and itself, from outside."""
        yield self
        for unit in self.units:
            if isinstance(unit.value, Collection):
                yield from unit.value.nested()
