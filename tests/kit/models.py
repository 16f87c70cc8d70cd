"""A model whose every answer is a function of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from joinery.llm.types import CallContext, Chunk, Finished, ModelRequest, TextChunk, Usage

Answer = Callable[[ModelRequest, CallContext], Iterator[str] | str]


@dataclass
class Says:
    """Implements both `Models` and `Provider`."""

    answer: Answer
    window: int | None = None
    name: str = "says"
    calls: list[tuple[str, str, int]] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)

    def resolve(self, ref: Mapping[str, Any]) -> tuple[Says, str]:
        return self, "says-1"

    def context_window(self, model: str) -> int | None:
        return self.window

    def stream(self, request: ModelRequest, call: CallContext) -> Iterator[Chunk]:
        self.calls.append((call.node_id, call.path, call.call))
        self.prompts.append(request.messages[-1].content)
        words = self.answer(request, call)
        count = 0
        for word in [words] if isinstance(words, str) else words:
            if call.cancelled():
                return
            count += 1
            yield TextChunk(word)
        yield Finished(Usage(len(request.messages[-1].content.split()), count))
