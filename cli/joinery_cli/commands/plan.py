"""`joinery plan`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from joinery_cli import exits
from joinery_cli.output import clean, print_json, say, show
from joinery_cli.workflow_file import read_workflow

if TYPE_CHECKING:
    from joinery.compiler.cost import Range, Report

SERVICES = {
    "states": "Step Functions",
    "lambda": "Lambda",
    "dynamodb": "DynamoDB",
    "apigateway": "API Gateway",
    "s3": "S3",
}


def plan_command(file: Path, *, opt: int, json: bool) -> int:
    """Prints what a run of a workflow takes; returns the exit code.

    Raises:
        InvalidRequest: The file cannot be read.
        InvalidWorkflow: The workflow is invalid.
    """
    from joinery.compiler.compile import compile_workflow

    found = read_workflow(file)
    workflow = found.require()
    report = compile_workflow(workflow, opt=opt, children=found.children).report
    if json:
        print_json(report.to_dict())
        return exits.OK
    show(clean(f"{workflow.name}: what one run takes on AWS"))
    for line in plan_lines(report):
        show(line)
    for line in report.children:
        show(clean(f"  {line}"))
    for warning in report.warnings:
        say(f"warning: {warning}")
    return exits.OK


def plan_lines(report: Report) -> Iterator[str]:
    """Yields the figures of a report as two small tables."""
    yield ""
    yield f"  {'':24}{'least':>12}{'expected':>12}{'most':>12}"
    yield _figures("state transitions", report.transitions)
    yield _figures("model calls", report.model_calls)
    yield f"  {'history events':24}{'':24}{report.history_events_max:>12,}"
    yield f"  {'states in the machine':24}{'':24}{report.states:>12,}"
    yield ""
    yield f"  {'expected price':24}{'one run':>12}{'1,000 runs':>12}"
    for service, price in report.price_by_service.items():
        yield _price(SERVICES.get(service, service), price)
    total = report.price_usd
    yield _price("total", total.expected)
    yield f"  {'':24}from {dollars(total.min)} to {dollars(total.max)} a run"


def _figures(name: str, figures: Range) -> str:
    return f"  {name:24}{figures.min:>12,.0f}{_expected(figures.expected):>12}{figures.max:>12,.0f}"


def _price(name: str, value: float) -> str:
    return f"  {name:24}{dollars(value):>12}{dollars(value * 1000):>12}"


def _expected(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def dollars(value: float) -> str:
    """Returns a price with as many digits as it takes to see it."""
    if value == 0:
        return "$0"
    return f"${value:,.2f}" if value >= 1 else f"${value:.6f}" if value < 0.01 else f"${value:.4f}"
