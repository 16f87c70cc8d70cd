"""One call of a model by a node: what is asked, where the answer goes and what it used.

Every node that asks a model does it here, so that limits, budgets and fallbacks hold
for all of them alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from joinery.errors import RunCancelled
from joinery.llm.types import (
    CallContext,
    Finished,
    Message,
    ModelRequest,
    Provider,
    TextChunk,
    ToolCall,
    ToolCallChunk,
    ToolSpec,
    Usage,
)
from joinery.llm.window import estimate_prompt, estimate_specs, estimate_tokens, fit_messages
from joinery.model_errors import TransientModelStream
from joinery.nodes.base import NodeContext
from joinery.nodes.guard import EXPECTED_OUTPUT_TOKENS, MEDIA_TOKENS, CallEstimate

OUTPUT_TOKENS_RESERVE = 512
"""Room left for the answer when a prompt is fitted and `max_tokens` is not set."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a node asks.

    Attributes:
        model: Which model, and how it samples: `{provider?, name?, temperature?, …}`.
        messages: The whole conversation.
        fit: What happens to a prompt that the model's window does not hold.
        schema: JSON Schema that the answer must match.
        tools: What the model may call.
        tool_choice: `auto`, `none` or `required`.
        round: Which round of an agent it is: arguments of calls are shown under its number.
        shown: Whether viewers see the answer while it is made.
    """

    model: Mapping[str, Any]
    messages: tuple[Message, ...]
    fit: Literal["fail", "cut"] = "fail"
    schema: Mapping[str, Any] | None = None
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str = "auto"
    round: int = 0
    shown: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered.

    Attributes:
        text: The text of this call alone.
        usage: What it used.
        reason: Why it ended: `stop`, `length` or `tool_calls`.
        tool_calls: The calls that it asks for, in order.
        provider: Who answered.
        model: Its name there.
    """

    text: str
    usage: Usage
    reason: str
    tool_calls: tuple[ToolCall, ...]
    provider: str
    model: str


def ask_model(context: NodeContext, question: Question) -> Answer:
    """Asks a model, streams its text to the viewers of the node, and returns the answer.

    Raises:
        RunCancelled: The run was cancelled meanwhile.
        NodeError: What went wrong at the model, see `joinery.model_errors`.
    """
    settings = question.model
    provider, name = context.models.resolve(settings)
    request = ModelRequest(
        model=name,
        messages=_fit(context, provider.context_window(name), question),
        temperature=settings.get("temperature"),
        top_p=settings.get("top_p"),
        max_tokens=settings.get("max_tokens"),
        stop=tuple(settings.get("stop") or ()),
        seed=settings.get("seed"),
        schema=question.schema,
        tools=question.tools,
        tool_choice=question.tool_choice,
        reasoning=settings.get("reasoning"),
        schema_by=settings.get("schema_by"),
    )
    finished, text = _one_call(context, provider, request, question)
    if context.cancelled():
        raise RunCancelled("the run was cancelled while the model answered")
    if finished is None:
        raise TransientModelStream("the model's answer ended without an end")
    return Answer(
        text=text,
        usage=finished.usage,
        reason=finished.reason,
        tool_calls=finished.tool_calls,
        provider=provider.name,
        model=name,
    )


def _one_call(
    context: NodeContext,
    provider: Provider,
    request: ModelRequest,
    question: Question,
) -> tuple[Finished | None, str]:
    """Makes one call of one provider, within the run's budget, and streams its text."""
    price = question.model.get("price")
    estimate = CallEstimate(
        provider.name,
        request.model,
        estimate_prompt(request.messages)
        + estimate_specs(request.tools)
        + MEDIA_TOKENS * sum(len(message.media) for message in request.messages),
        request.max_tokens or EXPECTED_OUTPUT_TOKENS,
        price,
        formal=request.schema is not None or not question.shown,
    )
    reservation = context.guard.before(estimate)
    call = CallContext(
        node_id=context.node.id,
        path=context.path,
        call=context.next_call(),
        deadline=context.deadline,
        cancelled=context.cancelled,
    )
    finished: Finished | None = None
    said: list[str] = []
    called: list[str] = []
    try:
        for chunk in provider.stream(request, call):
            if isinstance(chunk, TextChunk):
                if question.shown:
                    context.streams.add(chunk.stream, chunk.text)
                if chunk.stream == "text":
                    said.append(chunk.text)
            elif isinstance(chunk, ToolCallChunk):
                if question.round:
                    context.streams.add(f"call.{question.round}.{chunk.index}", chunk.arguments)
                called.append(chunk.arguments)
            elif isinstance(chunk, Finished):
                finished = chunk
    finally:
        usage = finished.usage if finished else broken_usage(estimate, [*said, *called])
        context.meter.add(provider.name, request.model, usage, price)
        calls = finished.tool_calls if finished else ()
        context.guard.after(reservation, usage, "".join(said), calls)
    return finished, "".join(said)


def broken_usage(estimate: CallEstimate, said: Sequence[str]) -> Usage | None:
    """Returns what a call that broke has used, about; None where the model had not begun."""
    if not said:
        return None
    return Usage(estimate.prompt_tokens, estimate_tokens("".join(said)), estimated=True)


def _fit(context: NodeContext, window: int | None, question: Question) -> tuple[Message, ...]:
    if window is None:
        return question.messages
    reserve = question.model.get("max_tokens") or OUTPUT_TOKENS_RESERVE
    fitted, cut = fit_messages(question.messages, window, reserve, question.fit)
    if cut is not None:
        context.emit("input.cut", {"kept_chars": cut.kept_chars, "total_chars": cut.total_chars})
    return tuple(fitted)
