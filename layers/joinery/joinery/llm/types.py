"""What a node asks of a model, and what a provider gives back while it streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation; `role` is `system`, `user` or `assistant`."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One call of a model.

    Attributes:
        model: The provider's name of the model.
        messages: The whole conversation; nothing is added to it.
        temperature: Sampling temperature, or None for the provider's default.
        top_p: Nucleus sampling, or None for the provider's default.
        max_tokens: Most tokens of the answer, or None for the provider's default.
        stop: Texts that end the answer.
        seed: Seed for sampling, or None.
        schema: JSON Schema that the answer must match, or None for free text.
    """

    model: str
    messages: tuple[Message, ...]
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class CallContext:
    """Where a call comes from and how long it may take.

    Attributes:
        node_id: The node that calls.
        path: Its loop rounds and item indexes.
        call: 1-based number of the model call within this node and path, over all attempts.
        deadline: `time.monotonic()` at which the call must have ended.
        cancelled: Polled between chunks; when it returns True the provider closes
            the connection and stops yielding.
    """

    node_id: str
    path: str
    call: int
    deadline: float
    cancelled: Callable[[], bool] = field(default=lambda: False)


@dataclass(frozen=True, slots=True)
class TextChunk:
    """A piece of the answer; `stream` is `text` or `reasoning`."""

    text: str
    stream: str = "text"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call. `estimated` marks counts that the provider did not report."""

    input_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = False

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.estimated or other.estimated,
        )


@dataclass(frozen=True, slots=True)
class Finished:
    """The last thing a provider yields. `reason` is `stop`, `length` or `tool_calls`."""

    usage: Usage
    reason: str = "stop"


Chunk = TextChunk | Finished


class Provider(Protocol):
    """A source of model answers.

    `stream` yields text chunks and, last and always, one `Finished`. It raises
    the `Transient…` and `Permanent…` model errors of `joinery.errors`. It never
    retries: an attempt is the engine's unit, so that text is never repeated.
    """

    name: str

    def stream(self, request: ModelRequest, call: CallContext) -> Iterator[Chunk]:
        """Calls the model and yields its answer as it arrives."""
        ...

    def context_window(self, model: str) -> int | None:
        """Returns the model's window in tokens, or None when unknown."""
        ...
