"""The `scripted` provider: says what a cassette tells it, the same each time.

For tests and for replaying runs. What the cassette does not name gets an answer
made from the prompt, so that a whole workflow runs without any recording.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
import time
from collections.abc import Iterator, Sequence
from typing import Final

from joinery import model_errors
from joinery.llm.cassette import Cassette, Entry, ScriptedCall, error_class, load_cassette
from joinery.llm.made_up import made_up, made_up_for
from joinery.llm.timeouts import CANCEL_POLL_S
from joinery.llm.types import (
    CallContext,
    Chunk,
    Embeddings,
    Finished,
    ModelRequest,
    TextChunk,
    ToolCall,
    ToolCallChunk,
    Usage,
)

TOKEN: Final = re.compile(r"\s*\S+\s*$|\s*\S+|\s+")
"""A token of the scripted model: a word with the white space before it."""

DIMENSIONS: Final = 64
"""Size of the scripted model's vectors."""

_PIECE_CHARS: Final = 12
"""How much of a call's arguments one chunk holds."""


class Scripted:
    """Implements `Provider` and `Embedder` from a cassette."""

    name = "scripted"

    def __init__(self, cassette: Cassette | None = None) -> None:
        self.cassette = cassette or Cassette()

    def context_window(self, model: str) -> int | None:
        """A script has no window."""
        return None

    def stream(self, request: ModelRequest, call: CallContext) -> Iterator[Chunk]:
        """Yields reasoning, answer and calls piece by piece, at the entry's pace.

        Pieces of several calls alternate. After a cancel nothing more is yielded, not
        even `Finished`.

        Raises:
            NodeError: The one that the entry names, or that its fault ends in.
            TransientModelTimeout: The deadline came before the end.
            PermanentModelRejected: The schema allows nothing that can be made up.
        """
        entry = self.cassette.find(call) or _made_up(request, call)
        pace = 1 / entry.tokens_per_second if entry.tokens_per_second else 0.0
        calls = _identified(entry.tool_calls, call)
        chunks = list(_chunks(entry, calls))
        fault = entry.fault
        if fault is not None:
            chunks = chunks[: fault.after_tokens]
        elif entry.error and (entry.after_tokens or not (entry.text or calls)):
            chunks = chunks[: entry.after_tokens]
        for chunk in chunks:
            if not _wait(pace, call):
                return
            yield chunk
        if fault is not None:
            if fault.kind == "hang" and not _wait(fault.silence_s, call):
                return
            raise fault.error(self.name, request.model)
        if entry.error:
            cls = error_class(entry.error)
            assert cls is not None
            raise cls(entry.message)
        spoken = sum(len(m.content.split()) for m in request.messages)
        thought = len(tokens_of(entry.reasoning))
        usage = Usage(spoken, len(chunks), reasoning_tokens=thought)
        yield Finished(usage, "tool_calls" if calls else "stop", calls)

    def embed(self, model: str, texts: Sequence[str]) -> Embeddings:
        """Returns vectors in which texts with the same words are near each other."""
        words = sum(len(text.split()) for text in texts)
        return Embeddings(tuple(_vector(text) for text in texts), Usage(words, 0))


def _made_up(request: ModelRequest, call: CallContext) -> Entry:
    if request.tools and request.tool_choice == "required":
        tool = request.tools[0]
        return Entry(
            call.node_id, tool_calls=(ScriptedCall(tool.name, made_up_for(tool, request)),)
        )
    return Entry(call.node_id, text=made_up(request))


def _identified(calls: Sequence[ScriptedCall], call: CallContext) -> tuple[ToolCall, ...]:
    return tuple(
        ToolCall(each.id or f"call_{call.call}_{place}", each.name, each.arguments)
        for place, each in enumerate(calls)
    )


def _chunks(entry: Entry, calls: Sequence[ToolCall]) -> Iterator[Chunk]:
    for word in tokens_of(entry.reasoning):
        yield TextChunk(word, "reasoning")
    for word in tokens_of(entry.text):
        yield TextChunk(word)
    pieces = [list(_pieces(index, call)) for index, call in enumerate(calls)]
    for together in itertools.zip_longest(*pieces):
        yield from (piece for piece in together if piece is not None)


def _pieces(index: int, call: ToolCall) -> Iterator[ToolCallChunk]:
    yield ToolCallChunk(index, call.id, call.name)
    for start in range(0, len(call.arguments), _PIECE_CHARS):
        yield ToolCallChunk(index, arguments=call.arguments[start : start + _PIECE_CHARS])


def _vector(text: str) -> tuple[float, ...]:
    counts = [0.0] * DIMENSIONS
    for word in re.findall(r"\w+", text.lower()):
        digest = hashlib.sha256(word.encode("utf-8", "replace")).digest()
        counts[digest[0] % DIMENSIONS] += 1.0 if digest[1] % 2 else -1.0
    length = math.sqrt(sum(value * value for value in counts)) or 1.0
    return tuple(value / length for value in counts)


def _wait(seconds: float, call: CallContext) -> bool:
    """Waits until the next word is due; returns False when the call was cancelled meanwhile."""
    due = time.monotonic() + seconds
    while not call.cancelled():
        now = time.monotonic()
        if now >= call.deadline:
            raise model_errors.TransientModelTimeout(
                "the scripted model did not end in time", phase="deadline"
            )
        if now >= due:
            return True
        time.sleep(min(due - now, call.deadline - now, CANCEL_POLL_S))
    return False


def tokens_of(text: str) -> list[str]:
    """Splits a text into words that join to the same text."""
    return TOKEN.findall(text)


__all__: Sequence[str] = ("Cassette", "Entry", "Scripted", "error_class", "load_cassette")
