"""What a JSONata expression reads and what it may do, found in its syntax tree.

A run fetches exactly the results that the expressions of a node name, so nodes
must be named literally: `nodes.judge`, never `nodes[...]` or `$lookup(nodes, x)`.

Standard library only: this module is imported where nodes run.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from joinery.workflow.jsonata_rules import (
    CONTEXT_ARGUMENTS,
    DEPTH_MAX,
    LINEAR,
    LITERAL_REST,
    LITERALS,
    constant_indexes,
    dynamic,
    filtered,
    looks_up,
    refuse_name,
    tame,
    unknown_root,
)
from joinery.workflow.paths import ANSWER_ROOTS, ROOTS, Path, PathStep, Reference
from joinery.workflow.syntax import ExpressionSyntax


@dataclass(frozen=True, slots=True)
class Analysis:
    """What is known of an expression before it runs.

    Attributes:
        references: Everything it reads, sorted.
        required: Those that must have a value whenever the expression is evaluated.
        linear: Whether its work is bounded by the size of expression and data, so that
            it may run inside this process.
        depth: Depth of its syntax tree.
    """

    references: tuple[Reference, ...]
    required: tuple[Reference, ...]
    linear: bool
    depth: int


def analyse(ast: Any, builtins: Collection[str]) -> Analysis:
    """Returns what the expression reads.

    Args:
        ast: The tree that jsonata-python's parser made.
        builtins: Names of the functions it knows.

    Raises:
        ExpressionSyntax: It uses something that is not allowed.
    """
    walker = _Walker()
    walker.visit(ast, _Context())
    walker.check_names(builtins)
    merged: dict[tuple[str, Path], bool] = {}
    for reference in walker.references:
        key = (reference.root, reference.path)
        merged[key] = merged.get(key, True) and reference.optional
    references = [Reference(root, path, optional) for (root, path), optional in merged.items()]
    return Analysis(
        tuple(sorted(references, key=lambda r: (r.root, repr(r.path)))),
        tuple(dict.fromkeys(walker.required)),
        walker.linear,
        walker.deepest,
    )


@dataclass(frozen=True, slots=True)
class _Context:
    """Where in the tree the walker is.

    Attributes:
        root: Whether names are looked up in the scope, not in an item of a list.
        eager: Whether this part is evaluated whenever the expression is.
        optional: Whether a missing value is provided for.
        guarded: What is known to exist here, as (root, first names).
        depth: Number of nodes above.
    """

    root: bool = True
    eager: bool = True
    optional: bool = False
    guarded: frozenset[Path] = frozenset()
    depth: int = 0

    def item(self) -> _Context:
        return replace(self, root=False, eager=False, optional=False)

    def branch(self, guarded: Iterable[Path] = ()) -> _Context:
        return replace(self, eager=False, guarded=self.guarded | frozenset(guarded))


@dataclass(slots=True)
class _Walker:
    references: list[Reference] = field(default_factory=list)
    required: list[Reference] = field(default_factory=list)
    linear: bool = True
    deepest: int = 0
    bound: set[str] = field(default_factory=set)
    used: dict[str, bool] = field(default_factory=dict)

    def visit(self, node: Any, context: _Context) -> None:
        """Visits a node and what is attached to any kind of node."""
        if node is None:
            return
        context = replace(context, depth=context.depth + 1)
        self.deepest = max(self.deepest, context.depth)
        if context.depth > DEPTH_MAX:
            raise ExpressionSyntax("the expression is nested too deeply", code="limit.expression")
        handler = getattr(self, f"_{node.type}", None)
        if handler is None:
            raise ExpressionSyntax(
                f"'{node.value}' cannot be used here", code="expression.not_allowed"
            )
        handler(node, context)
        for stage in node.predicate or ():
            self.visit(stage.expr, context.item())
        if node.type != "path":
            self._attachments(node, context)

    def _attachments(self, node: Any, context: _Context) -> None:
        if node.group is not None:
            self.linear = False
            self._pairs(node.group.lhs_object, context.item())
        for name in (node.focus, node.index):
            if isinstance(name, str):
                self.linear = False
                self._bind(name)

    def check_names(self, builtins: Collection[str]) -> None:
        """Refuses names of functions and variables that nothing defines."""
        for name, called in self.used.items():
            if name in self.bound or name in builtins:
                continue
            kind = "function" if called else "variable"
            known = sorted({*builtins, *self.bound})
            close = difflib.get_close_matches(name, known, n=1)
            raise ExpressionSyntax(
                f"there is no {kind} ${name}",
                code="expression.unknown_name",
                hint=f"did you mean ${close[0]}?" if close else "",
            )

    # -- names and paths --------------------------------------------------------------

    def _path(self, node: Any, context: _Context) -> None:
        first = node.steps[0]
        start = 0
        if first.type == "variable" and (
            first.value == "$" or (first.value == "" and context.root)
        ):
            if len(node.steps) < 2 or node.steps[1].type != "name" or filtered(first):
                raise dynamic(f"${first.value}")
            start = 1
        elif not (first.type == "name" and context.root):
            self._steps(node.steps, context)
            self._attachments(node, context)
            return
        rest = self._reference(node.steps, start, context)
        self._steps(node.steps[rest:], context.item())
        self._attachments(node, context)

    def _reference(self, steps: Sequence[Any], start: int, context: _Context) -> int:
        """Notes what a path from the root reads; returns the index of the first step left."""
        path: list[PathStep] = []
        position = start
        while position < len(steps) and steps[position].type == "name":
            step = steps[position]
            path.append(str(step.value))
            position += 1
            indexes = constant_indexes(step)
            self._attachments(step, context)
            if indexes is None:
                for stage in step.stages:
                    self._stage(stage, context)
                break
            path.extend(indexes)
        self._note(tuple(path), context)
        return position

    def _note(self, path: Path, context: _Context) -> None:
        root = str(path[0])
        if root not in (*ROOTS, *ANSWER_ROOTS):
            raise unknown_root(root)
        names = tuple(step for step in path[:3])
        literal = 3 if names[:2] == ("loop", "previous") else 2 if root in ("nodes", "loop") else 1
        if len(names) < literal or not all(isinstance(step, str) for step in names[:literal]):
            raise dynamic(".".join(str(step) for step in names[: literal - 1]))
        guarded = any(path[: len(known)] == known for known in context.guarded)
        reference = Reference(root, path[1:], context.optional or guarded)
        self.references.append(reference)
        if context.eager and not reference.optional:
            self.required.append(reference)

    def _steps(self, steps: Sequence[Any], context: _Context) -> None:
        for position, step in enumerate(steps):
            here = context if position == 0 else context.item()
            if step.type == "sort":
                self.linear = False
                for term in step.terms:
                    self.visit(term.expression, here.item())
            else:
                # A step that builds something does so once for each item before it.
                self.linear = self.linear and ((position == 0 and context.root) or looks_up(step))
                if step.type == "name":
                    self._attachments(step, here)
                else:
                    self.visit(step, here)
            for stage in step.stages or ():
                self._stage(stage, here)

    def _stage(self, stage: Any, context: _Context) -> None:
        if stage.type == "index":
            self.linear = False
            self._bind(str(stage.value))
        else:
            self.visit(stage.expr, context.item())

    def _name(self, node: Any, context: _Context) -> None:
        if context.root:
            self._note((str(node.value),), context)

    def _wildcard(self, node: Any, context: _Context) -> None:
        if context.root:
            raise dynamic("*")

    def _descendant(self, node: Any, context: _Context) -> None:
        self.linear = False
        if context.root:
            raise dynamic("**")

    def _parent(self, node: Any, context: _Context) -> None:
        raise ExpressionSyntax(
            "the parent operator % is not allowed",
            code="expression.not_allowed",
            hint="write the whole path from its beginning: $$.nodes.x.output",
        )

    # -- values and operators ---------------------------------------------------------

    def _literal(self, node: Any, context: _Context) -> None:
        """Reads nothing."""

    _string = _number = _value = _literal

    def _regex(self, node: Any, context: _Context) -> None:
        self.linear = self.linear and tame(str(getattr(node.value, "pattern", "*")))

    def _operator(self, node: Any, context: _Context) -> None:
        """The `?` of a partial application."""

    def _binary(self, node: Any, context: _Context) -> None:
        self.visit(node.lhs, context)
        if node.value == "..":
            self.linear = False
        if node.value in ("and", "or"):
            known = _guards(node.lhs) if node.value == "and" else ()
            self.visit(node.rhs, context.branch(known))
        else:
            self.visit(node.rhs, context)

    def _unary(self, node: Any, context: _Context) -> None:
        if node.value == "{":
            self._pairs(node.lhs_object, context)
        for item in node.expressions or ():
            self.visit(item, context)
        self.visit(node.expression, context)

    def _pairs(self, pairs: Iterable[Sequence[Any]], context: _Context) -> None:
        for key, value in pairs:
            self.visit(key, context)
            self.visit(value, context)

    def _condition(self, node: Any, context: _Context) -> None:
        self.visit(node.condition, context)
        self.visit(node.then, context.branch(_guards(node.condition)))
        self.visit(node._else, context.branch())

    def _block(self, node: Any, context: _Context) -> None:
        for item in node.expressions:
            self.visit(item, context)

    # -- functions and variables ------------------------------------------------------

    def _function(self, node: Any, context: _Context) -> None:
        procedure = node.procedure
        name = procedure.value if procedure.type == "variable" else None
        if isinstance(name, str) and name not in ("", "$"):
            self._use(name, called=True)
            if context.root and len(node.arguments) < CONTEXT_ARGUMENTS.get(name, 0):
                raise dynamic(f"${name}() without all its arguments")
            rest = node.arguments[1:] if name in LITERAL_REST else ()
            plain = all(argument.type in LITERALS for argument in rest)
            if name not in LINEAR or not plain or (name == "now" and node.arguments):
                self.linear = False
        else:
            self.linear = False
            if procedure.type == "path" and len(procedure.steps) == 1:
                written = procedure.steps[0].value
                raise ExpressionSyntax(
                    f"'{written}(...)' is no function", hint=f"functions begin with $: ${written}"
                )
            self.visit(procedure, context)
        inner = replace(context, optional=True) if name == "exists" else context
        for argument in node.arguments:
            self.visit(argument, inner)

    _partial = _function

    def _variable(self, node: Any, context: _Context) -> None:
        if node.value == "$" or (node.value == "" and context.root):
            raise dynamic(f"${node.value}")
        if node.value:
            self.linear = False
            self._use(str(node.value), called=False)

    def _bind(self, node: Any, context: _Context | None = None) -> None:
        """Notes a name that the expression defines: a `:=` node, or the name alone."""
        self.linear = False
        name = node if isinstance(node, str) else str(node.lhs.value)
        refuse_name(name)
        self.bound.add(name)
        if not isinstance(node, str) and context is not None:
            self.visit(node.rhs, context)

    def _lambda(self, node: Any, context: _Context) -> None:
        self.linear = False
        for argument in node.arguments:
            self._bind(str(argument.value))
        self.visit(node.body, context.branch())

    def _apply(self, node: Any, context: _Context) -> None:
        self.linear = False
        self.visit(node.lhs, context)
        right = node.rhs
        called = right.type == "function" and right.procedure.type == "variable"
        if called and right.procedure.value not in ("", "$"):
            # The left side becomes the first argument, so none is missing here.
            self._use(str(right.procedure.value), called=True)
            for argument in right.arguments:
                self.visit(argument, context)
        else:
            self.visit(right, context)

    def _transform(self, node: Any, context: _Context) -> None:
        self.linear = False
        for part in (node.pattern, node.update, node.delete):
            self.visit(part, context.item())

    def _use(self, name: str, *, called: bool) -> None:
        refuse_name(name)
        self.used.setdefault(name, called)


def _guards(condition: Any) -> frozenset[Path]:
    """Returns what exists for certain when the condition holds, as (root, first names)."""
    if condition.type == "block" and len(condition.expressions) == 1:
        return _guards(condition.expressions[0])
    if condition.type == "binary" and condition.value == "and":
        return _guards(condition.lhs) | _guards(condition.rhs)
    if condition.type != "function" or condition.procedure.value != "exists":
        return frozenset()
    inner = _Walker()
    for argument in condition.arguments:
        inner.visit(argument, _Context())
    return frozenset(_anchor(reference) for reference in inner.required)


def _anchor(reference: Reference) -> Path:
    path = (reference.root, *reference.path)
    return path[:3] if reference.previous else path[:2]
