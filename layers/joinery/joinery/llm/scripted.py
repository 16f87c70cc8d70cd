"""The `scripted` provider: says what a cassette tells it, the same each time.

For tests and for replaying runs. What the cassette does not name gets an answer
made from the prompt, so that a whole workflow runs without any recording.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from joinery import errors, model_errors
from joinery.errors import InvalidRequest, NodeError
from joinery.llm.made_up import made_up
from joinery.llm.timeouts import CANCEL_POLL_S
from joinery.llm.types import CallContext, Chunk, Finished, ModelRequest, TextChunk, Usage

TOKEN: Final = re.compile(r"\s*\S+\s*$|\s*\S+|\s+")
"""A token of the scripted model: a word with the white space before it."""

_ALLOWED: Final = frozenset({"node", "path", "call", "text", "error", "tokens_per_second"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One answer: for a node, and if given for one path and one call of it.

    Attributes:
        node: Id of the node it answers.
        path: Only at this path, or None for any.
        call: Only for this call (from 1, counted per path), or None for any.
        text: The answer.
        error: Name of the error raised instead, or after `after_tokens` tokens.
        message: What that error says.
        after_tokens: Tokens of the answer that come before the error.
        tokens_per_second: Pace, or None for none.
    """

    node: str
    path: str | None = None
    call: int | None = None
    text: str = ""
    error: str | None = None
    message: str = ""
    after_tokens: int = 0
    tokens_per_second: float | None = None

    def fits(self, call: CallContext) -> bool:
        """Whether the entry answers this call."""
        return (
            self.node == call.node_id
            and self.path in (None, call.path)
            and self.call in (None, call.call)
        )

    @property
    def rank(self) -> tuple[bool, bool]:
        """Grows with how much the entry says about which calls it is for."""
        return (self.path is not None, self.call is not None)

    def to_dict(self) -> dict[str, Any]:
        """Returns the entry as it stands in a cassette."""
        shown: dict[str, Any] = {"node": self.node}
        for name in ("path", "call", "tokens_per_second"):
            if getattr(self, name) is not None:
                shown[name] = getattr(self, name)
        if self.text or self.error is None:
            shown["text"] = self.text
        if self.error is not None:
            shown["error"] = {
                "name": self.error, "message": self.message, "after_tokens": self.after_tokens
            }  # fmt: skip
        return shown


@dataclass(frozen=True, slots=True)
class Cassette:
    """All answers of a script."""

    entries: tuple[Entry, ...] = ()

    def find(self, call: CallContext) -> Entry | None:
        """Returns the entry that says most about this call; of equals the first."""
        fitting = [entry for entry in self.entries if entry.fits(call)]
        return max(fitting, key=lambda entry: entry.rank) if fitting else None

    def to_dict(self) -> list[dict[str, Any]]:
        """Returns the cassette as JSON-ready data."""
        return [entry.to_dict() for entry in self.entries]

    @staticmethod
    def from_data(data: Any, lines: Sequence[int] = ()) -> Cassette:
        """Returns the cassette of parsed YAML or JSON.

        Args:
            data: A list of entries.
            lines: Where in its file each entry begins, from 1, when that is known.

        Raises:
            InvalidRequest: Lists everything that is wrong.
        """
        if not isinstance(data, list):
            raise InvalidRequest("a cassette is a list of {node, path?, call?, text | error}")
        problems: list[str] = []
        places = [f"entry {i + 1}" for i in range(len(data))]
        for index, line in enumerate(lines[: len(places)]):
            places[index] += f" (line {line})"
        entries = [_entry(*both, problems) for both in zip(places, data, strict=True)]
        if problems:
            raise InvalidRequest("; ".join(problems), errors=problems)
        return Cassette(tuple(entry for entry in entries if entry))


def load_cassette(text: str) -> Cassette:
    """Returns the cassette of a YAML or JSON text.

    Raises:
        InvalidRequest: Lists everything that is wrong.
    """
    try:
        return Cassette.from_data(json.loads(text))
    except RecursionError:
        raise InvalidRequest("the cassette is nested too deeply") from None
    except ValueError:
        return Cassette.from_data(*_yaml(text))


