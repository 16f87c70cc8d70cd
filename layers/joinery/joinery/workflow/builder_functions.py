"""Python functions as nodes: what `flow.code` and `flow.tool` make of them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, ParamSpec, TypeVar, overload

from joinery.errors import InvalidWorkflow, Problem
from joinery.workflow.builder_draft import Draft
from joinery.workflow.builder_handles import AgentHandle, Endpoint, NodeHandle, Port
from joinery.workflow.builder_nodes import Nodes
from joinery.workflow.builder_source import Unusable, parameters_of, source_of
from joinery.workflow.builder_values import Expression
from joinery.workflow.expressions import ExpressionSyntax, parse_template
from joinery.workflow.ids import is_id
from joinery.workflow.report import node_of
from joinery.workflow.syntax import OPEN
from joinery.workflow.yaml_tree import escape_pointer

P = ParamSpec("P")
R = TypeVar("R")

_HANDLES: Final = (Expression, Endpoint, Port, AgentHandle)


class PythonFunction(Generic[P, R]):
    """A function that is also a kind of node.

    Called with plain values, it is the function itself: test it as any other. Called
    with a handle among its arguments, it adds a node that calls it when the workflow
    runs, and returns the node's handle; `node` adds one in any case.
    """

    def __init__(
        self,
        nodes: Nodes,
        function: Callable[P, R],
        add: Callable[[str, Mapping[str, Any], Mapping[str, Any]], NodeHandle],
        options: Mapping[str, Any],
    ) -> None:
        self._nodes, self._function, self._add, self._options = nodes, function, add, options
        functools.update_wrapper(self, function)

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    @overload
    def __call__(self, *args: Any, **kwargs: Any) -> NodeHandle: ...

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function, or adds a node that will."""
        if any(_is_later(value) for value in (*args, *kwargs.values())):
            given = inspect.signature(self._function).bind_partial(*args, **kwargs).arguments
            return self.node(None, **given)
        return self._function(*args, **kwargs)

    def node(self, node_id: str | None = None, /, **arguments: Any) -> NodeHandle:
        """Adds a node that calls the function.

        Args:
            node_id: Its id; the function's name, with a number where that is taken.
            arguments: The function's arguments: handles, texts with handles, plain data.
        """
        return self._add(node_id or self._free_id(), arguments, self._options)

    def options(self, **options: Any) -> PythonFunction[P, R]:
        """Returns the same function for nodes with other options, as every node takes them."""
        return PythonFunction(self._nodes, self._function, self._add, {**self._options, **options})

    def _free_id(self) -> str:
        name = self._function.__name__
        number, found = 1, name
        while self._nodes.has(found):
            number += 1
            found = f"{name}_{number}"
        return found


def _is_later(value: Any) -> bool:
    """Whether a value is known only when the workflow runs."""
    if isinstance(value, _HANDLES):
        return True
    if isinstance(value, Mapping):
        return any(_is_later(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(_is_later(item) for item in value)
    if isinstance(value, str) and OPEN in value:
        try:
            return bool(parse_template(value).references)  # a handle in an f-string
        except ExpressionSyntax:
            return False
    return False


def code_function(
    nodes: Nodes,
    function: Callable[P, R],
    options: Mapping[str, Any],
    requirements: Sequence[str] = (),
) -> PythonFunction[P, R]:
    """Returns a function whose nodes carry its source, and what it requires.

    Raises:
        InvalidWorkflow: It cannot be taken alone; with all reasons.
    """
    name = getattr(function, "__name__", "code")
    try:
        source = source_of(function, packages=bool(requirements))
    except Unusable as error:
        raise _invalid(name, error, f"/nodes/{escape_pointer(name)}/code") from None
    called = name
    if not is_id(name):  # Python has names in any script, a workflow has not
        source, called = f"{source}\n\nmain = {name}\n", "main"

    def add(node_id: str, given: Mapping[str, Any], more: Mapping[str, Any]) -> NodeHandle:
        return nodes.code(
            node_id, source, function=called, inputs=given, requirements=requirements, **more
        )

    return PythonFunction(nodes, function, add, options)


def tool_function(
    draft: Draft,
    nodes: Nodes,
    function: Callable[P, R],
    options: Mapping[str, Any],
    said: Mapping[str, Any],
) -> PythonFunction[P, R]:
    """Declares a tool that is a function, and returns what adds nodes that call it.

    Raises:
        InvalidWorkflow: It cannot be taken alone, or has parameters without a schema.
    """
    name = getattr(function, "__name__", "tool")
    pointer = f"/tools/{escape_pointer(name)}"
    reasons: list[tuple[str, str]] = []
    source, parameters = "", {}
    try:
        source = source_of(function, packages="requirements" in said)
    except Unusable as error:
        reasons += error.reasons
    try:
        parameters = parameters_of(function)
    except Unusable as error:
        reasons += error.reasons
    except TypeError as error:  # it has no signature at all
        reasons = reasons or [(str(error), "")]
    if reasons:
        raise _invalid(name, Unusable(*reasons), pointer)
    described = inspect.getdoc(function)
    spec: dict[str, Any] = {"description": described} if described else {}
    if parameters:
        spec["parameters"] = parameters
    draft.put("tools", name, {**spec, **said, "code": source})

    def add(node_id: str, given: Mapping[str, Any], more: Mapping[str, Any]) -> NodeHandle:
        return nodes.tool(node_id, tool=name, arguments=given, **more)

    return PythonFunction(nodes, function, add, options)


def _invalid(name: str, error: Unusable, pointer: str) -> InvalidWorkflow:
    return InvalidWorkflow(
        [
            Problem("builder.function", f"function '{name}': {message}", hint,
                    node_id=node_of(pointer), pointer=pointer)
            for message, hint in error.reasons
        ]
    )  # fmt: skip
