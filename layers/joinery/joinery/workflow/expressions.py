"""Expressions: `{{ ... }}` in texts and conditions.

A template is literal text and expressions. Its values are put in **once**: a value
that itself contains `{{` is text and never evaluated. Paths are resolved directly,
everything else is JSONata (`jsonata_eval`).

How a value becomes text: text as it is, anything else as compact JSON (`null`,
`true`, `3`, `["a","b"]`), letters of every script unescaped, and whole numbers
without `.0`.

Standard library only: this module is imported where nodes run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from joinery.errors import PermanentExpression
from joinery.workflow.jsonata_eval import OUTPUT_CHARS, TIMEOUT_S, EvaluationError
from joinery.workflow.kinds import Expression, parse_expression
from joinery.workflow.paths import DictScope, Missing, Reference, Scope, build_document
from joinery.workflow.syntax import ExpressionSyntax, escape, split

__all__ = [
    "DictScope",
    "ExpressionSyntax",
    "Missing",
    "Reference",
    "Scope",
    "Template",
    "Value",
    "build_document",
    "compile_value",
    "escape",
    "parse_template",
    "references",
    "syntax_errors",
    "to_text",
]

RENDERED_CHARS: Final = 4 * OUTPUT_CHARS
"""Longest rendered template."""

CACHED_CHARS: Final = 8_192


# -- templates --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Template:
    """Text with expressions in it.

    Attributes:
        text: The template as written.
        parts: Literal texts and expressions in order.
    """

    text: str
    parts: tuple[str | Expression, ...]

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """The expressions in order."""
        return tuple(part for part in self.parts if not isinstance(part, str))

    @property
    def references(self) -> frozenset[Reference]:
        """Everything that the expressions read."""
        return frozenset(r for expression in self.expressions for r in expression.references)

    @property
    def single(self) -> bool:
        """Whether it is exactly one expression, white space around it not counted."""
        literal = (part for part in self.parts if isinstance(part, str))
        return len(self.expressions) == 1 and not any(part.strip() for part in literal)

    def render(self, scope: Scope, *, timeout_s: float = TIMEOUT_S) -> str:
        """Returns the text with all values put in.

        Raises:
            PermanentExpression: An expression fails, or a value is missing and has no
                default.
        """
        pieces: list[str] = []
        left = RENDERED_CHARS
        for part in self.parts:
            piece = part if isinstance(part, str) else to_text(_evaluate(part, scope, timeout_s))
            left -= len(piece)
            if left < 0:
                raise PermanentExpression(
                    f"the text with all values put in is longer than {RENDERED_CHARS:,} characters",
                    limit=RENDERED_CHARS,
                )
            pieces.append(piece)
        return "".join(pieces)

    def value(self, scope: Scope, *, timeout_s: float = TIMEOUT_S) -> Any:
        """Returns the native value of a single expression, else the rendered text.

        Raises:
            PermanentExpression: As for `render`.
        """
        if self.single:
            return _evaluate(self.expressions[0], scope, timeout_s)
        return self.render(scope, timeout_s=timeout_s)


def _evaluate(expression: Expression, scope: Scope, timeout_s: float) -> Any:
    shown = f"{{{{ {expression.source} }}}}"
    try:
        return expression.evaluate(scope, timeout_s)
    except Missing as missing:
        what = "it has no value" if missing.path == expression.source else str(missing)
        raise PermanentExpression(
            f"{shown}: {what}; give a default with ??",
            expression=expression.source,
            path=missing.path,
        ) from None
    except EvaluationError as error:
        raise PermanentExpression(
            f"{shown}: {error}", expression=expression.source, reason=str(error)
        ) from error


def parse_template(text: str) -> Template:
    """Parses a template.

    Raises:
        ExpressionSyntax: The first thing wrong in it, with its offset.
    """
    # The same few are parsed over and over; long ones are not worth the memory.
    return _cached_template(text) if len(text) <= CACHED_CHARS else _parse_template(text)


def _parse_template(text: str) -> Template:
    parts: list[str | Expression] = []
    for piece in split(text):
        if not piece.expression:
            parts.append(piece.text)
            continue
        try:
            parts.append(parse_expression(piece.text))
        except ExpressionSyntax as error:
            raise error.inside(piece.text, piece.offset) from error
    return Template(text, tuple(parts))


_cached_template = lru_cache(maxsize=512)(_parse_template)


def syntax_errors(text: str) -> list[ExpressionSyntax]:
    """Returns everything that is wrong in a template, in order."""
    try:
        pieces = split(text)
    except ExpressionSyntax as error:
        return [error]
    found: list[ExpressionSyntax] = []
    for piece in pieces:
        if piece.expression:
            try:
                parse_expression(piece.text)
            except ExpressionSyntax as error:
                found.append(error.inside(piece.text, piece.offset))
    return found


def to_text(value: Any) -> str:
    """Returns a value as a template shows it."""
    if isinstance(value, str):
        return value
    return json.dumps(_whole(value), ensure_ascii=False, separators=(",", ":"))


def _whole(value: Any) -> Any:
    # Below 2**53 a float is exactly the whole number that it shows.
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, list | tuple):
        return [_whole(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _whole(item) for key, item in value.items()}
    return value


# -- nested values ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Value:
    """JSON data in which any text may be a template; keys are never templates."""

    data: Any

    @property
    def references(self) -> frozenset[Reference]:
        """Everything that the templates in it read."""
        found = (parse_template(text).references for text in texts_of(self.data))
        return frozenset(reference for group in found for reference in group)

    def value(self, scope: Scope, *, timeout_s: float = TIMEOUT_S) -> Any:
        """Returns the data with every template replaced by its value.

        Raises:
            PermanentExpression: An expression fails, or a value is missing.
        """
        return _fill(self.data, scope, timeout_s)


def compile_value(value: Any) -> Value:
    """Prepares nested JSON data whose texts may be templates.

    Raises:
        ExpressionSyntax: A template in it is malformed.
    """
    for text in texts_of(value):
        parse_template(text)
    return Value(value)


def references(value: Any) -> frozenset[Reference]:
    """Returns everything that a template, a text or nested data reads.

    Raises:
        ExpressionSyntax: A template in it is malformed.
    """
    if isinstance(value, Template | Value):
        return value.references
    return compile_value(value).references


def texts_of(value: Any) -> Iterator[str]:
    """Yields every text in nested data, keys not included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from texts_of(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts_of(item)


def _fill(value: Any, scope: Scope, timeout_s: float) -> Any:
    if isinstance(value, str):
        return parse_template(value).value(scope, timeout_s=timeout_s)
    if isinstance(value, Mapping):
        return {key: _fill(item, scope, timeout_s) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_fill(item, scope, timeout_s) for item in value]
    return value
