"""The interpreter's own time per node, beside calling the same functions in a plain loop."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from joinery.compiler.compile import compile_workflow
from joinery.events.make import Event
from joinery.runs.deps import Deps
from joinery.runs.interpreter import run_inline
from joinery.runs.memory_store import MemoryStore
from joinery.runs.start import create_run
from joinery.workflow.expressions import DictScope, parse_template
from joinery.workflow.model import Workflow

NODES = 200
REPEATS = 5


class Nobody:
    """A publisher without subscribers."""

    def publish(self, run_id: str, messages: Sequence[Event]) -> None:
        """Drops the messages."""

    def begin(self, run_id: str, width: int) -> None:
        """Nobody counts."""

    def interval(self, run_id: str) -> float:
        """Nobody waits."""
        return 0.0

    def refresh(self, run_id: str, subs: int) -> bool:
        """There is never anyone new."""
        return False


class NoModels:
    """No node of this benchmark asks a model."""

    def resolve(self, ref: Mapping[str, Any]) -> Any:
        """Is never called."""
        raise LookupError(ref)


def chain(nodes: int) -> Workflow:
    """Returns a chain of templates."""
    names = [f"n{i}" for i in range(nodes)]
    return Workflow.model_validate(
        {
            "version": 1,
            "name": "chain",
            "nodes": {name: {"type": "template", "template": f"{name}"} for name in names},
            "edges": [" -> ".join(["start", *names, "end"])],
        }
    )


def main() -> None:
    """Prints milliseconds a node."""
    plan = compile_workflow(chain(NODES)).plan
    best = min(_interpreted(plan) for _ in range(REPEATS))
    scope = DictScope({})
    began = time.perf_counter()
    for node in plan.nodes[:-1]:
        parse_template(node.spec["template"]).render(scope)
    bare = time.perf_counter() - began
    print(f"chain of {NODES} templates: {best / NODES * 1000:.3f} ms a node, "
          f"{best / bare:.0f} times rendering alone")  # fmt: skip


def _interpreted(plan: Any) -> float:
    deps = Deps(MemoryStore(), Nobody(), NoModels(), background=False)
    run, _ = create_run(deps, plan, owner="me", workflow_id="wf", version=1, given={})
    began = time.perf_counter()
    run_inline(deps, plan, run)
    return time.perf_counter() - began
