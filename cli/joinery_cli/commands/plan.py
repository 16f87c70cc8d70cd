"""`joinery plan`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from joinery import limits
from joinery_cli import exits
from joinery_cli.output import clean, print_json, say, show
from joinery_cli.workflow_file import read_workflow

if TYPE_CHECKING:
    from joinery.compiler.cost import Range, Report
    from joinery.compiler.places import Place

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
    from joinery.compiler.build import build_plan
    from joinery.compiler.places import choose, places_of
    from joinery.compiler.states import RUN_NODE_PLACEHOLDER

    found = read_workflow(file)
    workflow = found.require()
    plan = build_plan(workflow, opt=opt, children=found.children)
    places = places_of(plan, RUN_NODE_PLACEHOLDER, found.children)
    compiled = choose(workflow.run_on, places)
    report, chosen = compiled.report, compiled.plan.run_on
    if json:
        shown = {name: place.to_dict() for name, place in places.items()}
        print_json({"run_on": chosen, **report.to_dict(), "places": shown})
        return exits.OK
    how = f"compiled at level {opt}" if chosen == "standard" else "all nodes in one invocation"
    show(clean(f"{workflow.name}: what one run takes on AWS, {how}"))
    for line in [*plan_lines(report), *place_lines(places, chosen)]:
        show(clean(line))
    for line in report.children:
        show(clean(f"  {line}"))
    for warning in report.warnings:
        say(clean(f"warning: {warning}"))
    return exits.OK


def plan_lines(report: Report) -> Iterator[str]:
    """Yields the figures of a report as three small tables."""
    yield ""
    yield _row("", "least", "expected", "most")
    yield _figures("state transitions", report.transitions)
    yield _figures("history events", report.history_events)
    yield _figures("model calls", report.model_calls)
    yield _figures("tokens in", report.input_tokens)
    yield _figures("tokens out", report.output_tokens)
    yield ""
    yield _row("price", "least", "expected", "most", "1,000 runs")
    for service, price in report.price_by_service.items():
        yield _price(SERVICES.get(service, service), price)
    yield _price("total on AWS", report.price_usd)
    yield _price("models", report.model_usd)
    yield ""
    yield _row("limits", "used", "of", "")
    for line in _limits(report):
        yield line.rstrip()
    yield ""
    yield "  Retries are not counted: each adds up to a transition and 3 history events."
    yield (
        f"  The price takes {limits.ASSUMED_MODEL_CALL_S:g} s for a model call and "
        f"{limits.ASSUMED_VIEWERS} viewer."
    )


def place_lines(places: Mapping[str, Place], chosen: str) -> Iterator[str]:
    """Yields a small table of the places where a workflow may run."""
    yield ""
    yield _row("run_on", "transitions", "price", "1,000 runs")
    for name, place in places.items():
        cells = ["", "", ""]
        if place.compiled:
            price = place.compiled.report.price_usd.expected
            transitions = _expected(place.compiled.report.transitions.expected)
            cells = [transitions, dollars(price), dollars(price * 1000)]
        yield _row(name, *cells) + ("  chosen" if name == chosen else "")
        errors = [problem for problem in place.ruled_out if problem.severity == "error"]
        yield from (f"    ruled out: {problem.message}" for problem in errors)


def _limits(report: Report) -> Iterator[str]:
    events = int(limits.SFN_HISTORY_EVENTS * limits.SFN_HISTORY_REFUSE)
    machine = f"{report.states:,} state{'' if report.states == 1 else 's'}"
    yield _limit("history events", report.history_events.max, events, "in the longest run")
    yield _limit("machine, bytes", report.definition_bytes, limits.SFN_DEFINITION_BYTES, machine)
    yield _limit("plan, bytes", report.plan_bytes, limits.PLAN_BYTES, "")
    where = clean(f"at '{report.payload.state}'")
    yield _limit("payload, bytes", report.payload.bytes, limits.SFN_PAYLOAD_BYTES, where)


def _limit(name: str, used: float, most: int, what: str) -> str:
    share = used / most
    shown = f"{share:.0%}" if share >= 0.01 else "< 1%"
    return f"{_row(name, f'{used:,.0f}', f'{most:,}', shown)}  {what}"


def _row(name: str, *cells: str) -> str:
    return f"  {name:18}{''.join(f'{cell:>13}' for cell in cells)}".rstrip()


def _figures(name: str, figures: Range) -> str:
    least, most = f"{figures.min:,.0f}", f"{figures.max:,.0f}"
    return _row(name, least, _expected(figures.expected), most)


def _price(name: str, price: Range) -> str:
    figures = (price.min, price.expected, price.max, price.expected * 1000)
    return _row(name, *map(dollars, figures))


def _expected(value: float) -> str:
    return f"{value:,.0f}" if round(value, 1) == int(value) else f"{value:,.1f}"


def dollars(value: float) -> str:
    """Returns a price with as many digits as it takes to see it."""
    if value == 0:
        return "$0"
    return f"${value:,.2f}" if value >= 1 else f"${value:.6f}" if value < 0.01 else f"${value:.4f}"
