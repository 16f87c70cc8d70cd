"""Formats pieces of workflow files for tests; what is formatted must stay as it is."""

from __future__ import annotations

from textwrap import dedent

from joinery.workflow.formatting import format_text


def form(text: str) -> str:
    formatted = format_text(dedent(text))
    assert format_text(formatted) == formatted
    return formatted


def becomes(before: str, after: str) -> None:
    assert form(before) == dedent(after)


def node(text: str) -> str:
    """Formats the value of a key in a node, and returns what stands at that key."""
    lines = form(f"nodes:\n  a:\n    x: {text}\n").split("\n")
    assert lines[:2] == ["nodes:", "  a:"]
    return "\n".join(line[4:] for line in lines[2:-1]).removeprefix("x: ")
