"""Cassettes: what the `scripted` provider is to say, call by call."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from joinery import errors
from joinery.errors import InvalidRequest, NodeError
from joinery.llm.faults import Fault, read_fault
from joinery.llm.types import CallContext

_ALLOWED: Final = frozenset(
    {
        "node", "path", "call", "text", "error", "tokens_per_second", "tool_calls", "reasoning",
        "fault",
    }
)  # fmt: skip
_CALL_KEYS: Final = frozenset({"name", "arguments", "id"})


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    """A call of a tool that an entry asks for; `arguments` is JSON, or text that is none."""

    name: str
    arguments: str = "{}"
    id: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Returns the call as it stands in a cassette."""
        named = {"id": self.id} if self.id else {}
        return {"name": self.name, "arguments": self.arguments, **named}


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
        tool_calls: Calls that the answer asks for.
        reasoning: What the model thinks before it answers.
        fault: What goes wrong at the server, in place of the answer or in its middle.
    """

    node: str
    path: str | None = None
    call: int | None = None
    text: str = ""
    error: str | None = None
    message: str = ""
    after_tokens: int = 0
    tokens_per_second: float | None = None
    tool_calls: tuple[ScriptedCall, ...] = ()
    reasoning: str = ""
    fault: Fault | None = None

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
        if self.reasoning:
            shown["reasoning"] = self.reasoning
        if self.text or not (self.error or self.tool_calls or self.fault):
            shown["text"] = self.text
        if self.tool_calls:
            shown["tool_calls"] = [call.to_dict() for call in self.tool_calls]
        if self.error is not None:
            shown["error"] = {
                "name": self.error, "message": self.message, "after_tokens": self.after_tokens
            }  # fmt: skip
        if self.fault is not None:
            shown["fault"] = self.fault.to_dict()
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
            raise InvalidRequest(
                "a cassette is a list of {node, path?, call?, text | tool_calls | error | fault}"
            )
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
    for name in row:
        if name not in _ALLOWED:
            problems.append(f"{where}: unknown key '{name}'")
    if not {"text", "error", "fault"} & row.keys() and row.get("tool_calls", []) == []:
        problems.append(f"{where}: needs text, tool_calls, error or fault")
    if {"error", "fault"} <= row.keys():
        problems.append(f"{where}: has an error or a fault, not both")
    problems.extend(f"{where}: {text}" for text in _wrong_types(row))
    calls = _tool_calls(row.get("tool_calls", []), where, problems)
    error, message, after = _error(row.get("error"), where, problems)
    fault = read_fault(row["fault"]) if "fault" in row else None
    if isinstance(fault, str):
        problems.append(f"{where}: {fault}")
        return None
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
        tool_calls=calls,
        reasoning=row.get("reasoning", ""),
        fault=fault,
    )


def _tool_calls(said: Any, where: str, problems: list[str]) -> tuple[ScriptedCall, ...]:
    if not isinstance(said, list):
        problems.append(f"{where}: tool_calls must be a list of {{name, arguments}}")
        return ()
    calls: list[ScriptedCall] = []
    for number, call in enumerate(said, 1):
        place = f"{where}: call {number}"
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            problems.append(f"{place} must be {{name, arguments}}")
            continue
        if unknown := sorted(str(key) for key in call.keys() - _CALL_KEYS):
            problems.append(f"{place}: unknown key '{unknown[0]}'")
        arguments, call_id = call.get("arguments", {}), call.get("id", "")
        if not isinstance(arguments, dict | str) or not isinstance(call_id, str):
            problems.append(f"{place}: arguments must be a mapping, or text as a model wrote it")
            continue
        if isinstance(arguments, dict):
            arguments = json.dumps(arguments, ensure_ascii=False)
        calls.append(ScriptedCall(call["name"], arguments, call_id))
    return tuple(calls)


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
    for name in ("text", "reasoning"):
        if not isinstance(row.get(name, ""), str):
            yield f"{name} must be text"
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
