"""`joinery demo`: a debate from nothing to the bill, on the laptop's own cloud."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from joinery_cli import exits
from joinery_cli.commands.local import progress_to_stderr, running_stack, stack_home
from joinery_cli.commands.plan import SERVICES, dollars, plan_lines
from joinery_cli.interrupts import Interrupts, interruptible
from joinery_cli.live.views import choose_view
from joinery_cli.live.words import seconds
from joinery_cli.output import say, show
from joinery_cli.project import find_project
from joinery_cli.session import Session
from joinery_cli.summary import text_lines
from joinery_cli.workflow_file import publishable, read_workflow

if TYPE_CHECKING:
    from joinery_cli.live.state import RunState
    from joinery_cli.local import LocalStack

WORKFLOW: Final = "examples/debate.yaml"
DOCUMENT: Final = "examples/documents/proposal.md"

_TOY: Final = (
    "The model is SmolLM2 with 135 million parameters, in this machine's own processor:\n"
    "it shows the machinery and not the quality."
)


@dataclass(frozen=True, slots=True)
class _Played:
    """A run of the demo; times are in seconds."""

    result: Mapping[str, Any]
    cost: Mapping[str, Any]
    state: RunState
    wall_s: float
    first_text_s: float | None


def demo_command() -> int:
    """Plays the demo and leaves the machine as it was; returns the exit code.

    Raises:
        JoineryError: A step failed; what was started is stopped.
    """
    project = find_project()
    _title(f"The plan: {WORKFLOW}")
    _show_plan(project / WORKFLOW)
    before = running_stack() is not None
    try:
        with interruptible():
            return _play(project)
    finally:
        if not before:
            _take_down()


def _show_plan(file: Path) -> None:
    from joinery.compiler.compile import compile_workflow

    found = read_workflow(file)
    workflow = found.require()
    show(workflow.description)
    for line in plan_lines(compile_workflow(workflow, children=found.children).report):
        show(line)


def _play(project: Path) -> int:
    from joinery_cli.local import up

    _title("The local stack: the same template.yaml, on this machine")
    stack = up(progress_to_stderr(), home=stack_home())
    if stack.service("model"):
        show(_TOY)
    _title(f"The run: {DOCUMENT}")
    played = _run(project, stack)
    if played is None:
        return exits.CANCELLED
    if played.result["outputs"] is not None:
        _title("The report")
        for line in text_lines(str(played.result["outputs"].get("report", "")).rstrip("\n")):
            show(line)
    _title("What it took")
    for line in bill(played):
        show(line)
    if "error" in played.result:
        say(f"error: {played.result['error'].get('message', 'the run failed')}")
    return exits.of_status(played.result["status"])


def _run(project: Path, stack: LocalStack) -> _Played | None:
    """Returns the run; None when the person has stopped it, which cancels it."""
    from joinery_cli.engines.local import LocalEngine, client_of

    report = read_workflow(project / WORKFLOW)
    document = (project / DOCUMENT).read_text(encoding="utf-8")
    with client_of(stack) as client:
        source = publishable(report)
        client.publish(source)
        begun = time.monotonic()
        engine = LocalEngine.start(client, source, {"document": document})
        state = Session(engine, choose_view(json=False), cancellable=False).run()
        wall = time.monotonic() - begun
        if not state.ended:
            say("stopping: the run is cancelled")
            engine.cancel()
            return None
        result = engine.result()
    first = state.first_text_at - begun if state.first_text_at else None
    return _Played(result, engine.cost, state, wall, first)


def _take_down() -> None:
    from joinery_cli.local import down

    # A second Ctrl-C must not leave processes behind.
    with Interrupts():
        say("taking the local stack down …")
        down(home=stack_home())
        say("the local stack is down")


def _title(text: str) -> None:
    show(f"\n== {text}")


def bill(played: _Played) -> Iterator[str]:
    """Yields the closing table: times, tokens, calls, and the price on AWS."""
    result, cost = played.result, played.cost
    first = played.first_text_s
    yield _row("status", result["status"])
    yield _row("wall time", seconds(played.wall_s))
    yield _row("time to first token", seconds(first) if first is not None else "no text came")
    tokens = result["tokens"]
    yield _row("tokens", f"{tokens['input']:,} in, {tokens['output']:,} out")
    yield _row("model calls", f"{result['model_calls']:,}")
    predicted = f"({result['transitions_predicted']:,} predicted)"
    yield _row("state transitions", f"{result['transitions']:,}  {predicted}")
    services: Counter[str] = Counter()
    for name, count in result["aws_calls"].items():
        services[name.split(".")[0]] += count
    yield _row("AWS calls", f"{services.total():,}")
    for service, count in services.most_common():
        yield _row(f"  {_SERVICE_NAMES.get(service, service)}", f"{count:,}")
    yield _row("price on AWS", f"{dollars(result['price_usd'])}  (1,000 runs: {_thousand(result)})")
    for service, price in sorted(cost["price_by_service"].items(), key=lambda row: -row[1]):
        yield _row(f"  {SERVICES.get(service, service)}", dollars(price))
    yield _row("", "without the fees of a hosted model")


_SERVICE_NAMES: Final = {
    "dynamodb": "DynamoDB",
    "lambda": "Lambda",
    "s3": "S3",
    "states": "Step Functions",
    "apigatewaymanagementapi": "WebSocket posts",
}


def _thousand(result: Mapping[str, Any]) -> str:
    return dollars(result["price_usd"] * 1000)


def _row(name: str, value: str) -> str:
    return f"  {name:24}{value}"
