"""Parses JSONata with jsonata-python, whose quirks end here.

Standard library only; jsonata-python is imported when the first expression needs it.
"""

from __future__ import annotations

import copy
import sys
from functools import lru_cache
from typing import Any, Final

from joinery.workflow.syntax import ExpressionSyntax

COPIES_MAX: Final = 10_000
"""Objects copied for `??` and `?:`, which triple what stands left of them."""


@lru_cache(maxsize=1)
def library_class() -> Any:
    """Imports jsonata-python's evaluator class, undoing what the import changes."""
    limit = sys.getrecursionlimit()
    from jsonata.jsonata import Jsonata as Library

    from joinery.workflow.jsonata_lists import keeping_lists

    # The import raises the limit to 10,000 for the whole process.
    sys.setrecursionlimit(limit)
    return keeping_lists(Library)


class _Copier:
    """Copies parts of a syntax tree, as often as is reasonable."""

    def __init__(self, parser: Any) -> None:
        self._parser = parser
        self._copied = 0

    def own(self, node: Any) -> Any:
        """Returns a copy that shares nothing but the parser."""
        memo: dict[int, Any] = {id(self._parser): self._parser}
        result = copy.deepcopy(node, memo)
        self._copied += len(memo)
        if self._copied > COPIES_MAX:
            raise ExpressionSyntax("too many ?? or ?: inside each other", code="limit.expression")
        return result


def _parser() -> Any:
    """Returns a parser in which `a[1] ?? b` means what it says.

    jsonata-python 0.7 processes the left side of `??` and `?:` twice in place, so that
    its filters apply twice: `a[1] ?? 0` becomes `a[1][1]`. Here each use has its own
    copy. `?:` also asks for existence first, which tells it from a plain condition.
    """
    from jsonata import parser as library

    parser = library.Parser()
    copies = _Copier(parser)

    def symbol(kind: str, **attributes: Any) -> Any:
        made = library.Parser.Symbol(parser)
        made.type = kind
        for name, value in attributes.items():
            setattr(made, name, value)
        return made

    class Choice(library.Parser.Infix):  # type: ignore[misc]  # the library has no types
        def led(self, left: Any) -> Any:
            exists = symbol("variable", value="exists")
            there = symbol("function", value="(", procedure=exists, arguments=[copies.own(left)])
            if self.id == "?:":
                there = symbol("binary", value="and", lhs=there, rhs=copies.own(left))
            self.type = "condition"
            self.condition = there
            self.then = copies.own(left)
            self._else = parser.expression(0)
            return self

    for name in ("??", "?:"):
        previous = parser.symbol_table.pop(name)
        parser.register(Choice(parser, name, previous.lbp))
    return parser


def compile_source(source: str) -> Any:
    """Returns the library's compiled form of an expression.

    Raises:
        ExpressionSyntax: It is malformed, too deep or too long.
    """
    library = library_class()
    library.PARSER.parser = _parser()  # where its constructor looks for one
    try:
        return library(source)
    except RecursionError:
        raise too_deep() from None
    except ExpressionSyntax:
        raise
    except Exception as error:  # on odd input its tokenizer raises IndexError and others
        position = getattr(error, "location", None)
        offset = position if isinstance(position, int) and position > 0 else 0
        raise ExpressionSyntax(
            explain(error),
            offset=min(offset, len(source)),
            hint="paths are written nodes.judge.output.score; anything more is JSONata",
        ) from error


def too_deep() -> ExpressionSyntax:
    """Returns the error for an expression that no parser of ours can walk."""
    return ExpressionSyntax("the expression is nested too deeply", code="limit.expression")


def explain(error: Exception) -> str:
    """Returns the library's message, without the traces of how it was ported."""
    match error:
        case ZeroDivisionError():
            return "division by zero"
        case RecursionError():
            return "it calls itself without end"
        case MemoryError():
            return "it needs too much memory"
        case IndexError():
            return "it ends too early"
    text = str(error).replace(" of Object ", " of function $")
    return text or type(error).__name__
