"""Reading one streamed answer, chunk by chunk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from joinery.llm.http_errors import Classifier, parse_error
from joinery.llm.sse import SseEvent
from joinery.llm.types import Chunk, Finished, ModelRequest, TextChunk, Usage
from joinery.llm.window import estimate_prompt, estimate_tokens
from joinery.model_errors import PermanentModelRejected, TransientModelStream

_REASONS = {"length": "length", "max_tokens": "length", "tool_calls": "tool_calls"}
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


class AnswerReader:
    """Takes the events of one answer and gives its chunks.

    Attributes:
        started: Whether a token has come.
        reason: The server's `finish_reason`, once it is known.
        done: Whether the server has said that the stream is at its end.
    """

    def __init__(self, request: ModelRequest, classifier: Classifier) -> None:
        self.started = False
        self.reason: str | None = None
        self.done = False
        self._request = request
        self._classifier = classifier
        self._usage: Usage | None = None
        self._joiners = {"text": SurrogateJoiner(), "reasoning": SurrogateJoiner()}
        self._written: list[str] = []
        self._refusal: list[str] = []

    @property
    def classifier(self) -> Classifier:
        """Names the errors of this provider."""
        return self._classifier

    @property
    def complete(self) -> bool:
        """Whether nothing of the answer's text is still to come."""
        return self.done or self.reason is not None

    def read(self, event: SseEvent) -> list[TextChunk]:
        """Takes the next event; returns the text in it, if there is any.

        Raises:
            TransientModelStream: The event makes no sense, or says that the server failed.
            PermanentContextTooLong: The server says so inside the stream.
        """
        if event.data.strip() == "[DONE]":
            self.done = True
            return []
        try:
            body = json.loads(event.data)
        except (ValueError, RecursionError):
            raise TransientModelStream(
                f"{self._classifier.provider} sent a chunk that is not JSON"
            ) from None
        if not isinstance(body, dict):
            raise TransientModelStream(f"{self._classifier.provider} sent a chunk of no known form")
        if body.get("error") or event.name == "error":
            raise self._classifier.in_stream(parse_error(body), started=self.started)
        self._usage = _usage(body.get("usage")) or self._usage
        choices = body.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return []
        return self._choice(choices[0])

    def finish(self) -> list[Chunk]:
        """Returns what is left of the text and, last, the `Finished`.

        Raises:
            TransientModelStream: The server stopped before the answer was complete.
            PermanentModelRejected: The model, or a filter of its provider, refused to answer.
        """
        who = self._classifier.provider
        if not self.complete or self.reason == "error":
            raise TransientModelStream(f"{who} ended the stream before the answer was complete")
        if self.reason == "content_filter":
            raise PermanentModelRejected(f"The content filter of {who} stopped the answer")
        if self._refusal:
            raise PermanentModelRejected(f"The model refused: {''.join(self._refusal)[:500]}")
        rest: list[Chunk] = []
        for stream, joiner in self._joiners.items():
            if text := joiner.flush():
                rest.append(TextChunk(text, stream))
        reason = _REASONS.get(self.reason or "", "stop")
        return [*rest, Finished(self._usage or self._estimate(), reason)]

    def _choice(self, choice: Mapping[str, Any]) -> list[TextChunk]:
        delta = choice.get("delta")
        chunks: list[TextChunk] = []
        if isinstance(delta, dict):
            reasoning = delta.get("reasoning_content") or delta.get("reasoning")
            for stream, text in (("reasoning", reasoning), ("text", delta.get("content"))):
                if not isinstance(text, str) or not text:
                    continue
                self.started = True
                if whole := self._joiners[stream].feed(text):
                    self._written.append(whole)
                    chunks.append(TextChunk(whole, stream))
            if isinstance(refusal := delta.get("refusal"), str) and refusal:
                self.started = True
                self._refusal.append(refusal)
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason:
            self.reason = reason
        return chunks

    def _estimate(self) -> Usage:
        return Usage(
            input_tokens=estimate_prompt(self._request.messages),
            output_tokens=estimate_tokens("".join(self._written)),
            estimated=True,
        )


def _usage(told: Any) -> Usage | None:
    if not isinstance(told, dict):
        return None
    read, written = told.get("prompt_tokens"), told.get("completion_tokens")
    if not isinstance(read, int) or not isinstance(written, int):
        return None
    return Usage(read, written)
