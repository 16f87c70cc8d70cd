"""Tools that are other workflows, run as runs of their own for the same owner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from joinery.errors import PermanentInternal
from joinery.llm.types import ToolSpec
from joinery.tools.base import Tool, ToolResult, ToolUse, Workflows

if TYPE_CHECKING:
    from joinery.nodes.base import NodeContext


@dataclass(frozen=True, slots=True)
class WorkflowTool:
    """A workflow; implements `Tool`."""

    spec: ToolSpec
    ref: str
    name: str
    workflows: Workflows
    read_only: bool
    at_most_once: bool
    timeout_s: float

    def call(self, use: ToolUse) -> ToolResult:
        """See `Tool.call`: the arguments are the run's inputs, its outputs the result."""
        return self.workflows.run(self.ref, self.name, use.arguments, use)


def open_tools(name: str, spec: Mapping[str, Any], context: NodeContext) -> Sequence[Tool]:
    """See `joinery.tools.base.Opener`."""
    if context.workflows is None:
        raise PermanentInternal("no runs can be started here")
    return [
        WorkflowTool(
            ToolSpec(name, spec["description"], spec["schema"]),
            f"{spec['workflow_id']}/{spec['version']}",
            spec["workflow"],
            context.workflows,
            spec["read_only"],
            spec["at_most_once"],
            spec["timeout_s"],
        )
    ]
