"""A run of two writers whose streams are cut, and what a reader makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

SOURCE = """\
version: 1
name: cut_streams
nodes:
  talk: {type: llm, prompt: hi}
  back: {type: llm, prompt: hi}
edges:
  - start -> talk, back -> end
"""
TEXTS = {"talk": "Grüße 🌿 " * 120, "back": "wörter 👩‍👩‍👧 " * 100}
CASSETTE = [{"node": node, "text": text, "tokens_per_second": 40} for node, text in TEXTS.items()]

CUTS = (0.55, 0.97, 0.0, 0.4, None, 0.8)
"""How much of each answer comes before the connection is reset; None is all of it."""


def text_once(messages: Iterable[Mapping[str, Any]], node: str) -> str:
    """Puts a node's text together, of which each piece must come once and in its place."""
    text = ""
    for message in messages:
        if message["event"] == "text.delta" and message["node_id"] == node:
            assert message["data"]["offset"] == len(text), "a hole or a repeat"
            text += message["data"]["text"]
    return text
