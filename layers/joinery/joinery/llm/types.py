"""What a node asks of a model, and what a provider gives back while it streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Media:
    """An image or another file that a message carries.

    Attributes:
        mime_type: Such as `image/png` or `application/pdf`.
        data: Its bytes.
        name: What it is called, for people.
    """

    mime_type: str
    data: bytes = field(repr=False)
    name: str = ""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as a model sees it: `parameters` is the JSON Schema of its arguments."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that a model asks for.

    Attributes:
        id: What its result names it by; unique in the conversation.
        name: The tool, as the model wrote it: there may be none of this name.
        arguments: JSON, as the model wrote it: it may not parse.
        opaque: What the provider wants back with the call, word for word; nobody else reads it.
    """

    id: str
    name: str
    arguments: str
    opaque: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation.

    Attributes:
        role: `system`, `user`, `assistant` or `tool`.
        content: Its text.
        media: Files that a user's message carries.
        tool_calls: What an assistant's message asks for.
        tool_call_id: Of a tool's message: the call that it answers.
        is_error: Of a tool's message: whether the call failed.
    """

    role: str
    content: str
    media: tuple[Media, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    is_error: bool = False


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
        tools: What the model may call.
        tool_choice: `auto`, `none` (it must answer) or `required` (it must call).
        reasoning: How much the model thinks first: `none`, `low`, `medium` or `high`, or
            None for the provider's default.
        schema_by: How the schema is asked for: `native` (the provider's own way), `tool` (a
            forced call whose arguments are the answer), `json` (any JSON; the prompt has to
            ask for it), or None for what suits the provider.
    """

    model: str
    messages: tuple[Message, ...]
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    schema: Mapping[str, Any] | None = None
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str = "auto"
    reasoning: str | None = None
    schema_by: str | None = None


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
        timeouts: What the model's ref says of `connect`, `first_token` and `idle`, in
            seconds; the provider's own limits hold for the rest.
    """

    node_id: str
    path: str
    call: int
    deadline: float
    cancelled: Callable[[], bool] = field(default=lambda: False)
    timeouts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TextChunk:
    """A piece of the answer; `stream` is `text` or `reasoning`."""

    text: str
    stream: str = "text"


@dataclass(frozen=True, slots=True)
class ToolCallChunk:
    """A piece of a call that the model is writing.

    Attributes:
        index: Which of the answer's calls, from 0: pieces of several may alternate.
        id: The call's id, in its first piece; `""` where the provider has none.
        name: The tool's name, in its first piece.
        arguments: The next piece of its arguments as JSON.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call.

    Attributes:
        input_tokens: Of the whole prompt, cached ones included.
        output_tokens: Of the whole answer, reasoning included.
        cached_tokens: Those of the prompt that were read from the provider's cache.
        reasoning_tokens: Those of the answer that were reasoning.
        estimated: Marks counts that the provider did not report.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = False
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.estimated or other.estimated,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


@dataclass(frozen=True, slots=True)
class Finished:
    """The last thing a provider yields.

    Attributes:
        usage: What the call used.
        reason: `stop`, `length` or `tool_calls`.
        tool_calls: All calls that the answer asks for, whole and in order.
    """

    usage: Usage
    reason: str = "stop"
    tool_calls: tuple[ToolCall, ...] = ()


Chunk = TextChunk | ToolCallChunk | Finished


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Vectors of texts, in their order, and what making them used."""

    vectors: tuple[tuple[float, ...], ...]
    usage: Usage


class Provider(Protocol):
    """A source of model answers.

    `stream` yields pieces of text and of calls and, last and always, one `Finished`.
    It raises the `Transient…` and `Permanent…` errors of `joinery.model_errors`. It
    never retries: whoever calls it decides that, so that text is never repeated.
    """

    name: str

    def stream(self, request: ModelRequest, call: CallContext) -> Iterator[Chunk]:
        """Calls the model and yields its answer as it arrives."""
        ...

    def context_window(self, model: str) -> int | None:
        """Returns the model's window in tokens, or None when unknown."""
        ...


class Embedder(Protocol):
    """A source of embeddings.

    It raises the same errors as a `Provider`, and never retries.
    """

    name: str

    def embed(self, model: str, texts: Sequence[str]) -> Embeddings:
        """Returns a vector for each text, in their order; texts are sent in batches.

        Raises:
            NodeError: See `joinery.model_errors`.
        """
        ...
