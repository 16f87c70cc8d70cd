"""Reading one streamed answer, event by event: what the readers of all providers share."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from joinery.llm.http_errors import Classifier, parse_error
from joinery.llm.sse import SseEvent
from joinery.llm.tool_calls import CallPieces
from joinery.llm.types import Chunk, Finished, ModelRequest, TextChunk, ToolCallChunk, Usage
from joinery.llm.window import estimate_prompt, estimate_tokens
from joinery.model_errors import PermanentModelRejected, TransientModelStream

_REPLACEMENT = "\ufffd"


class SurrogateJoiner:
    r"""Puts characters together again that a server split into two escapes.

    A character outside the basic plane may arrive as `\ud83d` in one chunk and
    `\ude00` in the next; half a pair cannot be stored or sent on.
    """

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        """Returns the text that is complete; a trailing first half waits for its second."""
        text = self._held + text
        self._held = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._held, text = text[-1], text[:-1]
        return whole_characters(text)

    def flush(self) -> str:
        """Returns what still waits, as the replacement character."""
        held, self._held = self._held, ""
        return _REPLACEMENT if held else ""


def whole_characters(text: str) -> str:
    """Returns `text` with pairs of surrogates joined and lone ones replaced."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


class AnswerReader(ABC):
    """Takes the events of one answer and gives its chunks; each protocol has a subclass.

    Args:
        request: What was asked.
        classifier: Names the errors of the provider.
        answer_tool: The tool whose arguments are the answer, where a schema is asked for
            by a forced call of a tool; `""` where it is not.

    Attributes:
        classifier: Names the errors of the provider.
        tokens: Grows with every piece of the answer, also of those that yield no chunk.
        reason: `stop`, `length`, `tool_calls`, `content_filter` or `error`, once it is known.
        done: Whether the server has said that the stream is at its end.
    """

    def __init__(
        self, request: ModelRequest, classifier: Classifier, *, answer_tool: str = ""
    ) -> None:
        self.classifier = classifier
        self.tokens = 0
        self.reason: str | None = None
        self.done = False
        self.usage: Usage | None = None
        self._request = request
        self._calls = CallPieces(answer_tool)
        self._joiners: dict[str, SurrogateJoiner] = {}
        self._written: list[str] = []
        self._refusal: list[str] = []
        # Text beside a call that holds the answer is no part of it; which of the two comes
        # is known at the end.
        self._held: list[str] | None = [] if answer_tool else None

    @property
    def started(self) -> bool:
        """Whether a token has come."""
        return self.tokens > 0

    @property
    def complete(self) -> bool:
        """Whether nothing of the answer's text is still to come."""
        return self.done or self.reason is not None

    def read(self, event: SseEvent) -> list[Chunk]:
        """Takes the next event; returns the chunks in it, if there are any.

        Raises:
            TransientModelStream: The event makes no sense, or says that the server failed.
            PermanentContextTooLong: The server says so inside the stream.
        """
        if event.data.strip() == "[DONE]":
            self.done = True
            return []
        who = self.classifier.provider
        try:
            body = json.loads(event.data)
        except (ValueError, RecursionError):
            raise TransientModelStream(f"{who} sent a chunk that is not JSON") from None
        if not isinstance(body, dict):
            raise TransientModelStream(f"{who} sent a chunk of no known form")
        if body.get("error") or event.name == "error":
            raise self.classifier.in_stream(parse_error(body), started=self.started)
        return self.take(event.name, body)

    @abstractmethod
    def take(self, name: str, body: Mapping[str, Any]) -> list[Chunk]:
        """Takes one event of the protocol; returns its chunks."""

    def opaque(self) -> str:
        """Returns what the provider wants back with the first call of the answer."""
        return ""

    def finish(self) -> list[Chunk]:
        """Returns what is left of the answer and, last, the `Finished`.

        Raises:
            TransientModelStream: The server stopped before the answer was complete.
            PermanentModelRejected: The model, or a filter of its provider, refused to answer.
        """
        who = self.classifier.provider
        if not self.complete or self.reason == "error":
            raise TransientModelStream(f"{who} ended the stream before the answer was complete")
        if self.reason == "content_filter":
            raise PermanentModelRejected(f"The content filter of {who} stopped the answer")
        if self._refusal:
            raise PermanentModelRejected(f"The model refused: {''.join(self._refusal)[:500]}")
        rest: list[Chunk] = []
        for stream, joiner in self._joiners.items():
            if text := joiner.flush():
                rest += self._emit(stream, text)
        if self._held:
            stream = "reasoning" if self._calls.answered else "text"
            rest.append(TextChunk("".join(self._held), stream))
        calls = self._calls.whole(self.opaque())
        # Servers do not agree on the reason that goes with calls.
        reason = "tool_calls" if calls else (self.reason or "stop")
        if reason == "tool_calls" and not calls:
            reason = "stop"
        return [*rest, Finished(self.usage or self._estimate(), reason, calls)]

    # -- for the subclasses ------------------------------------------------------------

    def text(self, text: Any, stream: str = "text") -> list[Chunk]:
        """Takes a piece of text; returns its chunk."""
        if not isinstance(text, str) or not text:
            return []
        self.tokens += 1
        whole = self._joiners.setdefault(stream, SurrogateJoiner()).feed(text)
        return self._emit(stream, whole) if whole else []

    def call(
        self, index: int | None, *, call_id: Any, name: Any, arguments: Any, opaque: str = ""
    ) -> list[Chunk]:
        """Takes a piece of a call; returns its chunk. See `CallPieces.add`."""
        self.tokens += 1
        piece = self._calls.add(
            index, call_id=call_id, name=name, arguments=arguments, opaque=opaque
        )
        if isinstance(piece, ToolCallChunk):
            self._written.append(piece.arguments)
            return [piece]
        whole = self._joiners.setdefault("answer", SurrogateJoiner()).feed(piece)
        return self._emit("answer", whole) if whole else []

    def refuse(self, text: Any) -> None:
        """Takes a piece of a refusal, which comes in place of an answer."""
        if isinstance(text, str) and text:
            self.tokens += 1
            self._refusal.append(text)

    def _emit(self, stream: str, text: str) -> list[Chunk]:
        self._written.append(text)
        if stream == "text" and self._held is not None:
            self._held.append(text)
            return []
        return [TextChunk(text, "text" if stream == "answer" else stream)]

    def _estimate(self) -> Usage:
        return Usage(
            input_tokens=estimate_prompt(self._request.messages),
            output_tokens=estimate_tokens("".join(self._written)),
            estimated=True,
        )


def whole_number(value: Any) -> int:
    """Returns a count that a server tells, 0 where it tells none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
