"""Reading a streamed answer of Google's `streamGenerateContent`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from joinery.llm.answer import AnswerReader, whole_number
from joinery.llm.tool_calls import new_call_id, pack_opaque
from joinery.llm.types import Chunk, Usage
from joinery.model_errors import TransientModelStream

KIND: Final = "gemini"
"""What marks the signature of a thought that has to come back with its call."""

_REASONS: Final[Mapping[str, str]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "MALFORMED_FUNCTION_CALL": "error",
    "UNEXPECTED_TOOL_CALL": "error",
    "OTHER": "error",
}


class GeminiReader(AnswerReader):
    """Takes `GenerateContentResponse` objects; calls come whole and without an index."""

    _made = 0

    def take(self, name: str, body: Mapping[str, Any]) -> list[Chunk]:
        """See `AnswerReader.take`."""
        self._count(body.get("usageMetadata"))
        feedback = body.get("promptFeedback")
        if isinstance(feedback, dict) and feedback.get("blockReason"):
            self.reason = "content_filter"
            return []
        candidates = body.get("candidates")
        if not isinstance(candidates, list) or not candidates:
            return []
        candidate = candidates[0]
        if not isinstance(candidate, dict):
            raise TransientModelStream(f"{self.classifier.provider} sent a chunk of no known form")
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        chunks: list[Chunk] = []
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict):
                chunks += self._part(part)
        reason = candidate.get("finishReason")
        if isinstance(reason, str) and reason and reason != "FINISH_REASON_UNSPECIFIED":
            self.reason = _REASONS.get(reason, "stop")
        return chunks

    def _part(self, part: Mapping[str, Any]) -> list[Chunk]:
        call = part.get("functionCall")
        if not isinstance(call, dict):
            return self.text(part.get("text"), "reasoning" if part.get("thought") else "text")
        index, self._made = self._made, self._made + 1
        return self.call(
            index,
            call_id=call.get("id") or new_call_id(),
            name=call.get("name"),
            arguments=json.dumps(call.get("args") or {}, ensure_ascii=False),
            opaque=pack_opaque(KIND, part.get("thoughtSignature")),
        )

    def _count(self, told: Any) -> None:
        if not isinstance(told, dict):
            return
        thoughts = whole_number(told.get("thoughtsTokenCount"))
        self.usage = Usage(
            whole_number(told.get("promptTokenCount"))
            + whole_number(told.get("toolUsePromptTokenCount")),
            whole_number(told.get("candidatesTokenCount")) + thoughts,
            cached_tokens=whole_number(told.get("cachedContentTokenCount")),
            reasoning_tokens=thoughts,
        )
