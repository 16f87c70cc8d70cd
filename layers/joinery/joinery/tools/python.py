"""Tools that are Python functions of the workflow, run where all code of users is run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from joinery.code_errors import PermanentCodeTimeout
from joinery.llm.types import ToolSpec
from joinery.sandbox.types import CodeRequest, CodeRunner, PackageRef
from joinery.tools.base import Tool, ToolResult, ToolUse

if TYPE_CHECKING:
    from joinery.nodes.base import NodeContext


@dataclass(frozen=True, slots=True)
class PythonTool:
    """A function; implements `Tool`."""

    spec: ToolSpec
    code: str
    function: str
    runner: CodeRunner
    read_only: bool
    at_most_once: bool
    timeout_s: float
    package: PackageRef | None = None

    def call(self, use: ToolUse) -> ToolResult:
        """See `Tool.call`: the function gets the arguments and nothing else."""
        left = min(self.timeout_s, use.deadline - time.monotonic())
        if left <= 0:
            raise PermanentCodeTimeout("there was no time left to run the code")
        request = CodeRequest(self.code, self.function, use.arguments, left, self.package)
        output = self.runner.run(request, use.cancelled).output
        return ToolResult(output) if isinstance(output, str) else ToolResult(data=output)


def open_tools(name: str, spec: Mapping[str, Any], context: NodeContext) -> Sequence[Tool]:
    """See `joinery.tools.base.Opener`."""
    from joinery.nodes.code import package_of

    return [
        PythonTool(
            ToolSpec(name, spec["description"], spec["schema"]),
            spec["code"],
            spec["function"],
            context.code,
            spec["read_only"],
            spec["at_most_once"],
            spec["timeout_s"],
            package_of(context, spec),
        )
    ]
