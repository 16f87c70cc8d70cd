"""A workflow file: its text, its data, and where everything stands.

Reading never raises for what a file contains: whatever is wrong becomes a problem
with its line and column.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from joinery.errors import Problem
from joinery.workflow.yaml_tree import Place, StopReading, Tree, TreeBuilder

SOURCE_BYTES: Final = 1_048_576
"""Largest workflow file."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file that was read.

    Attributes:
        text: Its text.
        filename: What to call it in messages.
        data: Its content as plain data; None when it could not be read.
        problems: What is wrong with it as YAML.
    """

    text: str
    filename: str
    data: Any
    problems: tuple[Problem, ...]
    _values: dict[str, Place] = field(default_factory=dict, repr=False)
    _keys: dict[str, Place] = field(default_factory=dict, repr=False)

    @property
    def readable(self) -> bool:
        """Whether there is a mapping to look at."""
        return isinstance(self.data, dict)

    def place(self, pointer: str) -> Place:
        """Returns line and column of a value, or of the nearest value around it; from 1."""
        return self._nearest(self._values, pointer)

    def key_place(self, pointer: str) -> Place:
        """Returns line and column of a value's key, or of the value where it has none."""
        found = self._keys.get(pointer)
        return found or self.place(pointer)

    def _nearest(self, places: dict[str, Place], pointer: str) -> Place:
        while pointer not in places and pointer:
            pointer = pointer.rpartition("/")[0]
        return places.get(pointer, (1, 1))


def load(text: str | bytes, *, filename: str = "workflow.yaml") -> Source:
    """Reads YAML 1.2 or JSON.

    Args:
        text: The file's content; bytes must be UTF-8.
        filename: What to call it in messages.

    Returns:
        The source; `problems` says what is wrong.
    """
    decoded, problems = _decode(text)
    if decoded is None:
        return Source("", filename, None, tuple(problems))
    tree = _read(decoded)
    data = tree.data
    if not tree.problems:
        if not tree.found:
            tree.problems.append(
                Problem("yaml.empty", "the file is empty", hint=_SKELETON, line=1, column=1)
            )
        elif not isinstance(data, dict):
            line, column = tree.values.get("", (1, 1))
            tree.problems.append(
                Problem(
                    "yaml.not_a_mapping",
                    "a workflow is a mapping of keys to values",
                    hint=_SKELETON,
                    line=line,
                    column=column,
                )
            )
    return Source(decoded, filename, data, tuple(problems + tree.problems), tree.values, tree.keys)


_SKELETON: Final = "begin with 'version: 1', 'name: ...', 'nodes:' and 'edges:'"


def _decode(text: str | bytes) -> tuple[str | None, list[Problem]]:
    """Returns the text without a byte order mark, or None when there is none to read."""
    problems: list[Problem] = []
    try:
        raw = text if isinstance(text, bytes) else text.encode()
        if len(raw) > SOURCE_BYTES:
            return None, [
                Problem(
                    "limit.source",
                    f"the file has {len(raw):,} bytes; the limit is {SOURCE_BYTES:,}",
                    hint="move long prompts to files: prompt: {file: prompts/x.md}",
                    line=1,
                    column=1,
                )
            ]
        decoded = raw.decode("utf-8")
    except UnicodeError as error:
        line, column = _place_of(text, error)
        hint = "save the file as UTF-8"
        return None, [
            Problem("yaml.encoding", "the file is not UTF-8", hint, line=line, column=column)
        ]
    if decoded.startswith("\ufeff"):
        decoded = decoded[1:]
        problems.append(
            Problem(
                "yaml.bom",
                "the file begins with a byte order mark",
                hint="save it as UTF-8 without one",
                severity="warning",
                line=1,
                column=1,
            )
        )
    return decoded, problems


