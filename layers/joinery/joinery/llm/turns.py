"""Conversations for providers that take turns: of one side everything together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from joinery.llm.types import Message


def turns_of(
    messages: Iterable[Message],
    parts: Callable[[Message], list[dict[str, Any]]],
    *,
    assistant: str = "assistant",
    key: str = "content",
) -> list[dict[str, Any]]:
    """Returns messages as turns: results of calls are part of a user's turn.

    Args:
        messages: The conversation; what the system says goes elsewhere.
        parts: Returns a message as the provider takes it.
        assistant: What the provider calls the model's side.
        key: What it calls the parts of a turn.
    """
    turns: list[dict[str, Any]] = []
    for message in messages:
        if message.role == "system":
            continue
        role = assistant if message.role == "assistant" else "user"
        said = parts(message)
        if turns and turns[-1]["role"] == role:
            turns[-1][key].extend(said)
        elif said:
            turns.append({"role": role, key: said})
    return turns
