"""The calls of one model that a question takes: its limit, its breaker, its bad days."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from joinery.errors import (
    NodeError,
    Permanent,
    Transient,
    TransientOutputInvalid,
)
from joinery.llm import retrying
from joinery.llm.calls import ALONE
from joinery.llm.rates import Limit
from joinery.llm.types import Message, ModelRequest, Provider
from joinery.model_errors import TransientModelRateLimited
from joinery.nodes.base import NodeContext
from joinery.nodes.guard import estimate_of
from joinery.nodes.one_call import Answer, OneCall, Question, pause

OUTPUT_TOKENS_RESERVE: Final = 512
"""Room left for the answer when a prompt is fitted and `max_tokens` is not set."""

EMPTY_AGAIN: Final = 3
"""How often a model that answered nothing is asked the same again."""

TOLD_WAIT_S: Final = 1.0
"""A shorter wait is not told to viewers."""


class OneModel:
    """Asks one model, more than once where that may help.

    A call is repeated only as long as nothing of its answer was shown. What breaks later
    ends the attempt: the next one begins the text anew, so no text is shown twice.

    Args:
        context: The attempt.
        question: What is asked.
        ref: The model.
        stand_in: Whether another model is asked when this one fails.

    Attributes:
        shown: Whether text of an answer has reached the viewers.
        window: Tokens of the model's window, once it is known.
    """

    def __init__(
        self,
        context: NodeContext,
        question: Question,
        ref: Mapping[str, Any],
        *,
        stand_in: bool,
    ) -> None:
        self._context, self._question, self._ref = context, question, ref
        self._calls = context.calls
        self._stand_in = stand_in
        self._made = 0
        self.shown = False
        self.window: int | None = None

    def answer(self) -> Answer:
        """Returns the model's answer.

        Raises:
            RunCancelled: The run was cancelled meanwhile.
            RunSuspended: The run may call no model now, or its time was over meanwhile.
            NodeError: What went wrong in the last call, see `joinery.model_errors`.
        """
        provider, name = self._context.models.resolve(self._ref)
        self.window = provider.context_window(name)
        if self._question.round:
            from joinery.nodes import prompted_tools

            if prompted_tools.by_prompt(self._ref, name):
                return self._in_words(provider, name)
        return self._answered(provider, name)

    def _in_words(self, provider: Provider, name: str) -> Answer:
        """Asks a model that knows no tools, of which it is told in words."""
        from joinery.nodes import prompted_tools

        self._question = question = prompted_tools.asked(self._question)
        answer = self._answered(provider, name)
        if question.shown:
            return answer
        answer = prompted_tools.answered(answer)
        streams = self._context.streams
        streams.add("text", answer.text)  # only now is it known what it is
        for index, call in enumerate(answer.tool_calls):
            streams.add(f"call.{question.round}.{index}", call.arguments)
        return answer

    def _answered(self, provider: Provider, name: str) -> Answer:
        request = self._request(name)
        empty = 0
        while True:
            answer = self._patiently(provider, request)
            # An agent tells the model itself that it has said nothing.
            if not answer.empty or self._question.round or provider.name in ALONE:
                return answer
            empty += 1
            wrong = _nothing(provider.name, name, answer, empty)
            if answer.reason == "length" or empty > EMPTY_AGAIN or not self._may_repeat(wrong):
                raise wrong
            self._tell(provider.name, name, "empty_answer", 0.0, None)

    # -- the request -------------------------------------------------------------------

    def _request(self, name: str) -> ModelRequest:
        settings, question = self._ref, self._question
        return ModelRequest(
            model=name,
            messages=self._fitted(),
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

    def _fitted(self) -> tuple[Message, ...]:
        if self.window is None:
            return self._question.messages
        from joinery.llm.window import fit_messages

        fitted, cut = fit_messages(
            self._question.messages, self.window, self._reserve, self._question.fit
        )
        if cut is not None:
            self._context.emit(
                "input.cut", {"kept_chars": cut.kept_chars, "total_chars": cut.total_chars}
            )
        return tuple(fitted)

    @property
    def _reserve(self) -> int:
        return int(self._ref.get("max_tokens") or OUTPUT_TOKENS_RESERVE)

    @property
    def _own_limit(self) -> Limit | None:
        said = self._ref.get("limit")
        return Limit(said.get("requests"), said.get("tokens")) if said else None

    # -- several calls -----------------------------------------------------------------

    def _patiently(self, provider: Provider, request: ModelRequest) -> Answer:
        """Calls the model until it answers or nothing more is to be hoped of it."""
        first = self._made
        while True:
            permit = self._calls.admit(provider.name, request.model)
            down: bool | None = None
            try:
                self._wait_for_place(provider.name, request)
                answer = self._one_call(provider, request)
                down = False
                return answer
            except (Transient, Permanent) as error:
                if error.details.get("limit") != "own":
                    own = bool(self._ref.get("timeouts"))
                    down = retrying.counts_as_down(error, own_timeouts=own)
                    self._pass_on(provider.name, request.model, error)
                wait = self._wait_after(provider.name, error, self._made - first)
                if wait is None:
                    raise
                failure = error
            finally:
                self._calls.settle(permit, down=down)
            self._tell(provider.name, request.model, failure.code, wait, failure)
            pause(self._context, wait)

    def _wait_after(self, provider: str, error: NodeError, made: int) -> float | None:
        """Returns how long to wait before another call; None when there is to be none."""
        schedule = retrying.waits_after(error)
        if self._stand_in:
            schedule = schedule[: retrying.SHORT_TRIES - 1]
        if provider in ALONE or not 0 < made <= len(schedule) or not self._may_repeat(error):
            return None
        asked = retrying.asked_wait(error)
        wait = retrying.wait_s(schedule[made - 1], asked, self._calls.random())
        return wait if wait < self._most_s else None

    def _may_repeat(self, error: NodeError) -> bool:
        """Whether this attempt may call again.

        Where the attempt before has waited for its model already, the node's own `retry`
        is what goes on.
        """
        node = self._context.node
        return (
            not self.shown
            and node.attempts > 1
            and retrying.is_allowed(error, node.retry_errors)
            and not retrying.was_patient(self._context.before.code)
        )

    @property
    def _most_s(self) -> float:
        """Longest wait that leaves time for a call."""
        left = self._context.deadline - self._calls.now() - retrying.ROOM_S
        return max(0.0, min(left, retrying.PATIENCE_S) if self._stand_in else left)

    def _pass_on(self, provider: str, model: str, error: NodeError) -> None:
        """Tells the other workers when a server asks for a pause."""
        asked = retrying.asked_wait(error)
        if asked and isinstance(error, TransientModelRateLimited):
            self._calls.block(provider, model, self._own_limit, asked)

    def _wait_for_place(self, provider: str, request: ModelRequest) -> None:
        wait = self._calls.place(
            provider, request.model, self._own_limit, self._tokens(request), self._most_s
        )
        tell_wait(self._context, provider, request.model, wait, "limit")
        pause(self._context, wait)

    def _tokens(self, request: ModelRequest) -> int:
        from joinery.llm.window import estimate_prompt

        return estimate_prompt(request.messages) + self._reserve

    def _tell(
        self, provider: str, model: str, reason: str, wait: float, error: NodeError | None
    ) -> None:
        data: dict[str, Any] = {
            "attempt": self._context.attempt,
            "provider": provider,
            "model": model,
            "reason": reason,
            "calls": self._made,
            "wait_ms": round(wait * 1000),
        }
        if error is not None:
            data["error"] = error.to_dict()
        self._context.emit("model.retrying", data)

    def _one_call(self, provider: Provider, request: ModelRequest) -> Answer:
        """Calls the model once, within the run's budget."""
        context, question, price = self._context, self._question, self._ref.get("price")
        formal = question.schema is not None or not question.shown
        estimate = estimate_of(provider.name, request, price, formal=formal)
        reservation = context.guard.before(estimate)
        self._made += 1
        call = OneCall(context, question, self._ref, reservation, self._begins_to_show)
        return call.make(provider, request)

    def _begins_to_show(self) -> None:
        self.shown = True


def tell_wait(
    context: NodeContext, provider: str, model: str, wait: float, reason: Literal["limit", "asked"]
) -> None:
    """Tells viewers of a wait that is long enough to be noticed."""
    if wait >= TOLD_WAIT_S:
        data = {
            "attempt": context.attempt,
            "provider": provider,
            "model": model,
            "wait_ms": round(wait * 1000),
            "reason": reason,
        }
        context.emit("model.waiting", data)


def _nothing(provider: str, model: str, answer: Answer, times: int) -> TransientOutputInvalid:
    if answer.reason == "length":
        return TransientOutputInvalid(
            f"{provider}/{model} used up max_tokens before it had answered anything"
        )
    return TransientOutputInvalid(f"{provider}/{model} answered nothing, {times} times")
