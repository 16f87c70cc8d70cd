"""Tools for models that know of none: told in words, called by answers of a form.

The model is given the tools in its system message and answers in JSON: either
`{"tool": …, "arguments": …}` or `{"answer": …}`. A server that can hold an answer to a
schema makes this work with the smallest model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from joinery.llm.types import Message, ToolCall, ToolSpec
from joinery.nodes.one_call import Answer, Question

WITHOUT_TOOLS: Final = frozenset({"smollm2"})
"""Models whose servers drop tools without a word."""


def by_prompt(settings: Mapping[str, Any], model: str) -> bool:
    """Whether a model is told of its tools in words: as its settings say, else as we know."""
    said = settings.get("tools_by")
    return model in WITHOUT_TOOLS if said is None else said == "prompt"


def asked(question: Question) -> Question:
    """Returns a question that needs no tools, and asks for the same."""
    messages = [_plain(message) for message in question.messages]
    offered = question.tools if question.tool_choice != "none" else ()
    if offered:
        told = _told(offered)
        if messages[0].role == "system":
            messages[0] = replace(messages[0], content=f"{messages[0].content}\n\n{told}")
        else:
            messages.insert(0, Message("system", told))
    formed = not offered and question.schema is not None
    return replace(
        question,
        messages=tuple(messages),
        tools=(),
        tool_choice="auto",
        schema=question.schema if formed else _schema(offered),
        shown=question.shown and formed,
    )


def answered(answer: Answer) -> Answer:
    """Returns an answer to what `asked` made of a question as one to the question itself."""
    try:
        said = json.loads(answer.text)
    except (ValueError, RecursionError):
        return answer  # cut off, or in no form: then it is words
    if not isinstance(said, dict):
        return answer
    if "tool" in said:
        arguments = json.dumps(said.get("arguments") or {}, ensure_ascii=False)
        call = ToolCall("", str(said["tool"]), arguments)
        return replace(answer, text="", reason="tool_calls", tool_calls=(call,))
    return replace(answer, text=str(said["answer"])) if "answer" in said else answer


def _told(tools: Sequence[ToolSpec]) -> str:
    lines = [
        f"- {tool.name}: {tool.description} Arguments: {json.dumps(tool.parameters)}"
        for tool in tools
    ]
    how = (
        'To use one, answer {"tool": its name, "arguments": {...}}. '
        'When you know enough, answer {"answer": "..."}.'
    )
    return "\n".join(["You can use these tools:", *lines, how])


def _schema(tools: Sequence[ToolSpec]) -> dict[str, Any]:
    def form(**properties: Any) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }

    calls = [form(tool={"const": tool.name}, arguments=dict(tool.parameters)) for tool in tools]
    return {"anyOf": [*calls, form(answer={"type": "string"})]}


def _plain(message: Message) -> Message:
    """Returns a message without calls and results of calls, in words."""
    if message.role == "tool":
        return Message("user", f"Result of the tool: {message.content}")
    if not message.tool_calls:
        return message
    calls = [
        f'{{"tool": {json.dumps(call.name)}, "arguments": {call.arguments or "{}"}}}'
        for call in message.tool_calls
    ]
    return Message("assistant", "\n".join(filter(None, [message.content, *calls])))
