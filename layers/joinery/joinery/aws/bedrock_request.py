"""What is asked of Bedrock's Converse API."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from joinery.llm.anthropic import MAX_TOKENS, add_thinking, thinks
from joinery.llm.media import kind_of, refuse_media
from joinery.llm.presets import IMAGES_AND_FILES
from joinery.llm.schemas import without_bounds
from joinery.llm.tool_calls import (
    ANSWER_DESCRIPTION,
    answer_tool,
    arguments_object,
    opaque_of,
    system_text,
)
from joinery.llm.turns import turns_of
from joinery.llm.types import Media, Message, ModelRequest

KIND: Final = "bedrock"
"""What marks reasoning that has to come back with the calls that it led to."""

FORMATS: Final[Mapping[str, str]] = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
    "text/plain": "txt",
    "application/msword": "doc",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
}
"""https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_DocumentBlock.html"""

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9()\[\] -]+")


def schema_by(request: ModelRequest) -> str:
    """Returns how the schema of a request is asked for: `tool`, `native` or `json`."""
    if request.schema is None:
        return ""
    return request.schema_by or ("native" if _thinks(request) else "tool")


def converse(provider: str, request: ModelRequest) -> dict[str, Any]:
    """Returns the parameters of `ConverseStream`.

    Raises:
        PermanentMediaUnsupported: A file is of a type that the API does not take.
    """
    refuse_media(provider, request, IMAGES_AND_FILES, frozenset(FORMATS))
    asked: dict[str, Any] = {
        "modelId": request.model,
        "messages": turns_of(request.messages, _blocks),
    }
    if system := system_text(request.messages):
        asked["system"] = [{"text": system}]
    more: dict[str, Any] = {"max_tokens": request.max_tokens or MAX_TOKENS}
    if "claude" in request.model:
        add_thinking(more, request)
    elif "gpt-oss" in request.model and request.reasoning not in (None, "none"):
        more["reasoning_effort"] = request.reasoning
    limit = more.pop("max_tokens")
    options = {
        "maxTokens": limit if request.max_tokens or limit != MAX_TOKENS else None,
        "temperature": request.temperature,
        "topP": request.top_p,
        "stopSequences": list(request.stop) or None,
    }
    config = {key: value for key, value in options.items() if value is not None}
    if config:
        asked["inferenceConfig"] = config
    if more:
        asked["additionalModelRequestFields"] = more
    _add_tools(asked, request)
    if schema_by(request) == "native":
        form = {"name": "answer", "schema": json.dumps(without_bounds(request.schema))}
        structure = {"jsonSchema": form}
        asked["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": structure}}
    return asked


def _thinks(request: ModelRequest) -> bool:
    return "claude" in request.model and thinks(request)


def _add_tools(asked: dict[str, Any], request: ModelRequest) -> None:
    offered = {t.name: _tool(t.name, t.description, t.parameters) for t in request.tools}
    used = [call.name for message in request.messages for call in message.tool_calls]
    if request.tool_choice == "none" and not used:
        offered.clear()
    for name in used:
        # The API wants every tool that a conversation has used.
        offered.setdefault(name, _tool(name, name, {"type": "object"}))
    choice: dict[str, Any] = {"any" if request.tool_choice == "required" else "auto": {}}
    if schema_by(request) == "tool":
        name = answer_tool(request)
        only = not request.tools or request.tool_choice == "none"
        offered[name] = _tool(name, ANSWER_DESCRIPTION, request.schema or {})
        choice = {"tool": {"name": name}} if only else {"any": {}}
    if offered:
        free = "auto" in choice or _thinks(request)
        config = {"tools": list(offered.values())}
        asked["toolConfig"] = config if free else {**config, "toolChoice": choice}


def _tool(name: str, description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    # A description may not be empty.
    about = {"name": name, "description": description or name, "inputSchema": {"json": schema}}
    return {"toolSpec": about}


# -- messages --------------------------------------------------------------------------


def _blocks(message: Message) -> list[dict[str, Any]]:
    if message.role == "tool":
        result: dict[str, Any] = {
            "toolUseId": message.tool_call_id,
            "content": [{"text": message.content or " "}],
        }
        if message.is_error:
            result["status"] = "error"
        return [{"toolResult": result}]
    blocks: list[dict[str, Any]] = []
    if message.tool_calls:
        blocks.extend(_thought(row) for row in opaque_of(KIND, message.tool_calls) or ())
    blocks.extend(_file(number, media) for number, media in enumerate(message.media, 1))
    if message.content:
        blocks.append({"text": message.content})
    for call in message.tool_calls:
        about = {"toolUseId": call.id, "name": call.name, "input": arguments_object(call)}
        blocks.append({"toolUse": about})
    return blocks


def _thought(row: Mapping[str, str]) -> dict[str, Any]:
    if "redacted" in row:
        return {"reasoningContent": {"redactedContent": base64.b64decode(row["redacted"])}}
    text = {"text": row["text"], "signature": row["signature"]}
    return {"reasoningContent": {"reasoningText": text}}


def _file(number: int, media: Media) -> dict[str, Any]:
    source = {"bytes": media.data}
    if kind_of(media) == "image":
        return {"image": {"format": media.mime_type.partition("/")[2], "source": source}}
    # A name may hold little, and no two files of a message may have the same one.
    called = _NOT_IN_NAMES.sub(" ", media.name).strip()[:100]
    name = " ".join(f"{number} {called}".split())
    return {"document": {"format": FORMATS[media.mime_type], "name": name, "source": source}}
