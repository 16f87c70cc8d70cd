"""Reading a streamed answer of an OpenAI-compatible endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from joinery.llm.answer import AnswerReader, whole_number
from joinery.llm.http_errors import Classifier
from joinery.llm.tool_calls import pack_opaque
from joinery.llm.types import Chunk, ModelRequest, Usage

ECHOED: Final = "openai:"
"""What marks a field of a message that has to come back, with its name behind."""

_REASONS: Final[Mapping[str, str]] = {
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "error": "error",
}


class OpenAIReader(AnswerReader):
    """Takes the chunks of `chat/completions`.

    Args:
        request: What was asked.
        classifier: Names the errors of the provider.
        answer_tool: The tool whose arguments are the answer.
        echo: The field that has to come back with calls: `reasoning_content`,
            `reasoning_details` or none.
    """

    def __init__(
        self,
        request: ModelRequest,
        classifier: Classifier,
        *,
        answer_tool: str = "",
        echo: str = "",
    ) -> None:
        super().__init__(request, classifier, answer_tool=answer_tool)
        self._echo = echo
        self._echoed: list[Any] = []

    def take(self, name: str, body: Mapping[str, Any]) -> list[Chunk]:
        """See `AnswerReader.take`."""
        self.usage = usage_of(body.get("usage")) or self.usage
        choices = body.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return []
        choice = choices[0]
        delta = choice.get("delta")
        chunks: list[Chunk] = []
        if isinstance(delta, dict):
            reasoning = delta.get("reasoning_content") or delta.get("reasoning")
            chunks += self.text(reasoning, "reasoning")
            chunks += self.text(delta.get("content"))
            chunks += self._tool_calls(delta.get("tool_calls"))
            self.refuse(delta.get("refusal"))
            self._keep(delta.get(self._echo) if self._echo else None)
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason:
            self.reason = _REASONS.get(reason, "stop")
        return chunks

    def opaque(self) -> str:
        """See `AnswerReader.opaque`."""
        whole = all(isinstance(piece, str) for piece in self._echoed)
        data: Any = "".join(self._echoed) if whole else self._echoed
        return pack_opaque(ECHOED + self._echo, data)

    def _tool_calls(self, pieces: Any) -> list[Chunk]:
        chunks: list[Chunk] = []
        for piece in pieces if isinstance(pieces, list) else ():
            if not isinstance(piece, dict):
                continue
            function = piece.get("function")
            function = function if isinstance(function, dict) else {}
            index = piece.get("index")
            chunks += self.call(
                index if isinstance(index, int) else None,
                call_id=piece.get("id"),
                name=function.get("name"),
                arguments=function.get("arguments"),
            )
        return chunks

    def _keep(self, piece: Any) -> None:
        if isinstance(piece, str) and piece:
            self._echoed.append(piece)
        elif isinstance(piece, list):
            self._echoed.extend(piece)


def usage_of(told: Any) -> Usage | None:
    """Returns the usage that a server tells, None where it tells none."""
    if not isinstance(told, dict):
        return None
    read, written = told.get("prompt_tokens"), told.get("completion_tokens", 0)
    if not isinstance(read, int) or not isinstance(written, int):
        return None
    return Usage(
        read,
        written,
        cached_tokens=_detail(told, "prompt_tokens_details", "cached_tokens")
        or whole_number(told.get("prompt_cache_hit_tokens")),
        reasoning_tokens=_detail(told, "completion_tokens_details", "reasoning_tokens"),
    )


def _detail(told: Mapping[str, Any], group: str, name: str) -> int:
    inside = told.get(group)
    return whole_number(inside.get(name)) if isinstance(inside, dict) else 0
