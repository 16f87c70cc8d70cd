"""Claude models behind Anthropic's Messages API."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, Final

from joinery.llm.answer import AnswerReader
from joinery.llm.anthropic_answer import KIND, AnthropicReader
from joinery.llm.http_errors import Classifier
from joinery.llm.http_provider import HttpProvider
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
from joinery.llm.windows import known_window

BASE_URL: Final = "https://api.anthropic.com/v1"
VERSION: Final = "2023-06-01"

MAX_TOKENS: Final = 4_096
"""The API wants a limit; this one all models allow."""

BUDGETS: Final[Mapping[str, int]] = {"low": 1_024, "medium": 4_096, "high": 16_384}
"""Tokens for thinking of models that are told a budget."""

FILE_TYPES: Final = frozenset({"application/pdf", "text/plain"})

# Models from before the effort of thinking could be named.
# https://docs.claude.com/en/docs/build-with-claude/adaptive-thinking
_BUDGETED = re.compile(r"claude-(3|(opus|sonnet)-4(-[015]\b|-2025|$)|haiku-4)")


class Anthropic(HttpProvider):
    """Streams answers of `POST {base_url}/messages`.

    A schema is asked for by a forced call of a tool, whose arguments are the answer: it
    works with every model and with every schema. A model that is to think cannot be
    forced to call, so there `output_config.format` asks for it.
    """

    def chat(self, request: ModelRequest) -> tuple[str, Mapping[str, Any]]:
        """See `HttpProvider.chat`."""
        refuse_media(self.name, request, IMAGES_AND_FILES, FILE_TYPES)
        body: dict[str, Any] = {
            "model": request.model,
            "messages": turns_of(request.messages, _blocks),
            "max_tokens": request.max_tokens or MAX_TOKENS,
            "stream": True,
        }
        optional = {
            "system": system_text(request.messages) or None,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "stop_sequences": list(request.stop) or None,
        }
        body.update((key, value) for key, value in optional.items() if value is not None)
        add_thinking(body, request)
        _add_tools(body, request)
        if _schema_by(request) == "native":
            form = {"type": "json_schema", "schema": without_bounds(request.schema)}
            body.setdefault("output_config", {})["format"] = form
        return "/messages", body

    def headers(self, key: str) -> Mapping[str, str]:
        """See `HttpProvider.headers`."""
        return {"x-api-key": key, "anthropic-version": VERSION}

    def reader(self, request: ModelRequest, classifier: Classifier) -> AnswerReader:
        """See `HttpProvider.reader`."""
        tool = answer_tool(request) if _schema_by(request) == "tool" else ""
        return AnthropicReader(request, classifier, answer_tool=tool)

    def context_window(self, model: str) -> int | None:
        """See `Provider.context_window`."""
        return known_window(model)


def thinks(request: ModelRequest) -> bool:
    """Whether the model is to think before it answers."""
    return request.reasoning not in (None, "none")


def _schema_by(request: ModelRequest) -> str:
    if request.schema is None:
        return ""
    if request.schema_by in ("native", "tool"):
        return request.schema_by
    return "native" if thinks(request) else "tool"


def add_thinking(body: dict[str, Any], request: ModelRequest) -> None:
    """Adds to a body how much the model is to think; a budget is added to its `max_tokens`."""
    effort = request.reasoning
    if effort is None:
        return
    if effort == "none":
        body["thinking"] = {"type": "disabled"}
    elif _BUDGETED.search(request.model.lower()):
        budget = BUDGETS[effort]
        body["thinking"] = {"type": "enabled", "budget_tokens": budget}
        body["max_tokens"] += budget  # the limit is that of the answer; this one counts both
    else:
        body["thinking"] = {"type": "adaptive", "display": "summarized"}
        body["output_config"] = {"effort": effort}


def _add_tools(body: dict[str, Any], request: ModelRequest) -> None:
    tools = [_tool(t.name, t.description, t.parameters) for t in request.tools]
    kind = "any" if request.tool_choice == "required" else request.tool_choice
    choice: dict[str, Any] = {"type": kind}
    if _schema_by(request) == "tool":
        name = answer_tool(request)
        only = not tools or request.tool_choice == "none"
        tools.append(_tool(name, ANSWER_DESCRIPTION, request.schema or {}))
        choice = {"type": "tool", "name": name} if only else {"type": "any"}
    if tools:
        forced = choice["type"] in ("any", "tool")
        body["tools"] = tools
        body["tool_choice"] = {"type": "auto"} if forced and thinks(request) else choice


def _tool(name: str, description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "description": description, "input_schema": schema}


# -- messages --------------------------------------------------------------------------


def _blocks(message: Message) -> list[dict[str, Any]]:
    if message.role == "tool":
        block: dict[str, Any] = {
            "type": "tool_result",
            "tool_use_id": message.tool_call_id,
            "content": message.content,
        }
        return [{**block, "is_error": True} if message.is_error else block]
    blocks: list[dict[str, Any]] = []
    if message.tool_calls:
        # Thinking stands before the calls that it led to, word for word.
        blocks.extend(opaque_of(KIND, message.tool_calls) or ())
    blocks.extend(_file(media) for media in message.media)
    if message.content:
        blocks.append({"type": "text", "text": message.content})
    for call in message.tool_calls:
        blocks.append(
            {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments_object(call)}
        )
    return blocks


def _file(media: Media) -> dict[str, Any]:
    if media.mime_type == "text/plain":
        text = media.data.decode("utf-8", "replace")
        source = {"type": "text", "media_type": "text/plain", "data": text}
    else:
        data = base64.b64encode(media.data).decode()
        source = {"type": "base64", "media_type": media.mime_type, "data": data}
    if kind_of(media) == "image":
        return {"type": "image", "source": source}
    named = {"title": media.name} if media.name else {}
    return {"type": "document", "source": source, **named}
