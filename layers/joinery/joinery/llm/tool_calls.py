"""Putting calls of tools together from the pieces in which they are streamed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from joinery.llm.types import Message, ModelRequest, ToolCall, ToolCallChunk

ANSWER_TOOL: Final = "answer"
"""Name of the tool that stands for a schema where a provider has no other way to ask for one."""

ANSWER_DESCRIPTION: Final = "Gives the answer."
"""Its description, the one thing that is added to a request besides the schema."""


def answer_tool(request: ModelRequest) -> str:
    """Returns a name for the tool that takes the answer, which no other tool has."""
    taken = {tool.name for tool in request.tools}
    name = ANSWER_TOOL
    while name in taken:
        name += "_"
    return name


def new_call_id() -> str:
    """Returns an id for a call whose provider gives none."""
    return f"call_{uuid.uuid4().hex[:16]}"


@dataclass(slots=True)
class _Call:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)
    opaque: str = ""


class CallPieces:
    """The calls of one answer while they are written.

    Args:
        answer_tool: The tool whose arguments are the answer and no call; `""` for none.
    """

    def __init__(self, answer_tool: str = "") -> None:
        self._answer_tool = answer_tool
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}

    @property
    def answered(self) -> bool:
        """Whether the answer came as a call."""
        return any(self._is_answer(call) for call in self._calls)

    def add(
        self, index: int | None, *, call_id: Any, name: Any, arguments: Any, opaque: str = ""
    ) -> ToolCallChunk | str:
        """Takes a piece; returns its chunk, or the next piece of the answer.

        Args:
            index: Which call it belongs to. Without one, an id or a name begins a call.
            call_id: The call's id, or nothing.
            name: The tool's name, or nothing.
            arguments: The next piece of its arguments: text, or all of them as an object.
            opaque: What the provider wants back with this call.
        """
        call_id = call_id if isinstance(call_id, str) else ""
        name = name if isinstance(name, str) else ""
        call = self._call(index, call_id, name)
        first = not call.name
        call.id = call.id or call_id
        call.name = call.name or name
        call.opaque = call.opaque or opaque
        piece = _as_text(arguments)
        call.arguments.append(piece)
        if self._is_answer(call):
            return piece
        place = [c for c in self._calls if not self._is_answer(c)].index(call)
        return ToolCallChunk(place, call.id if first else "", call.name if first else "", piece)

    def whole(self, opaque: str = "") -> tuple[ToolCall, ...]:
        """Returns all calls but the answer; the first carries `opaque` unless it has its own."""
        made: list[ToolCall] = []
        seen: set[str] = set()
        for call in self._calls:
            if self._is_answer(call):
                continue
            call_id = call.id if call.id and call.id not in seen else new_call_id()
            seen.add(call_id)
            back = call.opaque or ("" if made else opaque)
            made.append(ToolCall(call_id, call.name, "".join(call.arguments) or "{}", back))
        return tuple(made)

    def _is_answer(self, call: _Call) -> bool:
        return bool(self._answer_tool) and call.name == self._answer_tool

    def _call(self, index: int | None, call_id: str, name: str) -> _Call:
        known = self._calls[-1] if index is None and self._calls else None
        if index is not None:
            known = self._by_index.get(index)
        begins = bool(name) if index is None else False
        # Some servers number every call 0 and tell them apart by their ids alone.
        other = known is not None and bool(call_id and known.id and call_id != known.id)
        if known is None or begins or other:
            known = _Call()
            self._calls.append(known)
        if index is not None:
            self._by_index[index] = known
        return known


def _as_text(arguments: Any) -> str:
    if arguments is None:
        return ""
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


# -- what goes back --------------------------------------------------------------------


def arguments_object(call: ToolCall) -> dict[str, Any]:
    """Returns the arguments of a call as an object, `{}` where the model wrote none."""
    try:
        value = json.loads(call.arguments)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def pack_opaque(provider_kind: str, data: Any) -> str:
    """Returns what a provider wants back, marked as its own; `""` where that is nothing."""
    return json.dumps({"by": provider_kind, "data": data}, ensure_ascii=False) if data else ""


def unpack_opaque(provider_kind: str, opaque: str) -> Any:
    """Returns what `pack_opaque` packed for this kind of provider, None for any other's."""
    try:
        packed = json.loads(opaque)
    except (ValueError, RecursionError):
        return None
    mine = isinstance(packed, Mapping) and packed.get("by") == provider_kind
    return packed.get("data") if mine else None


def opaque_of(provider_kind: str, calls: Iterable[ToolCall]) -> Any:
    """Returns what the first of some calls carries for this kind of provider, or None."""
    for call in calls:
        found = unpack_opaque(provider_kind, call.opaque)
        if found is not None:
            return found
    return None


def system_text(messages: Iterable[Message]) -> str:
    """Returns the system messages of a conversation as one text."""
    return "\n\n".join(m.content for m in messages if m.role == "system" and m.content)
