"""Reads YAML 1.2 events into plain data and remembers where everything stands.

Built on the parser's events, not on its constructor, for three reasons: every
duplicate key is found, not the first; scalars follow the YAML 1.2 core schema and
nothing else (`on`, `yes` and `012:30` are text); and depth, size and aliases are
bounded while reading, before anything has grown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from joinery.errors import Problem
from joinery.workflow.yaml_scalars import plain_scalar

VALUES_MAX: Final = 100_000
"""Most values in a file, aliases counted as often as they are used."""

DEPTH_MAX: Final = 64

PROBLEMS_MAX: Final = 1_000
"""Reading stops after so many problems."""

Place = tuple[int, int]


class StopReading(Exception):
    """Reading further makes no sense; the reason is among the problems."""


@dataclass(slots=True)
class Tree:
    """What was read.

    Attributes:
        data: The document as plain data.
        values: Place of each value, by JSON pointer.
        keys: Place of each key, by the JSON pointer of its value.
        problems: What is wrong with the YAML itself.
        found: Whether there was a document at all.
    """

    data: Any = None
    values: dict[str, Place] = field(default_factory=dict)
    keys: dict[str, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    found: bool = False


@dataclass(slots=True)
class _Frame:
    """A list or mapping being read."""

    container: Any
    pointer: str
    place: Place
    anchor: str | None
    recorded: bool
    key: str | None = None
    is_key: bool = False
    flow: bool = False
    weight: int = 1
    height: int = 1


@dataclass(frozen=True, slots=True)
class _Anchored:
    value: Any
    weight: int
    height: int


def escape_pointer(key: str) -> str:
    """Returns a key as a part of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


