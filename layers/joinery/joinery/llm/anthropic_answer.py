"""Reading a streamed answer of Anthropic's Messages API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from joinery.llm.answer import AnswerReader, whole_number
from joinery.llm.http_errors import Classifier
from joinery.llm.tool_calls import pack_opaque
from joinery.llm.types import Chunk, ModelRequest, Usage

KIND: Final = "anthropic"
"""What marks thinking that has to come back with the calls that it led to."""

_REASONS: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class AnthropicReader(AnswerReader):
    """Takes the events `message_start`, `content_block_…`, `message_delta` and `message_stop`."""

    def __init__(
        self, request: ModelRequest, classifier: Classifier, *, answer_tool: str = ""
    ) -> None:
        super().__init__(request, classifier, answer_tool=answer_tool)
        self._blocks: dict[int, dict[str, Any]] = {}
        self._counts: dict[str, int] = {}

    @property
    def complete(self) -> bool:
        """See `AnswerReader.complete`: the reason comes with the last count of tokens."""
        return self.reason is not None or self.done

    def take(self, name: str, body: Mapping[str, Any]) -> list[Chunk]:
        """See `AnswerReader.take`."""
        match body.get("type") or name:
            case "message_start":
                message = body.get("message")
                self._count(message.get("usage") if isinstance(message, dict) else None)
            case "content_block_start":
                return self._begin(body.get("index"), body.get("content_block"))
            case "content_block_delta":
                return self._more(body.get("index"), body.get("delta"))
            case "message_delta":
                self._count(body.get("usage"))
                delta = body.get("delta")
                reason = delta.get("stop_reason") if isinstance(delta, dict) else None
                if reason:
                    self.reason = _REASONS.get(str(reason), "stop")
            case "message_stop":
                self.done = True
        return []

    def opaque(self) -> str:
        """See `AnswerReader.opaque`."""
        kept = [
            block
            for _, block in sorted(self._blocks.items())
            if block["type"] == "redacted_thinking" or block.get("signature")
        ]
        return pack_opaque(KIND, kept)

    def _begin(self, index: Any, block: Any) -> list[Chunk]:
        if not isinstance(block, dict) or not isinstance(index, int):
            return []
        match block.get("type"):
            case "tool_use":
                given = block.get("input") or None  # whole only where it does not stream
                return self.call(
                    index, call_id=block.get("id"), name=block.get("name"), arguments=given
                )
            case "text":
                return self.text(block.get("text"))
            case "thinking":
                self._blocks[index] = {"type": "thinking", "thinking": "", "signature": ""}
                self.tokens += 1
            case "redacted_thinking":
                self._blocks[index] = dict(block)
                self.tokens += 1
        return []

    def _more(self, index: Any, delta: Any) -> list[Chunk]:
        if not isinstance(delta, dict) or not isinstance(index, int):
            return []
        match delta.get("type"):
            case "text_delta":
                return self.text(delta.get("text"))
            case "input_json_delta":
                return self.call(index, call_id="", name="", arguments=delta.get("partial_json"))
            case "thinking_delta" | "signature_delta" as kind:
                field = kind.removesuffix("_delta")
                piece = delta.get(field)
                block = self._blocks.setdefault(
                    index, {"type": "thinking", "thinking": "", "signature": ""}
                )
                if isinstance(piece, str):
                    block[field] += piece
                if field == "thinking":
                    return self.text(piece, "reasoning")
                self.tokens += 1
        return []

    def _count(self, usage: Any) -> None:
        if not isinstance(usage, dict):
            return
        for key, value in usage.items():
            if isinstance(value, int) and not isinstance(value, bool):
                self._counts[key] = value
        counts = self._counts
        cached = whole_number(counts.get("cache_read_input_tokens"))
        written = whole_number(counts.get("cache_creation_input_tokens"))
        self.usage = Usage(
            whole_number(counts.get("input_tokens")) + cached + written,
            whole_number(counts.get("output_tokens")),
            cached_tokens=cached,
        )
