"""What an agent and its model have said, and how it is made shorter when it grows too long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from joinery.llm.types import Message, ToolSpec
from joinery.llm.window import estimate_prompt, estimate_specs
from joinery.tools.cutting import shortened

KEPT: Final = ((2, 2), (1, 1), (0, 1))
"""How many exchanges stay word for word, at the beginning and at the end; as many as fit."""

HEAD_TOKENS: Final = 8_192
TAIL_TOKENS: Final = 16_384

RESULT_CHARS: Final = (10_000, 5_000, 2_500, 1_000, 500)
"""What long results are shortened to when nothing else helps, the mildest first."""

OUTPUT_TOKENS: Final = 8_192
"""Room for the answer in a large window."""

SUMMARY_CHARS: Final = 20_000

_LINE_CHARS: Final = 300


@dataclass(frozen=True, slots=True)
class Exchange:
    """An answer of the model and what followed it: results of tools, words of people."""

    answer: Message
    after: tuple[Message, ...] = ()

    @property
    def messages(self) -> tuple[Message, ...]:
        """All of it, in order."""
        return (self.answer, *self.after)


@dataclass(slots=True)
class Conversation:
    """The conversation of one agent.

    Attributes:
        opening: Persona and prompt: never shortened.
        head: The first exchanges, once there is a summary.
        summary: What stands for those in the middle.
        tail: All exchanges, or those after the summary.
        result_chars: What results are shortened to; 0 for not at all.
    """

    opening: tuple[Message, ...]
    head: list[Exchange] = field(default_factory=list)
    summary: str = ""
    tail: list[Exchange] = field(default_factory=list)
    result_chars: int = 0

    def messages(self) -> tuple[Message, ...]:
        """Returns all of it as the model is given it."""
        return tuple(self._messages())

    def _messages(self) -> Iterator[Message]:
        yield from self.opening
        for exchange in self.head:
            yield from self._shown(exchange)
        if self.summary:
            yield Message("user", f"[What was done in between, in short:]\n{self.summary}")
        for exchange in self.tail:
            yield from self._shown(exchange)

    def _shown(self, exchange: Exchange) -> Iterator[Message]:
        for message in exchange.messages:
            if self.result_chars and message.role == "tool":
                yield replace(message, content=shortened(message.content, self.result_chars))
            else:
                yield message

    def tokens(self) -> int:
        """Returns about how many tokens it has."""
        return estimate_prompt(self.messages())

    # -- making it shorter -------------------------------------------------------------

    def middle(self, keep: tuple[int, int]) -> list[Exchange]:
        """Returns the exchanges that a summary would stand for."""
        return self._split(keep)[1]

    def _split(
        self, keep: tuple[int, int]
    ) -> tuple[list[Exchange], list[Exchange], list[Exchange]]:
        first, last = keep
        begin, rest = (self.head, self.tail) if self.summary else (self.tail, [])
        rest = [*begin[first:], *rest]
        place = max(0, len(rest) - last)
        return begin[:first], rest[:place], rest[place:]

    def best_keep(self, limit: int) -> tuple[int, int] | None:
        """Returns how much can be kept with a summary of the rest; None if there is no rest."""
        found = None
        for keep in KEPT:
            if not self.middle(keep):
                continue
            found = keep
            first, _, last = self._split(keep)
            head = estimate_prompt([m for e in first for m in e.messages])
            tail = estimate_prompt([m for e in last for m in e.messages])
            short = replace(self, head=first, summary="", tail=last)
            room = limit - limit // 4
            if head <= HEAD_TOKENS and tail <= TAIL_TOKENS and short.tokens() <= room:
                return keep
        return found

    def compact(self, keep: tuple[int, int], summary: str) -> int:
        """Puts a summary in the place of the middle; returns how many exchanges that was."""
        self.head, middle, self.tail = self._split(keep)
        self.summary = summary
        return len(middle)

    def shorten_results(self, limit: int) -> bool:
        """Shortens long results as little as helps; returns whether any became shorter."""
        before, current = self.tokens(), self.result_chars
        for chars in RESULT_CHARS:
            if current and chars >= current:
                continue
            self.result_chars = chars
            if self.tokens() <= limit:
                break
        return self.tokens() < before

    def told(self, keep: tuple[int, int]) -> str:
        """Returns the middle as a text to be summed up."""
        parts = [f"Before: {self.summary}"] if self.summary else []
        for exchange in self.middle(keep):
            parts += list(_lines(exchange, SUMMARY_CHARS))
        return "\n".join(parts)

    def listed(self, keep: tuple[int, int]) -> str:
        """Returns the middle as a list of what was called and what came of it."""
        parts = [self.summary] if self.summary else []
        for exchange in self.middle(keep):
            parts += list(_lines(exchange, _LINE_CHARS))
        return shortened("\n".join(parts), SUMMARY_CHARS)


def _lines(exchange: Exchange, chars: int) -> Iterator[str]:
    if exchange.answer.content:
        yield f"Said: {shortened(exchange.answer.content, chars)}"
    names: dict[str, str] = {}
    for call in exchange.answer.tool_calls:
        names[call.id] = call.name
        yield f"Called {call.name}({shortened(call.arguments, chars)})"
    for message in exchange.after:
        who = names.get(message.tool_call_id, "the user")
        failed = " failed" if message.is_error else ""
        yield f"{who}{failed}: {shortened(message.content, chars)}"


def limit_of(window: int, tools: Sequence[ToolSpec], model: Mapping[str, Any]) -> int:
    """Returns how many tokens a conversation may have in a window.

    Room is kept for the answer, for the tools, and for what an estimate gets wrong.
    """
    specs = estimate_specs(tools)
    output = max(int(model.get("max_tokens") or 0), min(OUTPUT_TOKENS, window // 4))
    return max(window // 4, min(window * 9 // 10, window - output - 512) - specs)
