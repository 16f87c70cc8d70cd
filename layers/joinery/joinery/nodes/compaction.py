"""Keeps an agent's conversation inside its model's window, and says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from joinery.errors import Permanent, Transient
from joinery.llm.types import Message
from joinery.llm.window import estimate_tokens
from joinery.nodes.asking import Question, ask_model
from joinery.nodes.base import NodeContext
from joinery.nodes.conversation import SUMMARY_CHARS, Conversation
from joinery.tools.cutting import shortened

RECOVERIES: Final = 8
"""How often a conversation is shortened because the model refused it as too long."""

_ASK: Final = (
    "You keep notes for an agent whose conversation has grown too long. Sum up what "
    "follows: what was found, with names, numbers and sources, what was done, what failed, "
    "and what is still open. Write plain text, no more than is needed to go on."
)


class Compactor:
    """Shortens one conversation.

    Args:
        context: The attempt.
        conversation: What is shortened.
        note: Stores what was done before it counts: `(round, entry)`.
    """

    def __init__(
        self,
        context: NodeContext,
        conversation: Conversation,
        note: Callable[[int, Mapping[str, Any]], None],
    ) -> None:
        self._context, self._conversation, self._note = context, conversation, note

    def replay(self, entry: Mapping[str, Any]) -> None:
        """Does again what an earlier attempt has done."""
        if entry["keep"] is not None:
            first, last = entry["keep"]
            self._conversation.compact((first, last), entry["summary"])
        self._conversation.result_chars = int(entry["result_chars"])

    def fit(self, round_: int, limit: int) -> bool:
        """Makes the conversation fit a number of tokens, as far as it can be done.

        Returns:
            Whether it became shorter.
        """
        talk = self._conversation
        before = talk.tokens()
        if before <= limit:
            return False
        keep = talk.best_keep(limit)
        by, count, summary = "cut", 0, ""
        if keep is not None:
            by, summary = self._summary(keep, limit)
            count = talk.compact(keep, summary)
        if talk.tokens() > limit:
            talk.shorten_results(limit)
        after = talk.tokens()
        if after >= before and keep is None:
            return False
        self._note(
            round_, {"keep": keep, "summary": summary, "result_chars": talk.result_chars}
        )  # fmt: skip
        self._context.emit(
            "context.compacted",
            {
                "round": round_,
                "exchanges": count,
                "before_tokens": before,
                "after_tokens": after,
                "by": by,
            },
        )
        return True

    def _summary(self, keep: tuple[int, int], limit: int) -> tuple[str, str]:
        """Returns who wrote a summary of the middle, and the summary."""
        context, talk = self._context, self._conversation
        chars = min(SUMMARY_CHARS, limit)
        question = Question(
            {**context.node.spec["model"], "max_tokens": max(64, limit // 4)},
            (Message("system", _ASK), Message("user", talk.told(keep))),
            fit="cut",
            shown=False,
        )
        try:
            text = ask_model(context, question).text.strip()
        except (Transient, Permanent):
            text = ""  # the list that we make ourselves will do
        if text and estimate_tokens(text) <= max(64, limit // 2):
            return "model", shortened(text, SUMMARY_CHARS)
        return "list", shortened(talk.listed(keep), chars)
