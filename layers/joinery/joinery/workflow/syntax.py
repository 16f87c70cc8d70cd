"""The text around expressions: where `{{ ... }}` begins and ends.

Standard library only: this module is imported where nodes run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

OPEN: Final = "{{"

_QUOTES: Final = "\"'`"
_OPENERS: Final = "([{"
_CLOSERS: Final = ")]}"
_OPERATOR_WORD: Final = re.compile(r"(?:^|[^\w$])(?:and|or|in)$")

EXPRESSION_CHARS: Final = 10_000
"""Longest expression: far above what a person writes, low enough to parse at once."""


SHOWN_CHARS: Final = 200
"""An expression is shown up to here in messages about it."""


class ExpressionSyntax(ValueError):
    """An expression cannot be used.

    Attributes:
        code: Stable name of the rule, such as `expression.syntax`.
        message: What is wrong.
        hint: What to write instead; may be empty.
        offset: 0-based position in the template's text, in code points.
        source: The expression, where it is known.
    """

    def __init__(
        self,
        message: str,
        *,
        offset: int = 0,
        code: str = "expression.syntax",
        hint: str = "",
        source: str = "",
    ) -> None:
        super().__init__(f"{{{{ {source} }}}}: {message}" if source else message)
        self.message = message
        self.offset = offset
        self.code = code
        self.hint = hint
        self.source = source

    def inside(self, source: str, offset: int) -> ExpressionSyntax:
        """Returns the same error of an expression that stands at `offset` in a template."""
        begins = offset + len(source) - len(source.lstrip())
        shown = " ".join(source.split())
        if len(shown) > SHOWN_CHARS:
            shown = shown[: SHOWN_CHARS - 1] + "…"
        return ExpressionSyntax(
            self.message,
            offset=self.offset + begins,
            code=self.code,
            hint=self.hint,
            source=shown,
        )


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a template: literal text, or the source of an expression.

    Attributes:
        text: The literal text, or what stands between the braces.
        expression: Whether it is an expression.
        offset: Where `text` begins in the template.
    """

    text: str
    expression: bool
    offset: int


def split(text: str) -> list[Piece]:
    """Returns the pieces of a template in order.

    Raises:
        ExpressionSyntax: An expression is not closed.
    """
    pieces: list[Piece] = []
    position = 0
    while True:
        start = text.find(OPEN, position)
        if start < 0:
            break
        if start > position:
            pieces.append(Piece(text[position:start], False, position))
        end = _closing(text, start)
        pieces.append(Piece(text[start + 2 : end], True, start + 2))
        position = end + 2
    if position < len(text):
        pieces.append(Piece(text[position:], False, position))
    return pieces


def escape(text: str) -> str:
    """Returns a template that renders to exactly `text`, whatever is put behind it."""
    escaped = text.replace(OPEN, '{{ "{{" }}')
    return escaped[:-1] + '{{ "{" }}' if escaped.endswith("{") else escaped


def _closing(text: str, start: int) -> int:
    """Returns where the `}}` stands that belongs to the `{{` at `start`."""
    position = start + 2
    open_brackets: list[str] = []
    while position < len(text):
        if position - start > EXPRESSION_CHARS:
            raise ExpressionSyntax(
                f"the expression at character {start + 1} is longer than {EXPRESSION_CHARS} "
                "characters, or is never closed",
                offset=start,
                code="limit.expression",
                hint="split it over several transform nodes",
            )
        char = text[position]
        if char in _QUOTES:
            position = _after_quoted(text, position, start)
            continue
        if text.startswith("/*", position):
            position = _after(text, "*/", position + 2, start, "a comment")
            continue
        if char == "/" and _starts_regex(text, start + 2, position):
            position = _after_regex(text, position, start)
            continue
        if char in _OPENERS:
            open_brackets.append(char)
        elif char in _CLOSERS:
            if char == "}" and not open_brackets and text.startswith("}}", position):
                return position
            # A bracket that does not match is the parser's to explain; here it only
            # must not hide the end of the expression.
            wanted = _OPENERS[_CLOSERS.index(char)]
            if open_brackets and open_brackets[-1] == wanted:
                open_brackets.pop()
            elif text.startswith("}}", position):
                return position
        position += 1
    raise _unclosed(start)


def _unclosed(start: int, what: str = "") -> ExpressionSyntax:
    inside = f" ({what} inside it does not end)" if what else ""
    return ExpressionSyntax(
        f"'{{{{' at character {start + 1} is never closed{inside}",
        offset=start,
        hint="close it with '}}'; to show two braces as text, write {{ \"{{\" }}",
    )


def _after(text: str, ending: str, position: int, start: int, what: str) -> int:
    found = text.find(ending, position)
    if found < 0:
        raise _unclosed(start, what)
    return found + len(ending)


def _after_quoted(text: str, position: int, start: int) -> int:
    quote = text[position]
    if quote == "`":
        return _after(text, "`", position + 1, start, "a quoted name")
    position += 1
    while position < len(text):
        if text[position] == "\\":
            position += 2
            continue
        if text[position] == quote:
            return position + 1
        position += 1
    raise _unclosed(start, "a quoted text")


def _starts_regex(text: str, first: int, position: int) -> bool:
    """Whether a `/` begins a regular expression: where no operand stands before it."""
    end = position
    while end > first and text[end - 1].isspace():
        end -= 1
    if end == first or _OPERATOR_WORD.search(text[max(first, end - 4) : end]):
        return True
    return not (text[end - 1].isalnum() or text[end - 1] in "_$)]}\"'`")


def _after_regex(text: str, position: int, start: int) -> int:
    depth = 0
    position += 1
    while position < len(text):
        char = text[position]
        if char == "\\":
            position += 2
            continue
        if char == "/" and depth <= 0:
            return position + 1
        depth += (char in _OPENERS) - (char in _CLOSERS)
        position += 1
    raise _unclosed(start, "a regular expression")
