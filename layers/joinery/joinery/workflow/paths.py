"""Paths: the common kind of expression, and what expressions read from.

`nodes.judge.output.items[0].name` is resolved by plain look-ups. The meaning is
JSONata's; where JSONata would do more than look up (a name asked of a list), the
caller falls back to it, so that a path means the same alone and inside a larger
expression.

Standard library only: this module is imported where nodes run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

ROOTS: Final = ("inputs", "nodes", "loop", "item", "run", "session")
"""What an expression can begin with, wherever it stands."""

ANSWER_ROOTS: Final = ("output", "text")
"""What a check of an answer can begin with besides: the answer that it looks at."""

NODE_FIELDS: Final = ("text", "output", "usage", "status", "error")
"""What a node's result holds."""

PathStep = str | int
Path = tuple[PathStep, ...]

_ROOT = "|".join((*ROOTS, *ANSWER_ROOTS))
_STEP: Final = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[(-?\d{1,9})\]")
PATH: Final = re.compile(rf"(?:{_ROOT})(?:\.[A-Za-z_][A-Za-z0-9_]*|\[-?\d{{1,9}}\])*")


class Missing(LookupError):
    """There is no value at a path.

    Attributes:
        path: The path as the expression writes it.
    """

    def __init__(self, path: str) -> None:
        super().__init__(f"there is no value at {path}")
        self.path = path


@dataclass(frozen=True, slots=True)
class Reference:
    """Something that an expression reads.

    Attributes:
        root: One of `ROOTS`, in a check also of `ANSWER_ROOTS`.
        path: Names and indexes below it, as far as they are known before a run. For
            `nodes` the first is the node id, for `loop.previous` the second.
        optional: Whether the expression says what to do when there is no value.
    """

    root: str
    path: Path = ()
    optional: bool = False

    @property
    def text(self) -> str:
        """The reference as an expression writes it."""
        return path_text((self.root, *self.path))

    @property
    def node_id(self) -> str | None:
        """The node whose result is read, in this round or in the one before."""
        if self.root == "nodes" and self.path:
            return str(self.path[0])
        if self.previous and len(self.path) > 1:
            return str(self.path[1])
        return None

    @property
    def previous(self) -> bool:
        """Whether it reads the loop's round before."""
        return self.root == "loop" and self.path[:1] == ("previous",)


class Scope(Protocol):
    """Where expressions find their values."""

    def lookup(self, path: Path) -> Any:
        """Returns the value at a path, its first step being a root.

        Raises:
            Missing: There is none.
            NeedsJsonata: The path asks a list for a name.
        """
        ...

    def document(self, references: Iterable[Reference]) -> dict[str, Any]:
        """Returns one object holding at least what the references read, where it exists.

        `build_document(self, references)` is an implementation that suits every scope.
        """
        ...


class DictScope:
    """A scope over one nested dictionary: `{"inputs": {...}, "nodes": {...}, ...}`."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = data

    def lookup(self, path: Path) -> Any:
        """Returns the value at a path."""
        value: Any = self._data
        for step in path:
            if isinstance(value, list) and isinstance(step, str):
                raise NeedsJsonata
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                raise Missing(path_text(path)) from None
        return value

    def document(self, references: Iterable[Reference]) -> dict[str, Any]:
        """Returns the part of the data that the references read."""
        return build_document(self, references)


def build_document(scope: Scope, references: Iterable[Reference]) -> dict[str, Any]:
    """Returns what the references read, as one object; what is missing is left out.

    Only whole results and whole inputs are fetched (`nodes.x.output`, `inputs.y`), never
    parts of them, so a scope needs to know no more than those.
    """
    document: dict[str, Any] = {}
    taken: set[Path] = set()
    # Shorter paths first: when a whole node is read, its parts are already there.
    for wanted in sorted(
        {unit_of(r) for r in references}, key=lambda path: (len(path), repr(path))
    ):
        unit = wanted
        if any(unit[:length] in taken for length in range(1, len(unit))):
            continue
        try:
            value = scope.lookup(unit)
        except Missing:
            continue
        except NeedsJsonata:  # the results of a node for all items: what is read is in each
            unit = unit[:-1]
            value = scope.lookup(unit)
        taken.add(unit)
        place = document
        for step in unit[:-1]:
            place = place.setdefault(str(step), {})
        place[str(unit[-1])] = value
    return document


def unit_of(reference: Reference) -> Path:
    """Returns the part of a reference that a scope holds as one value."""
    path = (reference.root, *reference.path)
    length = 2
    if reference.root == "nodes":
        length = 3
    elif reference.previous:
        length = 4
    names: list[PathStep] = []
    for step in path[:length]:
        if isinstance(step, int):
            break
        names.append(step)
    return tuple(names)


def read_path(text: str) -> Path | None:
    """Returns the steps of a path, its root first, or None when the text is no path."""
    if not PATH.fullmatch(text):
        return None
    root = re.match(_ROOT, text)
    assert root is not None
    steps: list[PathStep] = [root.group()]
    for match in _STEP.finditer(text, root.end()):
        steps.append(int(match[2]) if match[2] else match[1])
    return tuple(steps)


def path_text(path: Path) -> str:
    """Returns a path as an expression writes it."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
            continue
        name = step if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", step) else f"`{step}`"
        text += f".{name}" if text else name
    return text


class NeedsJsonata(Exception):
    """A look-up came to a place where JSONata does more than look up."""


NOTHING: Final = object()
"""What `walk` and the evaluator return where there is no value."""


def walk(value: Any, steps: Path) -> Any:
    """Follows names and indexes into a JSON value.

    Returns:
        The value, or `NOTHING`.

    Raises:
        NeedsJsonata: A name is asked of a list: JSONata asks each of its items.
    """
    for step in steps:
        if isinstance(step, str):
            if isinstance(value, list):
                raise NeedsJsonata
            if not isinstance(value, Mapping) or step not in value:
                return NOTHING
            value = value[step]
        elif isinstance(value, list):
            if not -len(value) <= step < len(value):
                return NOTHING
            value = value[step]
        elif step not in (0, -1):  # to JSONata a single value is a list of one
            return NOTHING
    return value
