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
    return {
        "kind": tool.kind,
        "description": tool.description,
        "read_only": tool.read_only,
        "at_most_once": tool.at_most_once,
        "timeout_s": tool.timeout,
        "schema": parameters_schema(tool.parameters),
        "code": tool.code,
        "function": name,
    }
