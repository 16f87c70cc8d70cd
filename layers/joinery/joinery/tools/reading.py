"""`read_result`: by it a model reads what it was not told of a long result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from joinery.agent_errors import PermanentNoSuchResult
from joinery.errors import NotFound
from joinery.llm.types import ToolSpec
from joinery.tools.base import ToolResult, ToolUse

NAME: Final = "read_result"

AT_ONCE: Final = 10_000
"""Code points of one page: far below what a result is cut at."""

SPEC: Final = ToolSpec(
    NAME,
    "Reads a part of an earlier tool result that was too long to be shown whole.",
    {
        "type": "object",
        "properties": {
            "result": {"type": "string", "description": "The result, such as 2.0."},
            "start": {
                "type": "integer",
                "minimum": 0,
                "default": 0,
                "description": "The first character, counted from 0.",
            },
            "length": {
                "type": "integer",
                "minimum": 1,
                "maximum": AT_ONCE,
                "default": AT_ONCE,
                "description": "How many characters.",
            },
        },
        "required": ["result"],
        "additionalProperties": False,
    },
)


def hint(result_id: str, chars: int) -> str:
    """Returns the line that tells a model how to read the rest of a result."""
    return (
        f"\n[This is a part: the result has {chars:,} characters. "
        f'{NAME} with {{"result": "{result_id}", "start": 0}} reads any of them.]'
    )


@dataclass(frozen=True, slots=True)
class ReadResult:
    """Implements `Tool` for the results of one agent.

    Attributes:
        find: Returns the journal's entry of a result by its id, None where there is none.
        read: Reads a range of a text that is kept whole: `(name, start, stop)`.
    """

    find: Callable[[str], Mapping[str, Any] | None]
    read: Callable[[str, int, int], str]
    spec: ToolSpec = SPEC
    read_only: bool = True
    at_most_once: bool = False
    timeout_s: float = 60.0

    def call(self, use: ToolUse) -> ToolResult:
        """See `Tool.call`."""
        result_id, start = str(use.arguments["result"]), int(use.arguments["start"])
        entry = self.find(result_id)
        if entry is None:
            raise PermanentNoSuchResult(f"there is no result '{result_id}'")
        stop, chars = start + int(use.arguments["length"]), int(entry["chars"])
        try:
            name = entry.get("whole")
            part = self.read(name, start, stop) if name else entry["content"][start:stop]
        except NotFound:
            raise PermanentNoSuchResult(f"the result '{result_id}' is not kept any more") from None
        if not part:
            return ToolResult(f"[nothing: the result has {chars:,} characters]")
        return ToolResult(f"{part}\n[characters {start} to {start + len(part)} of {chars}]")
