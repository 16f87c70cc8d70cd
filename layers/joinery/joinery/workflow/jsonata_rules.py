"""What expressions may use, what of it is linear, and how refusals read.

Standard library only: this module is imported where nodes run.
"""

from __future__ import annotations

import difflib
from typing import Any, Final

from joinery.workflow.paths import ROOTS
from joinery.workflow.syntax import ExpressionSyntax

DEPTH_MAX: Final = 300
"""Deepest syntax tree: what the evaluator walks within Python's own limits."""

LINEAR: Final = frozenset({
    "abs", "append", "assert", "average", "boolean", "ceil", "contains", "count", "error",
    "exists", "floor", "join", "keys", "length", "lookup", "lowercase", "max", "merge", "millis",
    "min", "not", "now", "number", "power", "reverse", "round", "split", "sqrt", "string",
    "substring", "substringAfter", "substringBefore", "sum", "trim", "type", "uppercase",
})  # fmt: skip
"""Functions whose work and result are linear in their arguments."""

# With these, a second argument that is data could multiply the size of the first.
LITERAL_REST: Final = frozenset({"join", "split"})

# Without all arguments these take the context, at the root everything in scope.
CONTEXT_ARGUMENTS: Final = {
    "boolean": 1, "clone": 1, "each": 2, "keys": 1, "lookup": 2, "not": 1, "sift": 2,
    "spread": 1, "string": 1,
}  # fmt: skip

LITERALS: Final = frozenset({"string", "number", "value"})


def filtered(node: Any) -> bool:
    """Whether filters follow a step."""
    return bool(node.stages or node.predicate)


def looks_up(step: Any) -> bool:
    """Whether a step only looks up, so that it adds nothing to what is there."""
    return step.type in ("name", "wildcard")


def constant_indexes(step: Any) -> list[int] | None:
    """Returns the constant indexes behind a name, or None when there is another filter."""
    found: list[int] = []
    for stage in step.stages or ():
        if stage.type != "filter" or stage.expr.type != "number":
            return None
        found.append(int(stage.expr.value))
    return found


def tame(pattern: str) -> bool:
    """Whether a regular expression takes linear time on any text.

    Without repetition and with few choices it tries each position a bounded number of
    times. Everything else is run where it can be killed.
    """
    return not any(char in pattern for char in "*+{") and sum(map(pattern.count, "?|")) <= 6


def refuse_name(name: str) -> None:
    """Refuses names of functions and variables that are not for expressions.

    Raises:
        ExpressionSyntax: It is one of them.
    """
    if name == "eval":
        raise ExpressionSyntax(
            "$eval is not allowed: text is never evaluated", code="expression.not_allowed"
        )
    if name.startswith("__"):
        raise ExpressionSyntax(
            f"the name ${name} is reserved", code="expression.not_allowed", hint="rename it"
        )


def dynamic(what: str) -> ExpressionSyntax:
    """Returns the error for a use of `nodes` that does not name the node."""
    return ExpressionSyntax(
        f"'{what}' could read any node: what an expression reads must be known before a run",
        code="expression.dynamic_node",
        hint="name each node: nodes.judge.output, loop.previous.judge.output",
    )


def unknown_root(name: str) -> ExpressionSyntax:
    """Returns the error for a name that no scope has."""
    close = difflib.get_close_matches(name, ROOTS, n=1)
    hint = f"did you mean {close[0]}?" if close else "quote it if it is text: '...'"
    return ExpressionSyntax(
        f"'{name}' is not known here; an expression begins with {', '.join(ROOTS)}",
        code="expression.unknown_name",
        hint=hint,
    )
