"""One agent whose tool gives a big result, as a program: its peak memory is that of one run.

`big_results.py KIND URL CALLS`; writes what became of it as JSON.
"""

from __future__ import annotations

import json
import re
import resource
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from joinery.compiler.compile import compile_workflow
from joinery.llm.types import ModelRequest
from joinery.runs.interpreter import run_inline
from joinery.workflow.model import Workflow

from .agents import Caller, Step, call
from .engines import begin
from .tool_server import services

PYTHON = "def big(megabytes: int):\n    return 'x' * megabytes * 1_000_000\n"


def tools_of(kind: str, url: str) -> tuple[dict[str, Any], str]:
    """Returns the tools of a workflow file, and the name of the one that is called."""
    if kind == "python":
        parameters = {"megabytes": {"type": "integer"}}
        return {"big": {"description": "B.", "code": PYTHON, "parameters": parameters}}, "big"
    if kind == "mcp":
        return {"shop": {"kind": "mcp", "url": url, "tools": ["big"]}}, "shop_big"
    parameter = {"name": "megabytes", "in": "query", "schema": {"type": "integer"}}
    operation = {"operationId": "big", "summary": "B.", "parameters": [parameter]}
    paths = {"/big": {"get": operation}}
    document = {"openapi": "3.1.0", "servers": [{"url": url}], "paths": paths}
    return {"api": {"kind": "openapi", "document": json.dumps(document)}}, "api_big"


def main(kind: str, url: str, calls: int) -> dict[str, Any]:
    """Runs the agent inline; returns what its model was told, and how much memory it took."""
    tools, name = tools_of(kind, url)
    flow = {
        "version": 1,
        "name": "big",
        "agents": {"one": {"persona": "You look.", "tools": list(tools)}},
        "tools": tools,
        "nodes": {"a": {"type": "agent", "agent": "one", "prompt": "Find it."}},
        "edges": ["start -> a -> end"],
        "outputs": {"text": "{{ nodes.a.text }}"},
        "run_on": "inline",
    }

    def script(place: int, request: ModelRequest) -> Step:
        if place == 1:
            return [call(name, {"megabytes": 50}, f"c{number}") for number in range(calls)]
        if place == 2 and any(tool.name == "read_result" for tool in request.tools):
            return [call("read_result", {"result": "1.0", "start": 40_000_000, "length": 30})]
        return "done"

    model = Caller(script)
    plan = compile_workflow(Workflow.model_validate(flow)).plan
    ended = begin(plan, {}, model)
    ended.deps = replace(ended.deps, tool_services=services())
    before = _peak()
    run_inline(ended.deps, plan, ended.run, sleep=lambda _: None)
    run = ended.store.get_run(ended.run.run_id)
    return {
        "status": run.status,
        "outputs": ended.outputs,
        "told": [message.content[:2_000] for message in model.last()],
        "lengths": [len(message.content) for message in model.last()],
        "completed": [e["data"] for e in ended.listener.named("tool.completed")],
        "before": before,
        "peak": _peak(),
    }


def _peak() -> int:
    """Returns the most memory that this process has had, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # what `getrusage` says holds for the process that began this one too
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        assert found is not None
        return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
