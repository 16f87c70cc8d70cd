"""Reading a streamed answer of Bedrock's Converse API."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

from joinery.aws.bedrock_request import KIND
from joinery.llm.answer import AnswerReader, whole_number
from joinery.llm.http_errors import Classifier
from joinery.llm.tool_calls import pack_opaque
from joinery.llm.types import Chunk, ModelRequest, Usage

_REASONS: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "malformed_model_output": "error",
    "malformed_tool_use": "error",
}


class BedrockReader(AnswerReader):
    """Takes the events of `ConverseStream`; each is an object with one key, its name."""

    def __init__(
        self, request: ModelRequest, classifier: Classifier, *, answer_tool: str = ""
    ) -> None:
        super().__init__(request, classifier, answer_tool=answer_tool)
        self._thoughts: dict[int, dict[str, str]] = {}

    def take(self, name: str, body: Mapping[str, Any]) -> list[Chunk]:
        """See `AnswerReader.take`."""
        match name:
            case "contentBlockStart":
                use = (body.get("start") or {}).get("toolUse")
                if use:
                    return self.call(
                        body.get("contentBlockIndex"),
                        call_id=use.get("toolUseId"),
                        name=use.get("name"),
                        arguments="",
                    )
            case "contentBlockDelta":
                return self._more(int(body.get("contentBlockIndex") or 0), body.get("delta") or {})
            case "messageStop":
                self.reason = _REASONS.get(str(body.get("stopReason")), "stop")
            case "metadata":
                self._count(body.get("usage") or {})
        return []

    def opaque(self) -> str:
        """See `AnswerReader.opaque`."""
        kept = [
            thought
            for _, thought in sorted(self._thoughts.items())
            if thought.get("signature") or "redacted" in thought
        ]
        return pack_opaque(KIND, kept)

    def _more(self, index: int, delta: Mapping[str, Any]) -> list[Chunk]:
        if "text" in delta:
            return self.text(delta["text"])
        if "toolUse" in delta:
            return self.call(index, call_id="", name="", arguments=delta["toolUse"].get("input"))
        if "reasoningContent" in delta:
            return self._think(index, delta["reasoningContent"])
        return []

    def _think(self, index: int, piece: Mapping[str, Any]) -> list[Chunk]:
        self.tokens += 1
        if "redactedContent" in piece:
            redacted = base64.b64encode(piece["redactedContent"]).decode()
            self._thoughts[index] = {"redacted": redacted}
            return []
        thought = self._thoughts.setdefault(index, {"text": "", "signature": ""})
        thought["signature"] += piece.get("signature") or ""
        text = piece.get("text") or ""
        thought["text"] += text
        return self.text(text, "reasoning")

    def _count(self, told: Mapping[str, Any]) -> None:
        cached = whole_number(told.get("cacheReadInputTokens"))
        written = whole_number(told.get("cacheWriteInputTokens"))
        self.usage = Usage(
            whole_number(told.get("inputTokens")) + cached + written,
            whole_number(told.get("outputTokens")),
            cached_tokens=cached,
        )
