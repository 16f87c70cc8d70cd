"""What the plan says of nodes that run users' code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from joinery.workflow import model as m


def code_spec(node: m.CodeNode | m.ToolNode, workflow: m.Workflow) -> dict[str, Any]:
    """Returns the spec of a `code` or `tool` node.

    `preset` are values of parameters that the node may leave out; `schema` is what
    arguments must match, None where nothing is said of them.
    """
    if node.type == "code":
        return {
            "code": node.code,
            "function": node.function,
            "arguments": node.inputs,
            "preset": {},
            "schema": None,
            **package_spec(node.requirements),
        }
    tool = workflow.tools[node.tool]
    if tool.kind != "python":
        raise TypeError(f"the validated node calls the tool '{node.tool}' of kind {tool.kind}")
    return {
        "code": tool.code,
        "function": node.tool,
        "arguments": node.arguments,
        "preset": {
            name: schema["default"] for name, schema in tool.parameters.items()
            if "default" in schema
        },
        "schema": parameters_schema(tool.parameters),
        **package_spec(tool.requirements),
    }  # fmt: skip


def package_spec(requirements: Sequence[str]) -> dict[str, str]:
    """Returns under which name the plan has the packages of some code; nothing for none."""
    if not requirements:
        return {}
    from joinery.packages.requirements import set_key

    return {"package": set_key(requirements)}


def parameters_schema(parameters: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the JSON Schema of a tool's arguments, as a model is shown it.

    All parameters are required but those with a default.
    """
    return {
        "type": "object",
        "properties": {name: dict(schema) for name, schema in parameters.items()},
        "required": [name for name, schema in parameters.items() if "default" not in schema],
        "additionalProperties": False,
    }
