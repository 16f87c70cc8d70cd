"""What the plan says of the tools that agents call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from joinery.compiler.code import parameters_schema

if TYPE_CHECKING:
    from joinery.workflow import model as m


def agent_tools(agent: m.Agent, workflow: m.Workflow) -> dict[str, Any]:
    """Returns what the spec of an agent's node says of its tools; nothing where it has none."""
    if not agent.tools:
        return {}
    return {
        "tools": {name: tool_entry(name, workflow.tools[name]) for name in agent.tools},
        "max_rounds": agent.max_rounds,
        "max_calls": agent.max_calls,
    }


def tool_entry(name: str, tool: m.Tool) -> dict[str, Any]:
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
    return entry


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
