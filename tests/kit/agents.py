"""Agents with tools for tests: a model that follows a script, and tools that are functions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from joinery.llm.types import (
    CallContext,
    Chunk,
    Finished,
    Message,
    ModelRequest,
    TextChunk,
    ToolCall,
    ToolCallChunk,
    ToolSpec,
    Usage,
)
from joinery.tools.base import ToolResult, ToolUse
from joinery.workflow.model import Workflow


def call(name: str, arguments: Any = None, call_id: str = "") -> ToolCall:
    """Returns a call as a model writes it; arguments that are text are taken as they are."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
    return ToolCall(call_id, name, text)


Step = str | list[ToolCall] | tuple[str, list[ToolCall]] | Exception
Script = Callable[[int, ModelRequest], Step]


@dataclass
class Caller:
    """Implements `Models` and `Provider`: each call of it is a step of the script."""

    script: Script | Sequence[Step]
    window: int | None = None
    name: str = "script"
    requests: list[ModelRequest] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)

    def resolve(self, ref: Mapping[str, Any]) -> tuple[Caller, str]:
        return self, "script-1"

    def context_window(self, model: str) -> int | None:
        return self.window

    def stream(self, request: ModelRequest, context: CallContext) -> Iterator[Chunk]:
        self.requests.append(request)
        self.numbers.append(context.call)
        place = len(self.requests)
        step = self.script(place, request) if callable(self.script) else self.script[place - 1]
        if isinstance(step, Exception):
            raise step
        text, calls = step if isinstance(step, tuple) else ("", step)
        if isinstance(calls, str):
            text, calls = calls, []
        if text:
            yield TextChunk(text)
        for index, each in enumerate(calls):
            yield ToolCallChunk(index, each.id, each.name)
        # Pieces of several calls alternate.
        for start in range(0, max((len(c.arguments) for c in calls), default=0), 7):
            for index, each in enumerate(calls):
                if piece := each.arguments[start : start + 7]:
                    yield ToolCallChunk(index, arguments=piece)
        yield Finished(Usage(10, 5), "tool_calls" if calls else "stop", tuple(calls))

    def last(self, role: str = "tool") -> list[Message]:
        """Returns the last request's messages of a role."""
        return [m for m in self.requests[-1].messages if m.role == role]


@dataclass
class FunctionTool:
    """Implements `Tool` with a function of this process."""

    function: Callable[[ToolUse], Any]
    name: str = "look"
    parameters: Mapping[str, Any] = field(
        default_factory=lambda: {"type": "object", "properties": {"x": {"type": "integer"}}}
    )
    read_only: bool = True
    at_most_once: bool = False
    timeout_s: float = 30.0
    uses: list[ToolUse] = field(default_factory=list)

    @property
    def spec(self) -> ToolSpec:
        return ToolSpec(self.name, f"The tool {self.name}.", self.parameters)

    def call(self, use: ToolUse) -> ToolResult:
        self.uses.append(use)
        given = self.function(use)
        if isinstance(given, ToolResult):
            return given
        return ToolResult(given) if isinstance(given, str) else ToolResult(data=given)


def agent_workflow(
    tools: Mapping[str, Any], node: Mapping[str, Any] | None = None, **agent: Any
) -> Workflow:
    """Returns a workflow of one agent that has the tools."""
    data = {
        "version": 1,
        "name": "agents",
        "agents": {"one": {"persona": "You look.", "tools": list(tools), **agent}},
        "tools": dict(tools),
        "nodes": {
            "a": {"type": "agent", "agent": "one", "prompt": "Find it.", **(node or {})},
        },
        "edges": ["start -> a -> end"],
        "outputs": {"text": "{{ nodes.a.text }}"},
    }
    return Workflow.model_validate(data)


def python_tool(name: str, code: str = "", **more: Any) -> dict[str, Any]:
    """Returns a tool of a workflow file."""
    return {
        "description": f"The tool {name}.",
        "code": code or f"def {name}(**given):\n    return given",
        **more,
    }