class TreeBuilder:
    """Builds a `Tree` from ruamel.yaml's parser events."""

    def __init__(self) -> None:
        self.tree = Tree()
        self._stack: list[_Frame] = []
        self._anchors: dict[str, _Anchored] = {}
        self._open: list[str] = []
        self._count = 0
        self._documents = 0

    def read(self, events: Iterable[Any]) -> None:
        """Takes all events.

        Raises:
            StopReading: A bound was passed.
        """
        for event in events:
            handler = getattr(self, f"_{type(event).__name__}", None)
            if handler is not None:
                handler(event, (event.start_mark.line + 1, event.start_mark.column + 1))

    # -- events; the names are the library's ----------------------------------------------

    def _DocumentStartEvent(self, _event: Any, place: Place) -> None:
        self._documents += 1
        if self._documents > 1:
            self._problem(
                "yaml.many_documents", "a second document begins here", place,
                hint="a file holds one workflow; remove the '---'",
            )  # fmt: skip
            raise StopReading

    def _ScalarEvent(self, event: Any, place: Place) -> None:
        self._refuse_tag(event, place)
        plain = event.style is None
        value = self._scalar(event.value, place) if plain else event.value
        self._take(value, place, event.anchor, raw=event.value)

    def _AliasEvent(self, event: Any, place: Place) -> None:
        known = self._anchors.get(event.anchor)
        if known is None:
            inside = event.anchor in self._open
            what = "contains itself" if inside else "is not defined before it is used"
            self._problem("yaml.alias", f"the alias *{event.anchor[:40]} {what}", place,
                          pointer=self._pointer())  # fmt: skip
            known = _Anchored(None, 1, 0)
        raw = known.value if isinstance(known.value, str) else None
        self._take(known.value, place, None, raw=raw, weight=known.weight, height=known.height)

    def _MappingStartEvent(self, event: Any, place: Place) -> None:
        self._push({}, event, place)

    def _SequenceStartEvent(self, event: Any, place: Place) -> None:
        self._push([], event, place)

    def _MappingEndEvent(self, _event: Any, _place: Place) -> None:
        self._pop()

    def _SequenceEndEvent(self, _event: Any, _place: Place) -> None:
        self._pop()

    # -- building -------------------------------------------------------------------------

    def _push(self, container: Any, event: Any, place: Place) -> None:
        self._refuse_tag(event, place)
        parent = self._stack[-1] if self._stack else None
        is_key = parent is not None and isinstance(parent.container, dict) and parent.key is None
        if is_key and parent is not None:
            self._refuse_key(parent, event, place)
        pointer = self._pointer()
        recorded = (
            not is_key and (parent is None or parent.recorded) and not self._duplicate(parent)
        )
        if recorded:
            self.tree.values[pointer] = place
        frame = _Frame(container, pointer, place, event.anchor, recorded, is_key=is_key)
        frame.flow = bool(event.flow_style)
        self._stack.append(frame)
        if event.anchor:
            self._open.append(event.anchor)
        if len(self._stack) > DEPTH_MAX:
            self._too_deep(place)

    def _too_deep(self, place: Place) -> NoReturn:
        self._problem("limit.depth", f"nested more than {DEPTH_MAX} levels deep", place)
        raise StopReading

    def _pop(self) -> None:
        frame = self._stack.pop()
        if frame.anchor:
            self._open.remove(frame.anchor)
            self._anchors[frame.anchor] = _Anchored(frame.container, frame.weight, frame.height)
        self._take(frame.container, frame.place, None, frame=frame)

    def _take(
        self,
        value: Any,
        place: Place,
        anchor: str | None,
        *,
        raw: str | None = None,
        weight: int = 1,
        height: int = 0,
        frame: _Frame | None = None,
    ) -> None:
        """Puts a finished value where it belongs."""
        if frame is not None:
            weight, height = frame.weight, frame.height
        else:
            self._count_in(weight, height, place)
        if anchor:
            self._anchors[anchor] = _Anchored(value, weight, height)
        if not self._stack:
            self.tree.data, self.tree.found = value, True
            self.tree.values.setdefault("", place)
            return
        parent = self._stack[-1]
        parent.weight += weight
        parent.height = max(parent.height, height + 1)
        if isinstance(parent.container, list):
            if frame is None and parent.recorded:
                self.tree.values[self._pointer()] = place
            parent.container.append(value)
        elif parent.key is None:
            self._take_key(parent, value, raw, place, frame)
        else:
            if frame is None and parent.recorded and not self._duplicate(parent):
                self.tree.values[self._pointer()] = place
            if not self._duplicate(parent):
                parent.container[parent.key] = value
            parent.key = None

    def _count_in(self, weight: int, height: int, place: Place) -> None:
        self._count += weight
        if self._count > VALUES_MAX:
            self._problem("limit.values", f"more than {VALUES_MAX:,} values", place,
                          hint="use fewer aliases")  # fmt: skip
            raise StopReading
        if len(self._stack) + height > DEPTH_MAX:
            self._too_deep(place)

    def _take_key(
        self, parent: _Frame, value: Any, raw: str | None, place: Place, frame: _Frame | None
    ) -> None:
        if frame is not None:  # a list or mapping as key, refused already
            parent.key = _UNUSABLE
            return
        key = raw if raw is not None else str(value)
        if not isinstance(value, str):
            self._problem(
                "yaml.key", f"the key '{key[:40]}' is read as {_kind(value)}, not as text", place,
                pointer=self._child(parent, key), hint=f'put quotes around it: "{key[:40]}"',
            )  # fmt: skip
        if key in parent.container:
            first = self.tree.keys.get(self._child(parent, key), (0, 0))[0]
            self._problem(
                "yaml.duplicate_key", f"the key '{key[:80]}' stands here a second time", place,
                pointer=self._child(parent, key),
                hint=f"it is on line {first} already; remove one of them",
            )  # fmt: skip
            parent.key = _UNUSABLE
            return
        parent.container[key] = None
        parent.key = key
        if parent.recorded:
            self.tree.keys[self._child(parent, key)] = place

    def _refuse_key(self, parent: _Frame, event: Any, place: Place) -> None:
        braces = parent.flow and event.flow_style and type(event).__name__ == "MappingStartEvent"
        if braces:
            self._problem(
                "yaml.key", "'{{' without quotes begins an object, not an expression", place,
                pointer=parent.pointer, hint='put quotes around it: "{{ inputs.x }}"',
            )  # fmt: skip
        else:
            self._problem(
                "yaml.key", "a key must be text", place, pointer=parent.pointer
            )  # fmt: skip

    @staticmethod
    def _duplicate(parent: _Frame | None) -> bool:
        return parent is not None and parent.key is _UNUSABLE

    def _pointer(self) -> str:
        if not self._stack:
            return ""
        parent = self._stack[-1]
        if isinstance(parent.container, list):
            return f"{parent.pointer}/{len(parent.container)}"
        return self._child(parent, parent.key or "")

    @staticmethod
    def _child(parent: _Frame, key: str) -> str:
        return f"{parent.pointer}/{escape_pointer(key)}"

    # -- scalars ----------------------------------------------------------------------------

    def _scalar(self, text: str, place: Place) -> Any:
        try:
            value = plain_scalar(text)
        except ValueError:
            self._problem(
                "yaml.value", f"'{text[:40]}' is not a number that JSON can hold", place,
                pointer=self._pointer(), hint="put quotes around it if it is text",
            )  # fmt: skip
            return None
        return value

    def _refuse_tag(self, event: Any, place: Place) -> None:
        if event.tag is not None:
            self._problem(
                "yaml.tag", f"the tag '{str(event.tag)[:40]}' is not allowed", place,
                pointer=self._pointer(), hint="remove it; put quotes around text",
            )  # fmt: skip

    def _problem(
        self, code: str, message: str, place: Place, *, pointer: str = "", hint: str = ""
    ) -> None:
        self.tree.problems.append(
            Problem(code, message, hint, pointer=pointer, line=place[0], column=place[1])
        )
        if len(self.tree.problems) >= PROBLEMS_MAX:
            raise StopReading


_UNUSABLE: Final = "\0"
"""Stands for a key whose value is read and dropped; no YAML text can be this."""


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "true or false"
        case None:
            return "null"
        case int() | float():
            return "a number"
    return "something else"
