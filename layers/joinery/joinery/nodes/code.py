"""Nodes that run code that users write: `code` and `tool`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from joinery import limits
from joinery.code_errors import (
    PermanentCodeArguments,
    PermanentCodePackage,
    PermanentCodeTimeout,
    PermanentCodeTooLarge,
)
from joinery.nodes.base import NodeContext, NodeResult
from joinery.sandbox.types import CodeRequest, PackageRef
from joinery.strictjson import to_json
from joinery.workflow.expressions import compile_value

SCHEMA_PROBLEMS = 5
"""Most problems of arguments that one message tells."""


def call(context: NodeContext) -> NodeResult:
    """Calls the function; what it returns is `output`, and `text` when it is text."""
    spec = context.node.spec
    arguments = dict(spec["preset"])
    arguments.update(compile_value(spec["arguments"]).value(context.scope))
    _check_size(arguments)
    if spec["schema"] is not None:
        check_arguments(arguments, spec["schema"])
    left = context.deadline - time.monotonic()
    if left <= 0:
        raise PermanentCodeTimeout("there was no time left to run the code")
    package = package_of(context, spec)
    request = CodeRequest(spec["code"], spec["function"], arguments, left, package)
    with context.trace.tool(spec["function"]) if context.node.type == "tool" else nullcontext():
        outcome = context.code.run(request, context.cancelled)
    result: dict[str, Any] = {"output": outcome.output}
    if isinstance(outcome.output, str):
        result["text"] = outcome.output
    if outcome.stdout:
        result["stdout"] = outcome.stdout
    return NodeResult(result)


def package_of(context: NodeContext, spec: Mapping[str, Any]) -> PackageRef | None:
    """Returns the packages that a node or a tool may import, by what its plan is pinned to.

    Raises:
        PermanentCodePackage: It requires some, and the plan has none for it.
    """
    key = spec.get("package")
    if key is None:
        return None
    pinned = context.plan.packages.get(key)
    if pinned is None:
        raise PermanentCodePackage("the packages of the code were not built")
    return PackageRef(context.owner, pinned["sha256"], pinned["bytes"])


def _check_size(arguments: Mapping[str, Any]) -> None:
    size = len(to_json(arguments))
    if size > limits.CODE_ARGUMENTS_BYTES:
        raise PermanentCodeTooLarge(
            f"the arguments have {size:,} bytes as JSON; the limit is "
            f"{limits.CODE_ARGUMENTS_BYTES:,}",
            limit=limits.CODE_ARGUMENTS_BYTES,
            actual=size,
        )


def check_arguments(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Checks the arguments of a tool against its parameters.

    Raises:
        PermanentCodeArguments: They do not match; says how.
    """
    from jsonschema import Draft202012Validator

    wrong = [
        f"{'/'.join(str(part) for part in error.absolute_path) or 'arguments'}: {error.message}"
        for error in Draft202012Validator(dict(schema)).iter_errors(dict(arguments))
    ]
    if wrong:
        shown = "; ".join(one[:300] for one in wrong[:SCHEMA_PROBLEMS])
        raise PermanentCodeArguments(f"the arguments do not match the tool's parameters: {shown}")
