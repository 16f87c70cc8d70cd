"""Values in Python code that exist when a workflow runs: paths, and what is made of them.

A handle knows the workflow it belongs to and writes itself as the file writes it:
`str(verdict.output.score)` is `{{ nodes.verdict.output.score }}`.
"""

from __future__ import annotations

import json
from typing import Any, Never

from joinery.workflow.paths import Path, path_text


class Owner:
    """The workflow that handles belong to; told apart by identity.

    Attributes:
        name: The workflow's name.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Expression:
    """A value that a run computes: comparisons of handles give one, and so do handles.

    `<`, `<=`, `>`, `>=`, `==` and `!=` compare; `&`, `|` and `~` are `and`, `or` and
    `not`. As text it is `{{ ... }}`.

    Raises:
        TypeError: Python asks it for a truth (`if`, `and`, `or`, `not`, `a < b < c`):
            it has none before the workflow runs.
    """

    __slots__ = ("_owner", "_simple", "_source")

    def __init__(self, owner: Owner, source: str, *, simple: bool = False) -> None:
        self._owner = owner
        self._source = source
        self._simple = simple

    def __str__(self) -> str:
        return f"{{{{ {self._source} }}}}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._source}>"

    def __bool__(self) -> Never:
        raise TypeError(
            f"'{self._source}' has no value before the workflow runs; "
            "combine expressions with &, | and ~, each comparison in parentheses"
        )

    def _combined(self, operator: str, other: object) -> Expression:
        return Expression(self._owner_with(other), f"{operand(self)} {operator} {operand(other)}")

    def _owner_with(self, other: object) -> Owner:
        # The stranger's owner, so that the workflow that gets the result notices it.
        if isinstance(other, Expression) and other._owner is not self._owner:
            return Owner(f"{self._owner.name} and {other._owner.name}")
        return self._owner

    def __lt__(self, other: object) -> Expression:
        return self._combined("<", other)

    def __le__(self, other: object) -> Expression:
        return self._combined("<=", other)

    def __gt__(self, other: object) -> Expression:
        return self._combined(">", other)

    def __ge__(self, other: object) -> Expression:
        return self._combined(">=", other)

    def __eq__(self, other: object) -> Expression:  # type: ignore[override]  # as < does: an expression, no bool
        return self._combined("=", other)

    def __ne__(self, other: object) -> Expression:  # type: ignore[override]  # as < does: an expression, no bool
        return self._combined("!=", other)

    __hash__ = object.__hash__

    def __and__(self, other: object) -> Expression:
        return self._combined("and", other)

    def __or__(self, other: object) -> Expression:
        return self._combined("or", other)

    def __invert__(self) -> Expression:
        return Expression(self._owner, f"$not({self._source})", simple=True)


class _Defaultable(Expression):
    """A value that may be missing."""

    __slots__ = ()

    def default(self, value: object) -> DefaultedValue:
        """Returns the value, or this one where it is missing (`?? value`).

        Args:
            value: A JSON value, or the handle of another value.

        Raises:
            TypeError: It is neither.
        """
        shown = operand(value)
        return DefaultedValue(self._owner_with(value), f"{self._source} ?? {shown}")


class DefaultedValue(_Defaultable):
    """A value with a default; may take a further one when the default is a handle."""

    __slots__ = ()


class ValueHandle(_Defaultable):
    """The value at a path: an input, a result, or a part of one.

    Attributes and indexes lead to its parts: `x.output.items[0].name`. Names that
    Python cannot write, that begin with `_`, or `default`, stand in brackets:
    `x.output["first name"]`.
    """

    __slots__ = ("_path",)

    def __init__(self, owner: Owner, path: Path) -> None:
        super().__init__(owner, path_text(path), simple=True)
        self._path = path

    def __getattr__(self, name: str) -> ValueHandle:
        if name.startswith("_"):  # Python's own protocols ask for such names
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, step: str | int) -> ValueHandle:
        if isinstance(step, bool) or not isinstance(step, str | int):
            raise TypeError(f"a part of '{self._source}' has a name or a whole number")
        return ValueHandle(self._owner, (*self._path, step))

    # Without these, Python would count through __getitem__ without end.
    __iter__ = None
    __contains__ = None


def operand(value: Any) -> str:
    """Returns a value as an expression writes it beside an operator.

    Raises:
        TypeError: It is neither the handle of a value nor JSON.
    """
    if isinstance(value, Expression):
        return value._source if value._simple else f"({value._source})"
    if value == "":
        return "''"  # may stand in a text in double quotes
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        raise TypeError(f"{value!r} is neither the handle of a value nor JSON") from None
