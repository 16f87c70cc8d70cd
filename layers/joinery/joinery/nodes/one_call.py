"""One call of a model: within the run's budget and its time, shown to the node's viewers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from joinery.errors import RunCancelled, RunSuspended
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
from joinery.model_errors import TransientModelStream
from joinery.nodes.base import NodeContext
from joinery.nodes.guard import Reservation, broken_usage


@dataclass(frozen=True, slots=True)
class Question:
    """What a node asks.

    Attributes:
        model: Which model, and how it samples: `{provider?, name?, temperature?, …}`, with
            `timeouts`, `limit` and `fallback`, more such models to ask when it fails.
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

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it."""
        return not self.text.strip() and not self.tool_calls


class _Cut(RunSuspended):
    """The run's time was over before the answer was complete."""


def _is_over(context: NodeContext) -> bool:
    """Whether nobody waits for an answer any more."""
    return context.cancelled() or context.guard.out_of_time()


def pause(context: NodeContext, seconds: float) -> None:
    """Waits before a model is asked.

    Raises:
        RunCancelled: The run was cancelled meanwhile.
        RunSuspended: Its time was over meanwhile.
    """
    if seconds <= 0 or context.calls.pause(seconds, lambda: _is_over(context)):
        return
    if context.cancelled():
        raise RunCancelled("the run was cancelled before the model was asked")
    raise context.guard.late()


@dataclass(frozen=True, slots=True)
class OneCall:
    """A call that the guard has allowed.

    Attributes:
        context: The attempt.
        question: What is asked.
        ref: The model, as the workflow says it.
        reservation: What the guard gave.
        began: Told when viewers are about to see something of the answer.
    """

    context: NodeContext
    question: Question
    ref: Mapping[str, Any]
    reservation: Reservation
    began: Callable[[], None]

    def make(self, provider: Provider, request: ModelRequest) -> Answer:
        """Calls the model and streams to the node's viewers.

        Whatever becomes of the call, the guard and the meter are told what it used.

        Raises:
            RunCancelled: The run was cancelled meanwhile.
            RunSuspended: The run's time was over before the answer was complete.
            NodeError: What went wrong at the model.
        """
        try:
            return self._answer(provider, request)
        except _Cut:
            # Only now what the call has used is counted.
            raise self.context.guard.late() from None

    def _answer(self, provider: Provider, request: ModelRequest) -> Answer:
        context, price = self.context, self.ref.get("price")
        call = CallContext(
            node_id=context.node.id,
            path=context.path,
            call=context.next_call(),
            deadline=context.deadline,
            cancelled=lambda: _is_over(context),
            timeouts=self.ref.get("timeouts") or {},
        )
        finished: Finished | None = None
        said: list[str] = []
        came: list[str] = []
        try:
            with context.trace.call(provider.name, request, call.call) as span:
                for chunk in provider.stream(request, call):
                    if isinstance(chunk, Finished):
                        finished = chunk
                        continue
                    span.began()
                    self._show(chunk)
                    came.append(chunk.text if isinstance(chunk, TextChunk) else chunk.arguments)
                    if isinstance(chunk, TextChunk) and chunk.stream == "text":
                        said.append(chunk.text)
                if context.cancelled():
                    raise RunCancelled("the run was cancelled while the model answered")
                if finished is None:
                    if context.guard.out_of_time():
                        raise _Cut("the run's time was over while the model answered")
                    raise TransientModelStream("the model's answer ended without an end")
                span.answered("".join(said), finished)
        finally:
            usage = finished.usage if finished else broken_usage(self.reservation.estimate, came)
            context.meter.add(provider.name, request.model, usage, price)
            asked = finished.tool_calls if finished else ()
            context.guard.after(self.reservation, usage, "".join(said), asked)
        return Answer(
            text="".join(said),
            usage=finished.usage,
            reason=finished.reason,
            tool_calls=finished.tool_calls,
            provider=provider.name,
            model=request.model,
        )

    def _show(self, chunk: TextChunk | ToolCallChunk) -> None:
        """Gives viewers what they are to see of a chunk."""
        question = self.question
        if isinstance(chunk, TextChunk):
            stream, text, seen = chunk.stream, chunk.text, question.shown
        else:
            stream, text = f"call.{question.round}.{chunk.index}", chunk.arguments
            seen = question.round > 0
        if seen and text:
            self.began()
            self.context.streams.add(stream, text)
