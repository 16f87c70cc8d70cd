"""What the plan says of the tools that agents call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from joinery.compiler.code import package_spec, parameters_schema
from joinery.workflow.children import child_of_tool

if TYPE_CHECKING:
    from joinery.workflow import model as m
    from joinery.workflow.children import KnownChild


def agent_tools(
    agent: m.Agent, workflow: m.Workflow, children: Mapping[str, KnownChild]
) -> dict[str, Any]:
    """Returns what the spec of an agent's node says of its tools; nothing where it has none."""
    if not agent.tools:
        return {}
    return {
        "tools": {
            name: tool_entry(name, workflow.tools[name], children.get(child_of_tool(name)))
            for name in agent.tools
        },
        "max_rounds": agent.max_rounds,
        "max_calls": agent.max_calls,
    }


def tool_entry(name: str, tool: m.Tool, child: KnownChild | None = None) -> dict[str, Any]:
    """Returns a tool as the opener of its kind reads it; see `joinery.tools.base.Opener`."""
    entry: dict[str, Any] = {
        "kind": tool.kind,
        "description": tool.description,
        "at_most_once": tool.at_most_once,
        "timeout_s": tool.timeout,
    }
    match tool.kind:
        case "python":
            entry["read_only"] = tool.read_only
            entry["schema"] = parameters_schema(tool.parameters)
            entry["code"] = tool.code
            entry["function"] = name
            entry |= package_spec(tool.requirements)
        case "openapi":
            entry["operations"] = _operations(name, tool)
            entry |= _outside(tool)
        case "mcp":
            entry["read_only"] = tool.read_only
            entry["url"] = tool.url
            entry["tools"] = tool.tools
            entry |= _outside(tool)
        case "search":
            entry["provider"] = tool.provider
            entry["max_results"] = tool.max_results
        case "workflow":
            entry["read_only"] = tool.read_only
            entry["workflow"] = tool.workflow if child is None else child.name
            entry["workflow_id"] = "" if child is None else child.workflow_id
            entry["version"] = (tool.version or 0) if child is None else child.version
            entry["schema"] = {"type": "object"} if child is None else _inputs_schema(child)
    return entry


def _inputs_schema(child: KnownChild) -> dict[str, Any]:
    """Returns the JSON Schema of a workflow's inputs."""
    properties = {}
    for name, spec in child.inputs.items():
        said = {"type": spec["type"], "description": spec.get("description", "")}
        default = {"default": spec["default"]} if spec.get("default") is not None else {}
        properties[name] = {key: value for key, value in said.items() if value} | default
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name, spec in child.inputs.items() if spec.get("required")],
        "additionalProperties": False,
    }


def _outside(tool: m.OpenApiTool | m.McpTool) -> dict[str, Any]:
    return {
        "headers": tool.headers,
        "secret_headers": tool.secret_headers,
        "send_identity": tool.send_identity,
    }


def _operations(name: str, tool: m.OpenApiTool) -> list[dict[str, Any]]:
    from joinery.workflow.openapi import read_operations, wanted_of
    from joinery.workflow.source import load

    # The document was checked with the workflow, so nothing is wrong with it.
    rows, _ = read_operations(load(str(tool.document)).data, wanted_of(name, tool.model_dump()))
    if tool.read_only is not None:
        rows = [{**row, "read_only": tool.read_only} for row in rows]
    return rows
