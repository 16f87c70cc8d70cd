"""What random workflows call: child workflows, and code that runs in this process."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from joinery.code_errors import PermanentCodeRaised
from joinery.compiler.build import build_plan
from joinery.compiler.plan import Plan
from joinery.runs.inline_children import InlineChildRuns
from joinery.sandbox.types import Cancelled, CodeOutcome, CodeRequest
from joinery.workflow.children import KnownChild
from joinery.workflow.model import Workflow

from .workflows import workflow

CODE = """\
def fine(given):
    return {"given": given}

def broken(given):
    raise ValueError(given)
"""


@dataclass
class TrustedCode:
    """Implements `CodeRunner` for code that tests wrote: no process, so thousands are quick."""

    def run(self, request: CodeRequest, cancelled: Cancelled) -> CodeOutcome:
        try:
            return CodeOutcome(_module(request.code)[request.function](**request.arguments))
        except ValueError as error:
            raise PermanentCodeRaised(f"ValueError: {error}", type="ValueError") from None


@lru_cache
def _module(code: str) -> dict[str, Any]:
    module: dict[str, Any] = {}
    exec(compile(code, "code", "exec"), module)
    return module


def _known(made: Workflow, **below: KnownChild) -> KnownChild:
    plan = build_plan(made, children=below)
    return KnownChild(made.name, plan.inputs, f"wf_{made.name}", 1, plan.to_dict(), children=below)


def _children() -> dict[str, KnownChild]:
    given = {"given": {"type": "string"}}
    leaf = workflow(
        ["start -> a, b -> end"], {"a": {"type": "template", "template": "{{ inputs.given }}"}},
        name="leaf", inputs=given, outputs={"said": "{{ nodes.a.text }}"},
    )  # fmt: skip
    call = {"type": "workflow", "workflow": "leaf", "inputs": {"given": "{{ inputs.given }}"}}
    middle = workflow(
        ["start -> call -> c -> end"], {"call": call},
        name="middle", inputs=given, outputs={"said": "{{ nodes.call.output.said }}"},
    )  # fmt: skip
    fails = {"type": "template", "template": "{{ inputs.given.nothing }}"}
    broken = workflow(["start -> a -> end"], {"a": fails}, name="broken", inputs=given)
    known = {"leaf": _known(leaf), "broken": _known(broken)}
    return {**known, "middle": _known(middle, call=known["leaf"])}


CHILDREN = _children()


def children_of(graph: Workflow) -> dict[str, KnownChild]:
    """Returns the child workflows of a random workflow, by node."""
    nodes: Mapping[str, Any] = graph.nodes
    return {n: CHILDREN[node.workflow] for n, node in nodes.items() if node.type == "workflow"}


def plans_with(plan: Plan) -> dict[str, Plan]:
    """Returns all plans by what runs are pinned to; that of the random workflow is `wf/1`."""
    below = {known.ref: Plan.from_dict(known.plan or {}) for known in CHILDREN.values()}
    return {"wf/1": plan, **below}


@dataclass
class Answered:
    """How a Task that waited ended: what was sent to its token."""

    output: Any = None
    error: tuple[str, str] | None = None


class Answers(InlineChildRuns):
    """Child runs that end at once, and what they send to the Tasks that wait for them."""

    def __init__(self, plans: Mapping[str, Plan]) -> None:
        super().__init__(plans, sleep=lambda _: None)
        self.last = Answered()

    def answer(self, token: str, output: Mapping[str, Any]) -> None:
        self.last = Answered(dict(output))

    def refuse(self, token: str, error: str, cause: str) -> None:
        self.last = Answered(error=(error, cause))


def without_ids(value: Any) -> Any:
    """Returns a value in which no run has an id, so that two runs can be compared."""
    if isinstance(value, str):
        return re.sub(r"run_[0-9a-z]{26}", "run", value)
    if isinstance(value, list):
        return [without_ids(one) for one in value]
    if isinstance(value, dict):
        return {name: without_ids(one) for name, one in value.items()}
    return value
