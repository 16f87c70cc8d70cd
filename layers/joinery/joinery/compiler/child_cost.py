"""What child workflows add to the figures of the workflow that runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from joinery.compiler.cost import Report
from joinery.compiler.emit import Emitted
from joinery.compiler.plan import Plan
from joinery.compiler.ranges import Range
from joinery.compiler.states import RUN_NODE_PLACEHOLDER
from joinery.compiler.walk import Walk
from joinery.compiler.weights import per_run_below
from joinery.errors import InvalidWorkflow, Problem

if TYPE_CHECKING:
    from joinery.workflow.children import KnownChild


def with_children(
    plan: Plan, emitted: Emitted, report: Report, children: Mapping[str, KnownChild]
) -> Report:
    """Returns a report with what each visit of a `workflow` node costs below it.

    History events are left as they are: every run has an execution of its own.

    Args:
        plan: The plan.
        emitted: Its machine.
        report: The figures of the machine alone.
        children: The child workflows that are known, by node.
    """
    nodes = [node for node in plan.nodes if node.type == "workflow"]
    if not nodes:
        return report
    below = {
        node.id: report_of(node.id, children[node.id]) for node in nodes if node.id in children
    }
    walk = Walk(plan, emitted)

    def added(figure: Callable[[Report], Range]) -> Range:
        return walk.sum(per_run_below(walk, {n: figure(r) for n, r in below.items()}))

    def of(service: str) -> Callable[[Report], Range]:
        return lambda r: r.price_by_service.get(service, Range())

    return replace(
        report,
        transitions=report.transitions + added(lambda r: r.transitions),
        model_calls=report.model_calls + added(lambda r: r.model_calls),
        input_tokens=report.input_tokens + added(lambda r: r.input_tokens),
        output_tokens=report.output_tokens + added(lambda r: r.output_tokens),
        model_usd=report.model_usd + added(lambda r: r.model_usd),
        unpriced=tuple(
            sorted({*report.unpriced, *(name for r in below.values() for name in r.unpriced)})
        ),
        price_usd=report.price_usd + added(lambda r: r.price_usd),
        price_by_service={
            service: price + added(of(service))
            for service, price in report.price_by_service.items()
        },
        notes=tuple(
            dict.fromkeys([*report.notes, *(w for r in below.values() for w in _warnings(r))])
        ),
        children=tuple(dict.fromkeys(_lines(plan, children, below))),
    )


def _warnings(report: Report) -> Iterator[str]:
    """Yields the warnings of a child workflow but for prices, which are told together."""
    yield from (problem.message for problem in report.problems)
    yield from report.notes


def plan_of(child: KnownChild) -> Plan:
    """Returns the plan of a child workflow: as it was published, or made from its file."""
    if child.plan is not None:
        return Plan.from_dict(child.plan)
    from joinery.compiler.build import build_plan

    assert child.report is not None
    return build_plan(child.report.require(), children=child.children)


def report_of(node_id: str, child: KnownChild) -> Report:
    """Returns the figures of the child workflow of a node, with what is below it.

    Raises:
        InvalidWorkflow: It cannot be compiled.
    """
    try:
        return _report_of(child)
    except InvalidWorkflow as error:
        raise InvalidWorkflow(
            [
                Problem(
                    "child.invalid",
                    f"node '{node_id}': '{child.name}' cannot be compiled: {error.message}",
                    hint=f"see joinery validate of '{child.name}'",
                    node_id=node_id,
                    pointer=f"/nodes/{node_id}/workflow",
                )
            ]
        ) from None


def _report_of(child: KnownChild) -> Report:
    from joinery.compiler.compile import compile_standard, compile_workflow

    if child.report is not None:
        return compile_workflow(child.report.require(), children=child.children).report
    plan = plan_of(child)
    if plan.run_on == "standard":
        return compile_standard(plan, RUN_NODE_PLACEHOLDER, child.children).report
    from joinery.compiler.places import choose, places_of

    fields = {name: getattr(plan, name) for name in Plan.__dataclass_fields__}
    drawn = Plan(**{**fields, "run_on": "standard"})
    return choose(plan.run_on, places_of(drawn, RUN_NODE_PLACEHOLDER, child.children)).report


def _lines(
    plan: Plan, children: Mapping[str, KnownChild], below: Mapping[str, Report]
) -> Iterator[str]:
    for node in plan.nodes:
        if node.type != "workflow":
            continue
        child = children.get(node.id)
        if child is None:
            version = f" v{node.spec['version']}" if node.spec["version"] else ""
            yield (
                f"child workflow {node.spec['workflow']}{version}: not known here, "
                "what it costs is not in the figures"
            )
            continue
        figures = below[node.id]
        version = f" v{child.version}" if child.version else ""
        yield (
            f"child workflow {child.name}{version}: {figures.transitions.min:,.0f} to "
            f"{figures.transitions.max:,.0f} transitions, "
            f"${figures.price_usd.expected:.6f} expected a run"
        )
        yield from figures.children
