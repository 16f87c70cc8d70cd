"""What stands before each call of a model: budgets and the breaker of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from joinery.errors import RunSuspended

if TYPE_CHECKING:
    from joinery.llm.types import ModelRequest, ToolCall, Usage

EXPECTED_OUTPUT_TOKENS: Final = 1_024
"""Kept free for an answer whose length nothing bounds."""

MEDIA_TOKENS: Final = 1_600
"""Of an image or another file in a prompt, about: providers bill large images so."""


@dataclass(frozen=True, slots=True)
class CallEstimate:
    """What a call of a model may come to.

    Attributes:
        provider: Who is asked.
        model: The model's name there.
        prompt_tokens: Tokens of the whole prompt, about.
        output_tokens: Most tokens of the answer, or as many as are expected.
        price: The price that the workflow gives the model: `{input, output, cached_input?}`.
        formal: Whether its form is given, or nobody is shown it: such answers are alike.
    """

    provider: str
    model: str
    prompt_tokens: int
    output_tokens: int = EXPECTED_OUTPUT_TOKENS
    price: Mapping[str, Any] | None = None
    formal: bool = False


@dataclass(frozen=True, slots=True)
class Reservation:
    """A call that was allowed; `after` is told of it whatever becomes of the call.

    Attributes:
        estimate: What was asked for.
        call: Number of the call in this attempt of the node, from 1.
        tokens: What was taken from the budget.
        pico: The same in picodollars.
        held: Whether anything was taken.
    """

    estimate: CallEstimate
    call: int = 0
    tokens: int = 0
    pico: int = 0
    held: bool = False


def estimate_of(
    provider: str, request: ModelRequest, price: Mapping[str, Any] | None, *, formal: bool
) -> CallEstimate:
    """Returns what a call may come to.

    Args:
        provider: Who is asked.
        request: What is asked.
        price: The price that the workflow gives the model.
        formal: See `CallEstimate`.
    """
    from joinery.llm.window import estimate_prompt, estimate_specs

    media = sum(len(message.media) for message in request.messages)
    return CallEstimate(
        provider,
        request.model,
        estimate_prompt(request.messages) + estimate_specs(request.tools) + MEDIA_TOKENS * media,
        request.max_tokens or EXPECTED_OUTPUT_TOKENS,
        price,
        formal,
    )


def broken_usage(estimate: CallEstimate, came: Sequence[str]) -> Usage | None:
    """Returns what a call that broke has used, about; None where the model had not begun."""
    if not came:
        return None
    from joinery.llm.types import Usage
    from joinery.llm.window import estimate_tokens

    return Usage(estimate.prompt_tokens, estimate_tokens("".join(came)), estimated=True)


class Guard(Protocol):
    """Asked before and told after each call of a model, retries and fallbacks among them.

    While something is under way it is asked over and over whether the run has time left.
    """

    def before(self, estimate: CallEstimate) -> Reservation:
        """Allows a call.

        Raises:
            RunSuspended: The run may call no model now: it was paused, its budget is
                used up, or its breaker has tripped.
            RunCancelled: It was cancelled.
            PermanentModelUnpriced: A budget in dollars cannot hold a model without a price.
        """
        ...

    def after(
        self,
        reservation: Reservation,
        usage: Usage | None,
        text: str = "",
        tool_calls: Sequence[ToolCall] = (),
    ) -> None:
        """Notes how a call ended; never raises.

        Args:
            reservation: What `before` gave.
            usage: What the call used; None where it failed and nobody knows.
            text: What the model said.
            tool_calls: The calls that it asks for.
        """
        ...

    def out_of_time(self) -> bool:
        """Whether what is under way is to be left now, since the run's time is over.

        Once it is over it stays so. Most times it is asked, nothing is read.
        """
        ...

    def late(self) -> RunSuspended:
        """Suspends the run, whose time is over; returns what the node is to raise.

        Call it when `after` was told of the call that was left.
        """
        ...


class NoGuard:
    """Allows everything; for nodes of runs without budget and breaker."""

    def before(self, estimate: CallEstimate) -> Reservation:
        """See `Guard.before`."""
        return Reservation(estimate)

    def after(
        self,
        reservation: Reservation,
        usage: Usage | None,
        text: str = "",
        tool_calls: Sequence[ToolCall] = (),
    ) -> None:
        """See `Guard.after`."""

    def out_of_time(self) -> bool:
        """See `Guard.out_of_time`."""
        return False

    def late(self) -> RunSuspended:
        """See `Guard.late`."""
        return RunSuspended("the run's time is over")


class LateGuard:
    """A guard that is made when a model is first asked: most nodes ask none.

    Args:
        make: Returns the guard.
    """

    def __init__(self, make: Callable[[], Guard]) -> None:
        self._make = make
        self._guard: Guard | None = None

    def _made(self) -> Guard:
        self._guard = self._guard or self._make()
        return self._guard

    def before(self, estimate: CallEstimate) -> Reservation:
        """See `Guard.before`."""
        return self._made().before(estimate)

    def after(
        self,
        reservation: Reservation,
        usage: Usage | None,
        text: str = "",
        tool_calls: Sequence[ToolCall] = (),
    ) -> None:
        """See `Guard.after`."""
        if self._guard is not None:
            self._guard.after(reservation, usage, text, tool_calls)

    def out_of_time(self) -> bool:
        """See `Guard.out_of_time`."""
        return self._made().out_of_time()

    def late(self) -> RunSuspended:
        """See `Guard.late`."""
        return self._made().late()
