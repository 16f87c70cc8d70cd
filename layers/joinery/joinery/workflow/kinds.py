"""The three kinds of expression: constants, paths, and JSONata for anything more.

Standard library only: this module is imported where nodes run.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol

from joinery.workflow.jsonata_eval import Jsonata, parse
from joinery.workflow.jsonata_parse import too_deep
from joinery.workflow.paths import (
    NOTHING,
    PATH,
    Missing,
    NeedsJsonata,
    Path,
    Reference,
    Scope,
    path_text,
    read_path,
    unit_of,
    walk,
)
from joinery.workflow.syntax import ExpressionSyntax

CONSTANT_DEPTH: Final = 64
"""Deepest constant: as deep as a workflow file may nest."""


class Expression(Protocol):
    """One parsed expression."""

    @property
    def source(self) -> str:
        """Its text."""
        ...

    @property
    def references(self) -> frozenset[Reference]:
        """What it reads."""
        ...

    def evaluate(self, scope: Scope, timeout_s: float) -> Any:
        """Returns its value.

        Raises:
            Missing: There is none.
            EvaluationError: It failed or passed a bound.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Constant:
    """A JSON value."""

    source: str
    constant: Any
    references: frozenset[Reference] = frozenset()

    def evaluate(self, scope: Scope, timeout_s: float) -> Any:
        return copy.deepcopy(self.constant)


@dataclass(frozen=True, slots=True)
class _PathExpression:
    """A path, with or without a constant default."""

    source: str
    path: Path
    default: Any = NOTHING

    @property
    def references(self) -> frozenset[Reference]:
        return frozenset({self._reference})

    @property
    def _reference(self) -> Reference:
        return Reference(str(self.path[0]), self.path[1:], self.default is not NOTHING)

    def evaluate(self, scope: Scope, timeout_s: float) -> Any:
        unit = unit_of(self._reference)
        try:
            value = walk(scope.lookup(unit), self.path[len(unit) :])
        except Missing:
            value = NOTHING
        except NeedsJsonata:
            value = _jsonata(path_text(self.path)).evaluate(scope, timeout_s)
        if value is not NOTHING:
            return value
        if self.default is NOTHING:
            raise Missing(path_text(self.path))
        return copy.deepcopy(self.default)


@dataclass(frozen=True, slots=True)
class _JsonataExpression:
    """Anything more."""

    source: str
    program: Jsonata

    @property
    def references(self) -> frozenset[Reference]:
        return frozenset(self.program.analysis.references)

    def evaluate(self, scope: Scope, timeout_s: float) -> Any:
        value = self.program.evaluate(scope, timeout_s)
        if value is NOTHING:
            raise Missing(self.source)
        return value


@lru_cache(maxsize=512)
def _jsonata(source: str) -> Jsonata:
    return parse(source)


def parse_expression(source: str) -> Expression:
    """Parses what stands between `{{` and `}}`.

    Raises:
        ExpressionSyntax: It is malformed, or uses something that is not allowed.
    """
    text = source.strip()
    if not text:
        raise ExpressionSyntax("an expression is empty", hint="write what it reads: {{ inputs.x }}")
    constant = _constant(text)
    if constant is not NOTHING:
        return _Constant(text, constant)
    found = PATH.match(text)
    if found:
        path = read_path(found.group())
        rest = text[found.end() :].strip()
        if path is not None and not rest:
            return _PathExpression(text, _literal(path))
        if path is not None and rest.startswith("??"):
            default = _constant(rest[2:].strip())
            if default is not NOTHING:
                return _PathExpression(text, _literal(path), default)
    return _JsonataExpression(text, _jsonata(text))


def _literal(path: Path) -> Path:
    """Returns the path, or raises when it does not say which node it reads."""
    wanted = {"nodes": 2, "loop": 2}.get(str(path[0]), 1)
    if path[:2] == ("loop", "previous"):
        wanted = 3
    if len(path) < wanted or not all(isinstance(step, str) for step in path[:wanted]):
        raise ExpressionSyntax(
            f"'{path_text(path)}' does not say what it reads",
            code="expression.dynamic_node",
            hint="name it: nodes.judge.output, loop.round, loop.previous.judge.output",
        )
    return path


def _constant(text: str) -> Any:
    """Returns the JSON value, or the text in single quotes, that this is; else `NOTHING`."""
    if len(text) >= 2 and text[0] == text[-1] == "'" and not set("'\\") & set(text[1:-1]):
        return text[1:-1]
    try:
        value = json.loads(text, parse_constant=_no_number)
    except ValueError:
        return NOTHING
    except RecursionError:
        raise too_deep() from None
    if _nests(value):
        raise too_deep()
    return value


def _nests(value: Any) -> bool:
    """Whether a constant is nested deeper than a file may be."""
    level = [value]
    for _ in range(CONSTANT_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, list | dict)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True


def _no_number(name: str) -> Any:
    raise ValueError(name)  # NaN and Infinity are not JSON
