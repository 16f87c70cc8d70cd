"""Streams as the public API documentation shows them, served on loopback."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from joinery.llm.keys import FixedKey, ProviderKey
from joinery.llm.timeouts import Timeouts
from joinery.llm.types import (
    CallContext,
    Chunk,
    Finished,
    Message,
    ModelRequest,
    TextChunk,
    ToolCall,
    ToolCallChunk,
    ToolSpec,
)
from kit.model_server import Answer, ModelServer, model_server

KEY = "sk-very-secret-4711"
QUICK = Timeouts(connect=1, first_token=1, idle=0.5, ending=0.3, question=1)
SCHEMA = {
    "type": "object",
    "properties": {"score": {"type": "integer", "minimum": 1}},
    "required": ["score"],
    "additionalProperties": False,
}
WEATHER = ToolSpec(
    "weather", "Tells the weather.", {"type": "object", "properties": {"city": {"type": "string"}}}
)
CLOCK = ToolSpec("clock", "Tells the time.", {"type": "object", "properties": {}})
PIXEL = b"\x89PNG\r\n\x1a\n" + b"0" * 8


def key() -> ProviderKey:
    return ProviderKey(FixedKey(KEY), "test")


def asked(**more: Any) -> ModelRequest:
    messages = more.pop("messages", (Message("system", "be brief"), Message("user", "hi")))
    return ModelRequest(more.pop("model", "m-1"), messages, **more)


def conversation(opaque: str = "") -> tuple[Message, ...]:
    """A question, two calls, and their results, the second one an error."""
    calls = (
        ToolCall("c1", "weather", '{"city": "Paris"}', opaque),
        ToolCall("c2", "clock", "not json"),
    )
    return (
        Message("user", "weather and time?"),
        Message("assistant", "let me see", tool_calls=calls),
        Message("tool", '{"sky": "clear"}', tool_call_id="c1"),
        Message("tool", "no such clock", tool_call_id="c2", is_error=True),
    )


def call() -> CallContext:
    return CallContext("n", "", 1, time.monotonic() + 10)


def says(*events: Any, named: bool = False) -> Callable[[Answer], None]:
    """A server that sends these events; texts as they are, the rest as JSON."""

    def behave(answer: Answer) -> None:
        answer.begin()
        for event in events:
            if isinstance(event, str):
                answer.raw(event.encode())
                continue
            name = f"event: {event['type']}\n" if named else ""
            answer.raw(f"{name}data: {json.dumps(event)}\n\n".encode())

    return behave


def refuses(status: int, body: Any, **headers: str) -> Callable[[Answer], None]:
    return lambda answer: answer.send(status, body, **headers)


@contextmanager
def at(
    make: Callable[..., Any], behave: Callable[[Answer], None]
) -> Iterator[tuple[Any, ModelServer]]:
    """Yields a provider that asks a server, and the server."""
    with model_server(behave) as server:
        made = make(name="test", base_url=server.url, key=key(), timeouts=QUICK)
        try:
            yield made, server
        finally:
            made.close()


def answer_of(make: Callable[..., Any], behave: Callable[[Answer], None], **more: Any) -> Heard:
    """Asks a server that behaves so; returns what was heard."""
    with at(make, behave) as (made, server):
        chunks = list(made.stream(asked(**more), call()))
        return Heard(chunks, server.requests[-1])


def body_of(make: Callable[..., Any], behave: Callable[[Answer], None], **more: Any) -> Any:
    """Returns the body that a question becomes."""
    return answer_of(make, behave, **more).asked.body


class Heard:
    """The chunks of an answer, and the request that they answer."""

    def __init__(self, chunks: list[Chunk], request: Answer) -> None:
        self.chunks, self.asked = chunks, request
        assert isinstance(chunks[-1], Finished)
        self.end = chunks[-1]

    def text(self, stream: str = "text") -> str:
        return "".join(
            c.text for c in self.chunks if isinstance(c, TextChunk) and c.stream == stream
        )

    @property
    def pieces(self) -> list[ToolCallChunk]:
        return [c for c in self.chunks if isinstance(c, ToolCallChunk)]

    def rebuilt(self) -> list[tuple[str, str, str]]:
        """The calls as somebody puts them together who sees the pieces alone."""
        made: dict[int, list[str]] = {}
        for piece in self.pieces:
            row = made.setdefault(piece.index, ["", "", ""])
            row[0] += piece.id
            row[1] += piece.name
            row[2] += piece.arguments
        return [(a, b, c) for _, (a, b, c) in sorted(made.items())]

    def whole(self) -> list[tuple[str, str, str]]:
        return [(c.id, c.name, c.arguments) for c in self.end.tool_calls]
