"""The compiler's one entrance: a workflow in; plan, definition and figures out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from joinery.compiler.build import build_plan
from joinery.compiler.child_cost import with_children
from joinery.compiler.cost import Report, analyse_cost
from joinery.compiler.distributed import with_distributed
from joinery.compiler.emit import Emitted, emit
from joinery.compiler.opt import DEFAULT_OPT
from joinery.compiler.plan import Plan
from joinery.compiler.states import RUN_NODE_PLACEHOLDER
from joinery.compiler.width import width_of
from joinery.errors import InvalidWorkflow

if TYPE_CHECKING:
    from joinery.workflow.children import KnownChild
    from joinery.workflow.model import Workflow


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
        return self.emitted.text(indent=indent)


def compile_workflow(
    workflow: Workflow,
    *,
    opt: int = DEFAULT_OPT,
    run_node_arn: str = RUN_NODE_PLACEHOLDER,
    children: Mapping[str, KnownChild] | None = None,
) -> Compiled:
    """Compiles a valid workflow for where it says that it runs.

    Args:
        workflow: The workflow.
        opt: Optimisation level.
        run_node_arn: What the machine's Tasks invoke.
        children: The child workflows that are known, by node: they are pinned and priced.

    Raises:
        InvalidWorkflow: A shape that cannot be compiled, a limit of Step Functions
            that a run would pass, or what rules out the place that it asks for.
    """
    plan = build_plan(workflow, opt=opt, children=children)
    if workflow.run_on == "standard":
        return compile_standard(plan, run_node_arn, children)
    from joinery.compiler.places import choose, places_of

    return choose(workflow.run_on, places_of(plan, run_node_arn, children))


def compile_standard(
    plan: Plan, run_node_arn: str, children: Mapping[str, KnownChild] | None = None
) -> Compiled:
    """Compiles a plan to a machine of many states. Raises: InvalidWorkflow."""
    plan = with_distributed(plan, run_node_arn)
    emitted = emit(plan, run_node_arn)
    plan = replace(plan, width=width_of(emitted.definition))
    report = with_children(plan, emitted, analyse_cost(plan, emitted), children or {})
    if any(problem.severity == "error" for problem in report.problems):
        raise InvalidWorkflow(report.problems)
    return Compiled(plan, emitted, report)
