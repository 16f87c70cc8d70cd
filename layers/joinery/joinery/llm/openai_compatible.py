"""Models behind an OpenAI-compatible endpoint: OpenAI, Ollama, vLLM, llama.cpp and many more."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from joinery.llm.answer import AnswerReader
from joinery.llm.embedding import batches, joined, vector
from joinery.llm.http_errors import Classifier
from joinery.llm.http_provider import HttpProvider
from joinery.llm.keys import NO_KEY, FixedKey, ProviderKey
from joinery.llm.media import refuse_media
from joinery.llm.model_facts import ask_window
from joinery.llm.openai_answer import ECHOED, OpenAIReader, usage_of
from joinery.llm.presets import CUSTOM, Preset
from joinery.llm.schemas import is_strict
from joinery.llm.timeouts import Timeouts
from joinery.llm.tool_calls import ANSWER_DESCRIPTION, answer_tool, opaque_of
from joinery.llm.types import Embeddings, Media, Message, ModelRequest, Usage
from joinery.llm.window import estimate_tokens
from joinery.llm.windows import known_window

# A failed question about a window is asked again after this time, not at every call.
_ASK_AGAIN_S = 60.0


class OpenAICompatible(HttpProvider):
    """Streams answers of `POST {base_url}/chat/completions`."""

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        api_key: str = "",
        key: ProviderKey = NO_KEY,
        preset: Preset = CUSTOM,
        max_tokens_field: str = "",
        context_window: int | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        """Describes the endpoint; nothing is opened yet.

        Args:
            name: The provider's name, for messages.
            base_url: Up to and without `/chat/completions`, such as `http://127.0.0.1:8080/v1`.
            api_key: Sent as a bearer token when not empty.
            key: The same, read at each call.
            preset: In what the endpoint differs from others.
            max_tokens_field: What the endpoint calls the limit of the answer, if not as the preset.
            context_window: Tokens of the window when it is known beforehand; the
                server is not asked then.
            timeouts: Limits in seconds.

        Raises:
            PermanentModelUnknown: `base_url` is not an HTTP address.
            PermanentModelAuth: The key has characters that no HTTP header can carry.
        """
        if api_key:
            key = ProviderKey(FixedKey(api_key), name)
            key.read()
        super().__init__(name=name, base_url=base_url, key=key, timeouts=timeouts)
        if max_tokens_field:
            preset = replace(preset, max_tokens_field=max_tokens_field)
        self._preset = preset
        self._asking = threading.Lock()
        self._configured_window = context_window
        self._windows: dict[str, int | None] = {}
        self._ask_after = 0.0

    def chat(self, request: ModelRequest) -> tuple[str, Mapping[str, Any]]:
        """See `HttpProvider.chat`."""
        return "/chat/completions", self._body(request)

    def reader(self, request: ModelRequest, classifier: Classifier) -> AnswerReader:
        """See `HttpProvider.reader`."""
        tool = answer_tool(request) if self._schema_by(request) == "tool" else ""
        return OpenAIReader(request, classifier, answer_tool=tool, echo=self._preset.echo)

    def context_window(self, model: str) -> int | None:
        """Returns the model's window in tokens, or None when nobody tells.

        It is taken from the configuration, else asked of the server once.
        """
        if self._configured_window is not None:
            return self._configured_window
        if self._preset.key_needed:
            return known_window(model)  # hosted APIs do not tell theirs
        with self._asking:
            if model in self._windows:
                return self._windows[model]
            if time.monotonic() < self._ask_after:
                return None
            loop, client = self._opened()
            try:
                headers = self.headers(self._key.read())
                question = ask_window(client, self.base_url, model, self.timeouts.question, headers)
                known, window = loop.submit(question).result()
            except Exception:
                # A window is a convenience: without it a prompt is just not checked beforehand.
                known, window = False, None
            if known:
                self._windows[model] = window
            else:
                self._ask_after = time.monotonic() + _ASK_AGAIN_S
            return window

    def embed(self, model: str, texts: Sequence[str]) -> Embeddings:
        """See `Embedder.embed`."""
        if not self._preset.embeddings:
            return super().embed(model, texts)
        parts: list[Embeddings] = []
        for batch in batches(texts, self._preset.embed_batch):
            body = {"model": model, "input": list(batch), "encoding_format": "float"}
            told = self.ask(model, "/embeddings", body)
            rows = [row for row in told.get("data") or () if isinstance(row, dict)]
            rows.sort(key=lambda row: int(row.get("index") or 0))
            vectors = tuple(vector(self.name, row.get("embedding")) for row in rows)
            if len(vectors) != len(batch):
                vectors = (vector(self.name, None),)  # raises: some are missing
            usage = usage_of(told.get("usage"))
            if usage is None:
                usage = Usage(sum(map(estimate_tokens, batch)), 0, estimated=True)
            parts.append(Embeddings(vectors, usage))
        return joined(parts)

    # -- the body ----------------------------------------------------------------------

    def _schema_by(self, request: ModelRequest) -> str:
        if request.schema is None:
            return ""
        return request.schema_by or self._preset.schema_by

    def _body(self, request: ModelRequest) -> dict[str, Any]:
        preset, by = self._preset, self._schema_by(request)
        refuse_media(self.name, request, preset.media)
        body: dict[str, Any] = {
            "model": request.model,
            "messages": [_message(message, preset.echo) for message in request.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        optional = {
            "temperature": request.temperature,
            "top_p": request.top_p,
            preset.max_tokens_field: request.max_tokens,
            "stop": list(request.stop) or None,
            "seed": request.seed,
        }
        body.update((key, value) for key, value in optional.items() if value is not None)
        reasoning = request.reasoning
        forced = by == "tool" or (request.tools and request.tool_choice == "required")
        if forced and preset.reasoning_off_for_tool and reasoning is None:
            reasoning = "none"
        if reasoning is not None:
            body.update(_REASONING[preset.reasoning_by](reasoning))
        thinks = preset.reasoning_off_for_tool and reasoning not in (None, "none")
        self._add_tools(body, request, by, thinks=thinks)
        if by == "native":
            schema = request.schema or {}
            form = {"name": "answer", "schema": schema, "strict": is_strict(schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        elif by == "json":
            body["response_format"] = {"type": "json_object"}
        if by and preset.extra:
            body.update(preset.extra)
        return body

    def _add_tools(
        self, body: dict[str, Any], request: ModelRequest, by: str, *, thinks: bool
    ) -> None:
        """Adds what the model may call.

        Args:
            body: Takes it.
            request: What is asked.
            by: How the schema is asked for.
            thinks: Whether the model thinks and may therefore not be forced to call.
        """
        tools = [_function(tool.name, tool.description, tool.parameters) for tool in request.tools]
        choice: Any = request.tool_choice
        if by == "tool":
            name = answer_tool(request)
            tools.append(_function(name, ANSWER_DESCRIPTION, request.schema or {}))
            only = not request.tools or choice == "none"
            choice = {"type": "function", "function": {"name": name}} if only else "required"
        if tools:
            forced = choice not in ("auto", "none")
            body["tools"] = tools
            body["tool_choice"] = "auto" if thinks and forced else choice


def _function(name: str, description: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    about = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": about}


def _message(message: Message, echo: str) -> dict[str, Any]:
    if message.role == "tool":
        return {
            "role": "tool",
            "tool_call_id": message.tool_call_id,
            "content": message.content,
        }
    if message.tool_calls:
        said: dict[str, Any] = {
            "role": message.role,
            "content": message.content or None,
            "tool_calls": [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in message.tool_calls
            ],
        }
        if echo and (back := opaque_of(ECHOED + echo, message.tool_calls)):
            said[echo] = back
        return said
    if message.media:
        parts: list[dict[str, Any]] = [_part(media) for media in message.media]
        if message.content:
            parts.append({"type": "text", "text": message.content})
        return {"role": message.role, "content": parts}
    return {"role": message.role, "content": message.content}


def _part(media: Media) -> dict[str, Any]:
    url = f"data:{media.mime_type};base64,{base64.b64encode(media.data).decode()}"
    if media.mime_type.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": url}}
    return {"type": "file", "file": {"filename": media.name or "file", "file_data": url}}


def _thinking(effort: str) -> dict[str, Any]:
    on = {"thinking": {"type": "enabled"}, "reasoning_effort": effort}
    return {"thinking": {"type": "disabled"}} if effort == "none" else on


def _template(effort: str) -> dict[str, Any]:
    return {"chat_template_kwargs": {"enable_thinking": effort != "none"}}


_REASONING: Mapping[str, Callable[[str], Mapping[str, Any]]] = {
    "effort": lambda effort: {"reasoning_effort": effort},
    "openrouter": lambda effort: {"reasoning": {"effort": effort}},
    "deepseek": _thinking,
    "enable_thinking": lambda effort: {"enable_thinking": effort != "none"},
    "chat_template": _template,
    "none": lambda effort: {},
}