def _yaml(text: str) -> tuple[Any, list[int]]:
    """Returns what a YAML text holds, and the line that each item of its list begins in."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        data = YAML(typ="safe", pure=True).load(text)
        root = YAML(typ="safe", pure=True).compose(text)
    except RecursionError:
        raise InvalidRequest("the cassette is nested too deeply") from None
    except YAMLError as error:
        place = getattr(error, "problem_mark", None)
        where = f" in line {place.line + 1}" if place else ""
        raise InvalidRequest(f"the cassette is not YAML{where}") from None
    if data is None:
        return [], []
    return data, [item.start_mark.line + 1 for item in root.value if hasattr(item, "start_mark")]


def _entry(where: str, row: Any, problems: list[str]) -> Entry | None:
    if not isinstance(row, dict):
        problems.append(f"{where}: must be a mapping")
        return None
    before = len(problems)
    if "tool_calls" in row:
        problems.append(f"{where}: tool_calls need tools, which this release does not have")
    for name in row:
        if name not in _ALLOWED and name != "tool_calls":
            problems.append(f"{where}: unknown key '{name}'")
    if ("text" in row) + ("error" in row) + ("tool_calls" in row) == 0:
        problems.append(f"{where}: needs text or error")
    problems.extend(f"{where}: {text}" for text in _wrong_types(row))
    error, message, after = _error(row.get("error"), where, problems)
    if len(problems) > before:
        return None
    return Entry(
        node=row["node"],
        path=None if row.get("path") is None else str(row["path"]),
        call=row.get("call"),
        text=row.get("text", ""),
        error=error,
        message=message,
        after_tokens=after,
        tokens_per_second=row.get("tokens_per_second"),
    )


def _wrong_types(row: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(row.get("node"), str):
        yield "node must be the id of a node"
    path = row.get("path")
    if path is not None and (not isinstance(path, str | int) or isinstance(path, bool)):
        # 2.10 without quotes is the number 2.1: another item.
        yield "path must be text; write it in quotes"
    call = row.get("call", 1)
    if not isinstance(call, int) or isinstance(call, bool) or call < 1:
        yield "call must be a number from 1"
    if not isinstance(row.get("text", ""), str):
        yield "text must be text"
    pace = row.get("tokens_per_second", 1)
    if not isinstance(pace, int | float) or isinstance(pace, bool) or not 0 < pace < math.inf:
        yield "tokens_per_second must be a number above 0"


def _error(said: Any, where: str, problems: list[str]) -> tuple[str | None, str, int]:
    if said is None:
        return None, "", 0
    described = {"name": said} if isinstance(said, str) else said
    if not isinstance(described, dict) or error_class(described.get("name")) is None:
        known = ", ".join(sorted(cls.__name__ for cls in _classes()))
        problems.append(f"{where}: error must name one of {known}")
        return None, "", 0
    after = described.get("after_tokens", 0)
    if not isinstance(after, int) or isinstance(after, bool) or after < 0:
        problems.append(f"{where}: after_tokens must be a number from 0")
        return None, "", 0
    message = str(described.get("message", "as the cassette says"))
    return str(described["name"]), message, after


def _classes() -> list[type[NodeError]]:
    return [*errors.Transient.__subclasses__(), *errors.Permanent.__subclasses__()]


def error_class(name: Any) -> type[NodeError] | None:
    """Returns the node error of a class name or code, transient before permanent."""
    for cls in _classes():
        if name in (cls.__name__, cls.code):
            return cls
    return None


class Scripted:
    """Implements `Provider` from a cassette."""

    name = "scripted"

    def __init__(self, cassette: Cassette | None = None) -> None:
        self.cassette = cassette or Cassette()

    def context_window(self, model: str) -> int | None:
        """A script has no window."""
        return None

    def stream(self, request: ModelRequest, call: CallContext) -> Iterator[Chunk]:
        """Yields the answer word by word, at the entry's pace.

        After a cancel nothing more is yielded, not even `Finished`.

        Raises:
            NodeError: The one that the entry names.
            TransientModelTimeout: The deadline came before the end.
            PermanentModelRejected: The schema allows nothing that can be made up.
        """
        entry = self.cassette.find(call)
        text = entry.text if entry else made_up(request)
        pace = entry.tokens_per_second if entry else None
        words = tokens_of(text)
        if entry and entry.error and (entry.after_tokens or not entry.text):
            words = words[: entry.after_tokens]
        for word in words:
            if not _wait(1 / pace if pace else 0.0, call):
                return
            yield TextChunk(word)
        if entry and entry.error:
            cls = error_class(entry.error)
            assert cls is not None
            raise cls(entry.message)
        spoken = sum(len(m.content.split()) for m in request.messages)
        yield Finished(Usage(spoken, len(words)))


def _wait(seconds: float, call: CallContext) -> bool:
    """Waits until the next word is due; returns False when the call was cancelled meanwhile."""
    due = time.monotonic() + seconds
    while not call.cancelled():
        now = time.monotonic()
        if now >= call.deadline:
            raise model_errors.TransientModelTimeout(
                "the scripted model did not end in time", phase="deadline"
            )
        if now >= due:
            return True
        time.sleep(min(due - now, call.deadline - now, CANCEL_POLL_S))
    return False


def tokens_of(text: str) -> list[str]:
    """Splits a text into words that join to the same text."""
    return TOKEN.findall(text)


__all__: Sequence[str] = ("Cassette", "Entry", "Scripted", "load_cassette")
