"""Gemini models behind Google's `generateContent` API."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from joinery.llm.answer import AnswerReader
from joinery.llm.embedding import batches, joined, vector
from joinery.llm.gemini_answer import KIND, GeminiReader
from joinery.llm.http_errors import Classifier
from joinery.llm.http_provider import HttpProvider
from joinery.llm.media import refuse_media
from joinery.llm.presets import IMAGES_AND_FILES
from joinery.llm.tool_calls import (
    ANSWER_DESCRIPTION,
    answer_tool,
    arguments_object,
    system_text,
    unpack_opaque,
)
from joinery.llm.turns import turns_of
from joinery.llm.types import Embeddings, Message, ModelRequest, ToolCall, Usage
from joinery.llm.window import estimate_tokens
from joinery.llm.windows import known_window

BASE_URL: Final = "https://generativelanguage.googleapis.com/v1beta"

EMBED_BATCH: Final = 100
"""https://ai.google.dev/api/embeddings#method:-models.batchembedcontents"""

FOREIGN_SIGNATURE: Final = "skip_thought_signature_validator"
"""Stands for the signature of a call that another model made.

https://ai.google.dev/gemini-api/docs/thought-signatures
"""

BUDGETS: Final[Mapping[str, int]] = {"none": 0, "low": 1_024, "medium": 8_192, "high": 24_576}
"""Tokens for thinking of Gemini 2.5; later ones are told a level."""

_MODES: Final = {"auto": "AUTO", "none": "NONE", "required": "ANY"}


class Gemini(HttpProvider):
    """Streams answers of `POST {base_url}/models/{model}:streamGenerateContent`.

    A schema is asked for by `responseJsonSchema`, and beside tools by a forced call whose
    arguments are the answer: the API takes a schema and tools together for some models only.
    """

    def chat(self, request: ModelRequest) -> tuple[str, Mapping[str, Any]]:
        """See `HttpProvider.chat`."""
        refuse_media(self.name, request, IMAGES_AND_FILES)
        by = _schema_by(request)
        body: dict[str, Any] = {"contents": conversation(request)}
        if system := system_text(request.messages):
            body["systemInstruction"] = {"parts": [{"text": system}]}
        options = {
            "temperature": request.temperature,
            "topP": request.top_p,
            "maxOutputTokens": request.max_tokens,
            "stopSequences": list(request.stop) or None,
            "seed": request.seed,
            "thinkingConfig": _thinking(request),
            "responseMimeType": "application/json" if by in ("native", "json") else None,
            "responseJsonSchema": request.schema if by == "native" else None,
        }
        config = {key: value for key, value in options.items() if value is not None}
        if config:
            body["generationConfig"] = config
        _add_tools(body, request, by)
        path = f"/models/{_plain(request.model)}:streamGenerateContent?alt=sse"
        return path, body

    def headers(self, key: str) -> Mapping[str, str]:
        """See `HttpProvider.headers`."""
        return {"x-goog-api-key": key}

    def reader(self, request: ModelRequest, classifier: Classifier) -> AnswerReader:
        """See `HttpProvider.reader`."""
        tool = answer_tool(request) if _schema_by(request) == "tool" else ""
        return GeminiReader(request, classifier, answer_tool=tool)

    def context_window(self, model: str) -> int | None:
        """See `Provider.context_window`."""
        return known_window(model)

    def embed(self, model: str, texts: Sequence[str]) -> Embeddings:
        """See `Embedder.embed`; the API tells no usage, so it is estimated."""
        name = _plain(model)
        parts: list[Embeddings] = []
        for batch in batches(texts, EMBED_BATCH):
            requests = [
                {"model": f"models/{name}", "content": {"parts": [{"text": text}]}}
                for text in batch
            ]
            told = self.ask(model, f"/models/{name}:batchEmbedContents", {"requests": requests})
            rows = [row for row in told.get("embeddings") or () if isinstance(row, dict)]
            vectors = tuple(vector(self.name, row.get("values")) for row in rows)
            if len(vectors) != len(batch):
                vectors = (vector(self.name, None),)  # raises: some are missing
            usage = Usage(sum(map(estimate_tokens, batch)), 0, estimated=True)
            parts.append(Embeddings(vectors, usage))
        return joined(parts)


def _plain(model: str) -> str:
    return quote(model.removeprefix("models/"), safe="-._")


def _schema_by(request: ModelRequest) -> str:
    if request.schema is None:
        return ""
    return request.schema_by or ("tool" if request.tools else "native")


def _thinking(request: ModelRequest) -> dict[str, Any] | None:
    effort = request.reasoning
    if effort is None:
        return None
    thoughts = {"includeThoughts": effort != "none"}
    if request.model.startswith("gemini-2"):
        return {**thoughts, "thinkingBudget": BUDGETS[effort]}
    return {**thoughts, "thinkingLevel": "low" if effort == "none" else effort}


def _add_tools(body: dict[str, Any], request: ModelRequest, by: str) -> None:
    tools = [_declaration(t.name, t.description, t.parameters) for t in request.tools]
    choice: dict[str, Any] = {"mode": _MODES[request.tool_choice]}
    if by == "tool":
        name = answer_tool(request)
        only = not tools or request.tool_choice == "none"
        tools.append(_declaration(name, ANSWER_DESCRIPTION, request.schema or {}))
        choice = {"mode": "ANY", **({"allowedFunctionNames": [name]} if only else {})}
    if tools:
        body["tools"] = [{"functionDeclarations": tools}]
        body["toolConfig"] = {"functionCallingConfig": choice}


def _declaration(name: str, description: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "description": description, "parametersJsonSchema": parameters}


# -- messages --------------------------------------------------------------------------


def conversation(request: ModelRequest) -> list[dict[str, Any]]:
    """Returns the messages as the API takes them: results of calls name their tool."""
    names = {c.id: c.name for m in request.messages for c in m.tool_calls}

    def parts(message: Message) -> list[dict[str, Any]]:
        return list(_parts(message, names, request.model))

    return turns_of(request.messages, parts, assistant="model", key="parts")


def _parts(message: Message, names: Mapping[str, str], model: str) -> Iterable[dict[str, Any]]:
    if message.role == "tool":
        key = "error" if message.is_error else "result"
        yield {
            "functionResponse": {
                "id": message.tool_call_id,
                "name": names.get(message.tool_call_id, ""),
                "response": {key: _json_or_text(message.content)},
            }
        }
        return
    for media in message.media:
        data = base64.b64encode(media.data).decode()
        yield {"inlineData": {"mimeType": media.mime_type, "data": data}}
    if message.content:
        yield {"text": message.content}
    for place, call in enumerate(message.tool_calls):
        yield _call(call, first=place == 0, model=model)


def _call(call: ToolCall, *, first: bool, model: str) -> dict[str, Any]:
    about = {"id": call.id, "name": call.name, "args": arguments_object(call)}
    part: dict[str, Any] = {"functionCall": about}
    signature = unpack_opaque(KIND, call.opaque)
    if not signature and first and model.startswith("gemini-3"):
        signature = FOREIGN_SIGNATURE
    if signature:
        part["thoughtSignature"] = signature
    return part


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
