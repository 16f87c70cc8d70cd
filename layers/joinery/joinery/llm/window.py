"""Making a prompt fit the model's window, and saying so when it had to be cut.

Sizes are estimates: the tokenizer of a model is known to its server only. The
weights below were compared with the tokenizer of SmolLM2 (a small vocabulary,
so it needs more tokens than those of large models):

    text                       estimate / real tokens
    English, Markdown, code    1.0 to 1.3
    Russian, Arabic, Hindi     1.0 to 1.2
    Chinese, Japanese          0.8 to 0.9
    German                     0.7
    JSON of numbers, emoji     0.7
    digits, hex, base64        0.4 to 0.5

Large models need fewer tokens than SmolLM2, so for them the estimate is on the
safe side. What slips through is refused by the server, as the same error.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from joinery.llm.types import Message, ToolSpec
from joinery.model_errors import PermanentContextTooLong

Fit = Literal["fail", "cut"]

# Letters and spaces count a quarter of a token, other ASCII characters a half,
# and every byte of a character outside ASCII a half (so é is 1, 中 is 1.5, 😀 is 2).
_LIGHT = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz "
_QUARTERS_LIGHT, _QUARTERS_OTHER = 1, 2

# What a chat template adds to each message, and once at the end.
TOKENS_PER_MESSAGE = 8
TOKENS_FOR_REPLY = 4

_BLOCK_CHARS = 4096
_LONGEST_CLUSTER = 64


@dataclass(frozen=True, slots=True)
class Cut:
    """What was taken out of a prompt, counted in characters of the one message that was cut."""

    kept_chars: int
    total_chars: int


def estimate_tokens(text: str) -> int:
    """Returns about how many tokens `text` has; see the module's head for how well."""
    return -(-_quarters(text) // 4)


def estimate_prompt(messages: Sequence[Message]) -> int:
    """Returns about how many tokens a conversation has, with what a chat template adds."""
    texts = sum(estimate_tokens(m.content) + TOKENS_PER_MESSAGE for m in messages)
    calls = sum(estimate_tokens(c.name + c.arguments) for m in messages for c in m.tool_calls)
    return texts + calls + TOKENS_FOR_REPLY


def estimate_specs(tools: Sequence[ToolSpec]) -> int:
    """Returns about how many tokens what a model is told of its tools has."""
    return sum(estimate_tokens(f"{t.name} {t.description} {t.parameters}") for t in tools)


def fit_messages(
    messages: Sequence[Message], window: int | None, reserve: int, mode: Fit
) -> tuple[tuple[Message, ...], Cut | None]:
    """Makes a conversation fit, or refuses it, before the model is called.

    Args:
        messages: The whole conversation.
        window: The model's window in tokens; None when unknown, then nothing is checked.
        reserve: Tokens of the window that are kept for the answer.
        mode: `fail` refuses what does not fit; `cut` keeps head and tail of the
            longest user message, with a line between them that says how much is missing.

    Returns:
        The messages to send, and what was cut (None when nothing was).

    Raises:
        PermanentContextTooLong: It does not fit, and mode is `fail` or cutting one
            message is not enough. Names both sizes.
    """
    whole = tuple(messages)
    needed = estimate_prompt(whole)
    if window is None or needed <= window - reserve:
        return whole, None
    if mode == "fail":
        raise _too_long(needed, window, reserve)
    users = [i for i, m in enumerate(whole) if m.role == "user"]
    if not users:
        raise _too_long(needed, window, reserve)
    longest = max(users, key=lambda i: _quarters(whole[i].content))
    text = whole[longest].content
    spare = window - reserve - (needed - estimate_tokens(text))
    shorter = _cut(text, spare)
    if shorter is None:
        raise _too_long(needed, window, reserve)
    content, kept = shorter
    message = replace(whole[longest], content=content)
    return (*whole[:longest], message, *whole[longest + 1 :]), Cut(kept, len(text))


def _too_long(needed: int, window: int, reserve: int) -> PermanentContextTooLong:
    kept = f", of which {reserve} are kept for the answer" if reserve else ""
    return PermanentContextTooLong(
        f"The prompt has about {needed} tokens; the model's window has {window}{kept}",
        prompt_tokens=needed,
        window_tokens=window,
        reserved_tokens=reserve,
        estimated=True,
    )


def _quarters(text: str) -> int:
    raw = text.encode("utf-8", "surrogatepass")
    other = len(raw.translate(None, _LIGHT))
    return (len(raw) - other) * _QUARTERS_LIGHT + other * _QUARTERS_OTHER


def _cut(text: str, tokens: int) -> tuple[str, int] | None:
    """Returns the shortened text and how many of its characters were kept, or None."""
    marker = _marker(len(text))
    budget = tokens * 4 - _quarters(marker)
    if budget < 0:
        return None
    head = _whole_clusters(text, _prefix(text, budget // 2), step=-1)
    # What the head leaves unused goes to the tail.
    rest = budget - _quarters(text[:head])
    tail = _whole_clusters(text, len(text) - _prefix(text[head:][::-1], rest), step=1)
    if head + len(text) - tail <= 0:
        return None
    kept = head + len(text) - tail
    return text[:head] + _marker(len(text) - kept) + text[tail:], kept


def _marker(missing: int) -> str:
    return f"\n[… {missing} characters cut …]\n"


def _prefix(text: str, budget: int) -> int:
    """Returns how many characters from the start cost at most `budget` quarters."""
    position = 0
    while position < len(text):
        block = text[position : position + _BLOCK_CHARS]
        cost = _quarters(block)
        if cost > budget:
            break
        budget -= cost
        position += len(block)
    for char in text[position : position + _BLOCK_CHARS]:
        budget -= _quarters(char)
        if budget < 0:
            break
        position += 1
    return position


def _whole_clusters(text: str, position: int, step: int) -> int:
    """Moves a cut outwards to where it does not tear apart what is seen as one character."""
    for moved in range(_LONGEST_CLUSTER):
        here = position + step * moved
        if not 0 < here < len(text) or not _joined(text[here - 1], text[here]):
            return max(0, min(here, len(text)))
    return position


def _joined(before: str, after: str) -> bool:
    """Whether two neighbours belong together (a good part of Unicode's annex 29)."""
    return (
        unicodedata.category(after).startswith("M")  # accents and variation selectors
        or "\u200d" in (before, after)  # zero width joiner
        or 0x1F3FB <= ord(after) <= 0x1F3FF  # skin tones
        or (_is_flag_letter(before) and _is_flag_letter(after))
        or (before == "\r" and after == "\n")
        or (0xD800 <= ord(before) <= 0xDBFF and 0xDC00 <= ord(after) <= 0xDFFF)
    )


def _is_flag_letter(char: str) -> bool:
    return 0x1F1E6 <= ord(char) <= 0x1F1FF
