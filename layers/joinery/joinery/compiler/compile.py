"""The compiler's one entrance: a workflow in; plan, definition and figures out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from joinery import limits
from joinery.compiler.build import build_plan
from joinery.compiler.child_cost import with_children
from joinery.compiler.cost import Report, analyse_cost
from joinery.compiler.emit import Emitted, emit
from joinery.compiler.plan import Plan
from joinery.compiler.states import RUN_NODE_PLACEHOLDER
from joinery.errors import InvalidWorkflow, Problem

if TYPE_CHECKING:
    from joinery.workflow.children import KnownChild
    from joinery.workflow.model import Workflow

DEFAULT_OPT = 1
OPT_LEVELS = (0, 1)


@dataclass(frozen=True, slots=True)
class Compiled:
    """A workflow, ready to publish."""

    plan: Plan
    emitted: Emitted
    report: Report

    @property
    def definition(self) -> dict[str, Any]:
        """The state machine."""
        return self.emitted.definition

    def definition_json(self, *, indent: int | None = None) -> str:
        """Returns the definition as text; equal workflows give equal bytes."""
        separators = None if indent else (",", ":")
        return json.dumps(self.definition, indent=indent, separators=separators, ensure_ascii=False)


def compile_workflow(
    workflow: Workflow,
    *,
    opt: int = DEFAULT_OPT,
    run_node_arn: str = RUN_NODE_PLACEHOLDER,
    children: Mapping[str, KnownChild] | None = None,
) -> Compiled:
    """Compiles a valid workflow.

    Args:
        workflow: The workflow.
        opt: Optimisation level.
        run_node_arn: What the machine's Tasks invoke.
        children: The child workflows that are known, by node: they are pinned and priced.

    Raises:
        InvalidWorkflow: A shape that cannot be compiled, or a limit of Step
            Functions that a run would pass.
    """
    plan = build_plan(workflow, opt=opt, children=children)
    emitted = emit(plan, run_node_arn)
    report = with_children(plan, emitted, analyse_cost(plan, emitted), children or {})
    _refuse_what_passes_a_limit(report)
    return Compiled(plan, emitted, report)


def _refuse_what_passes_a_limit(report: Report) -> None:
    problems = []
    most = int(limits.SFN_HISTORY_EVENTS * limits.SFN_HISTORY_REFUSE)
    if report.history_events_max > most:
        problems.append(
            Problem(
                "limit.history",
                f"the longest run would make {report.history_events_max:,} history events; "
                f"{most:,} is the most ({limits.SFN_HISTORY_REFUSE:.0%} of Step Functions' limit)",
                hint="fewer rounds or fewer nodes inside loops",
                pointer="/nodes",
            )
        )
    if report.definition_bytes > limits.SFN_DEFINITION_BYTES:
        problems.append(
            Problem(
                "limit.definition",
                f"the state machine would have {report.definition_bytes:,} bytes; "
                f"Step Functions takes {limits.SFN_DEFINITION_BYTES:,}",
                pointer="/nodes",
            )
        )
    if problems:
        raise InvalidWorkflow(problems)