def _place_of(text: str | bytes, error: UnicodeError) -> Place:
    start = error.start if isinstance(error, UnicodeDecodeError | UnicodeEncodeError) else 0
    if isinstance(text, bytes):
        return line_and_column(text[:start].decode("utf-8", errors="replace"))
    return line_and_column(text[:start])


def line_and_column(before: str) -> Place:
    """Returns the place behind a text that begins at line 1, column 1."""
    line = before.count("\n") + 1
    return line, len(before) - (before.rfind("\n") + 1) + 1


def _read(text: str) -> Tree:
    # JSON may use tabs where YAML may not, and writes letters beyond 16 bits as two
    # escapes, which YAML would take for two letters: so the data comes from the JSON
    # reader and only the places from the YAML one.
    as_json = json_object(text)
    builder = TreeBuilder()
    long_tag = _LONG_TAG.search(text) if as_json is None else None
    if long_tag:
        line, column = line_and_column(text[: long_tag.start()])
        builder.tree.problems.append(
            Problem("yaml.tag", "tags are not allowed", "remove it", line=line, column=column)
        )
        return builder.tree
    try:
        builder.read(_events(text.replace("\t", " ") if as_json is not None else text))
    except StopReading:
        builder.tree.data = None
    except Exception as error:  # the library meets junk with more than its own errors
        builder.tree.data = None
        builder.tree.problems.append(_syntax_problem(error, text))
    if as_json is not None and builder.tree.data is not None:
        builder.tree.data = as_json
    return builder.tree


# The library's scanner takes quadratic time for a tag.
_LONG_TAG: Final = re.compile(r"(?<![^\s\[{,])!\S{2000}")


def _events(text: str) -> Iterable[Any]:
    from ruamel.yaml import YAML

    # The pure parser: the one in C follows YAML 1.1.
    events: Iterable[Any] = YAML(typ="safe", pure=True).parse(text)
    return events


def json_object(text: str) -> dict[str, Any] | None:
    """Returns the data when the text is a JSON object."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        data = json.loads(
            text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_first
        )
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        found.setdefault(key, value)
    return found


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _syntax_problem(error: Exception, text: str) -> Problem:
    position = getattr(error, "position", None)
    if isinstance(position, int):  # the reader's, about a character
        line, column = line_and_column(text[:position])
        character = getattr(error, "character", "")
        shown = f"U+{character:04X}" if isinstance(character, int) else repr(character)
        message = f"the character {shown} is not allowed in YAML"
        return Problem("yaml.syntax", message, "remove it", line=line, column=column)
    said = str(getattr(error, "problem", None) or "it is not YAML")
    mark = getattr(error, "problem_mark", None)
    begun = getattr(error, "context_mark", None)
    if begun is not None and "end of stream" in said:
        mark = begun  # where the text began that does not end
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    lines = text.splitlines()
    written = lines[line - 1] if line <= len(lines) else ""
    if "'\\t'" in said or written[column - 1 : column] == "\t":
        return Problem(
            "yaml.tab", "a tab cannot indent YAML", "indent with spaces", line=line, column=column
        )
    hint = "a text with ': ' or ' #' in it, or beginning with one of {[&*!|>%@`, needs quotes"
    if "{{" in written and '"{{' not in written and "'{{" not in written:
        return Problem(
            "yaml.syntax",
            "this is not YAML: an expression on this line stands without quotes",
            'write "{{ inputs.x }}"',
            line=line,
            column=column,
        )
    for known, plain in _PLAIN_WORDS.items():
        if known in said:
            return Problem("yaml.syntax", plain, hint, line=line, column=column)
    return Problem("yaml.syntax", f"this is not YAML: {said}", hint, line=line, column=column)


_PLAIN_WORDS: Final = {
    "found unexpected end of stream": "the text in quotes that begins here does not end",
    "mapping values are not allowed here": "a ':' is not allowed here",
    "expected <block end>": "this line is indented differently from those it belongs to",
    "could not find expected ':'": "a ':' is missing after this key",
}
