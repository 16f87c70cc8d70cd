"""What child workflows add to the figures of the workflow that runs them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from joinery.compiler.cost import Range, Report, Weight, analyse_cost, map_shares, measure
from joinery.compiler.emit import Emitted, StateInfo, emit
from joinery.compiler.plan import WAITING_TYPES, Plan

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
    nodes = [node for node in plan.nodes if node.type in WAITING_TYPES]
    if not nodes:
        return report
    below = {node.id: report_of(children[node.id]) for node in nodes if node.id in children}
    shares = map_shares(emitted)

    def added(figures: Mapping[str, Range]) -> Range:
        return measure(plan, emitted, _weight(figures, shares))

    services = {
        service: price
        + added({n: _flat(r.price_by_service.get(service, 0.0)) for n, r in below.items()}).expected
        for service, price in report.price_by_service.items()
    }
    return replace(
        report,
        transitions=report.transitions + added({n: r.transitions for n, r in below.items()}),
        model_calls=report.model_calls + added({n: r.model_calls for n, r in below.items()}),
        price_usd=report.price_usd + added({n: r.price_usd for n, r in below.items()}),
        price_by_service=services,
        warnings=tuple(
            dict.fromkeys([*report.warnings, *(w for r in below.values() for w in r.warnings)])
        ),
        children=tuple(dict.fromkeys(_lines(plan, children, below))),
    )


def plan_of(child: KnownChild) -> Plan:
    """Returns the plan of a child workflow: as it was published, or made from its file."""
    if child.plan is not None:
        return Plan.from_dict(child.plan)
    from joinery.compiler.build import build_plan

    assert child.report is not None
    return build_plan(child.report.require(), children=child.children)


def report_of(child: KnownChild) -> Report:
    """Returns the figures of a child workflow, with what is below it."""
    plan = plan_of(child)
    emitted = emit(plan)
    return with_children(plan, emitted, analyse_cost(plan, emitted), child.children)


def _weight(figures: Mapping[str, Range], shares: Mapping[str, float]) -> Weight:
    def weight(name: str, info: StateInfo) -> Range:
        total = Range()
        if info.kind == "task":
            for node in info.nodes:
                total += figures.get(node, Range())
        share = shares.get(name, 1.0)
        return Range(total.min * share, total.expected * share, total.max * share)

    return weight


def _flat(value: float) -> Range:
    return Range(value, value, value)


def _lines(
    plan: Plan, children: Mapping[str, KnownChild], below: Mapping[str, Report]
) -> Iterator[str]:
    for node in plan.nodes:
        if node.type not in WAITING_TYPES:
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
