"""Windows of hosted models, in tokens, as their makers publish them."""

from __future__ import annotations

import re
from typing import Final

# The first that fits counts. Where versions of a family differ, the smallest stands.
_WINDOWS: Final = (
    # https://platform.openai.com/docs/models
    (r"^gpt-5", 400_000),
    (r"^gpt-4\.1", 1_047_576),
    (r"^gpt-4o|^gpt-4-turbo|^chatgpt-4o", 128_000),
    (r"^gpt-4", 8_192),
    (r"^gpt-3\.5", 16_385),
    (r"^o[134]", 128_000),
    # https://docs.claude.com/en/docs/about-claude/models/overview
    (r"claude", 200_000),
    # https://ai.google.dev/gemini-api/docs/models
    (r"^gemini-", 1_048_576),
    # https://api-docs.deepseek.com/quick_start/pricing
    (r"^deepseek-", 128_000),
)


def known_window(model: str) -> int | None:
    """Returns the window of a hosted model by its name, None when it is not known here."""
    name = model.lower()
    for pattern, window in _WINDOWS:
        if re.search(pattern, name):
            return window
    return None
