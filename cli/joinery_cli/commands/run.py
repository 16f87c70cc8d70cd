"""`joinery run`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from joinery.compiler.build import build_plan
from joinery.compiler.plan import CODE_TYPES
from joinery.errors import InvalidRequest, Unavailable
from joinery_cli import exits
from joinery_cli.access import follow_hint, required_stack, tell
from joinery_cli.asking import Asker
from joinery_cli.children import inline_plans, publish_children
from joinery_cli.commands.local import running_stack
from joinery_cli.inputs import read_inputs
from joinery_cli.interrupts import interruptible
from joinery_cli.live.views import View, choose_view
from joinery_cli.output import print_json, say
from joinery_cli.packages import LocalPackages, needed_of
from joinery_cli.session import Session
from joinery_cli.workflow_file import publishable, read_workflow

LOCAL_STAGE: Final = "local"
"""The stage of runs in this process, unless `JOINERY_STAGE` names another one."""

if TYPE_CHECKING:
    from joinery.compiler.plan import Plan
    from joinery.llm.registry import ModelFlag
    from joinery.llm.scripted import Cassette
    from joinery.workflow.validation import Report
    from joinery_cli.engines.base import Engine
    from joinery_cli.engines.local import LocalEngine
    from joinery_cli.live.state import RunState
    from joinery_cli.local import LocalStack


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for.

    Attributes:
        file: The workflow.
        inputs: What followed each `--input`.
        engine: `inline`, `local`, or None for the one that fits.
        scripted: File with a model's answers.
        model: `provider:name` for every node.
        allow_local_code: Whether code may run without a sandbox.
        json: Whether stdout is for a program.
        opt: Optimisation level that the local stack compiles it at; None for its default.
        detach: Whether to start it and return.
        budget: What the run may use; takes the place of the workflow's.
        upgrade_packages: Whether to look for newer packages that meet the requirements.
    """

    file: Path
    inputs: tuple[str, ...] = ()
    engine: str | None = None
    scripted: Path | None = None
    model: str | None = None
    allow_local_code: bool = False
    json: bool = False
    opt: int | None = None
    detach: bool = False
    budget: Mapping[str, Any] | None = None
    upgrade_packages: bool = False

    @property
    def tell(self) -> Callable[[str], None]:
        """Where lines go that say what takes its time."""
        return (lambda _: None) if self.json else say


@dataclass(frozen=True, slots=True)
class _Ready:
    """Everything that was read and found right."""

    report: Report
    plan: Plan
    inputs: Mapping[str, Any]
    cassette: Cassette | None
    model: ModelFlag | None
    budget: Mapping[str, Any] | None


def run_command(request: Request) -> int:
    """Runs a workflow and prints what came of it; returns the exit code.

    Raises:
        InvalidRequest: A file cannot be read, or an input is wrong.
        InvalidWorkflow: The workflow is invalid.
        Unavailable: The engine or the model does not answer.
    """
    if request.detach and request.engine == "inline":
        raise InvalidRequest("--detach: an inline run lives in this command and ends with it")
    ready = _read(request)
    if request.detach:
        return _start(request, ready)
    with interruptible(), ExitStack() as held:
        engine = _engine(request, ready, held)
        if not request.json:
            where = "on the local stack" if engine.survives else "in this process (inline)"
            say(f"{engine.run_id} runs {where}")
        view = choose_view(json=request.json)
        try:
            asker = asker_of(engine, view, json=request.json)
            state = Session(engine, view, patient=sys.stdin.isatty(), asker=asker).run()
        except Unavailable:
            if engine.survives:
                say(f"{engine.run_id} may still run; {follow_hint(engine.run_id)}")
            raise
        return conclude(engine, state, json=request.json)


def _read(request: Request) -> _Ready:
    from joinery_cli.engines.models import read_cassette, read_flag

    report = read_workflow(request.file)
    plan = build_plan(report.require(), children=report.children)
    model = read_flag(request.model) if request.model else None
    inputs = read_inputs(request.inputs, plan.inputs)
    cassette = read_cassette(request.scripted) if request.scripted else None
    return _Ready(report, plan, inputs, cassette, model, request.budget)


def asker_of(engine: Engine, view: View, *, json: bool) -> Asker | None:
    """Returns what asks the person at the terminal; None where nobody can type."""
    return Asker(engine, view) if sys.stdin.isatty() and not json else None


def conclude(
    engine: Engine, state: RunState, *, json: bool, nodes: bool = True, whole: bool = False
) -> int:
    """Prints a run that has ended or was left; returns the exit code.

    Args:
        engine: The run.
        state: What its events have told.
        json: Whether stdout is for a program.
        nodes: Whether to list the nodes.
        whole: Whether to show a run that goes on, too.
    """
    result = engine.result()
    if json:
        print_json(result)
    elif state.ended or whole:
        from joinery_cli.summary import print_summary

        print_summary(result, state, nodes=nodes)
    code = exits.of_status(result["status"])
    if "error" in result:
        say(f"error: {result['error'].get('message', 'the run failed')}")
    if result["status"] == "suspended":
        say(how_to_go_on(engine, result.get("error") or {}))
        return code
    for node_id, path in state.asked if engine.survives else ():
        place = f"{node_id}@{path}" if path else node_id
        say(f"{place} waits: joinery answer {engine.run_id} {place} VALUE")
    if state.asked and not engine.survives:
        say("the run has ended with this command: only in a terminal can it be answered here")
    elif code == exits.DETACHED:
        say(f"the run goes on; {follow_hint(engine.run_id)}")
    elif result["status"] == "paused":
        say(f"the run is paused; go on with: joinery resume {engine.run_id}")
    elif code == exits.WAITING:
        say(f"the run waits; {follow_hint(engine.run_id)}")
    return code


def how_to_go_on(engine: Engine, error: Mapping[str, Any]) -> str:
    """Returns what lets a suspended run go on."""
    if not engine.survives:
        return "the run ended with this command; on the local stack it could go on"
    if error.get("code") == "budget_exceeded":
        return f"go on with: joinery resume {engine.run_id} --budget-tokens N or --budget-usd N"
    return f"go on with: joinery unlock {engine.run_id} --because REASON"


def _start(request: Request, ready: _Ready) -> int:
    """Starts a run on the local stack and says how to follow it; returns the exit code."""
    stack = required_stack()
    with ExitStack() as held:
        engine = _local_engine(stack, ready, held, request)
    started = {"run_id": engine.run_id, "status": engine.status}
    return tell(started, json=request.json, hint=follow_hint(engine.run_id))


def _engine(request: Request, ready: _Ready, held: ExitStack) -> Engine:
    """Returns the engine with the run created on it; what it needs is closed by `held`."""
    stack = None if request.engine == "inline" else running_stack()
    if request.engine == "local" and stack is None:
        stack = required_stack()
    if stack is not None:
        return _local_engine(stack, ready, held, request)
    from joinery.sandbox.run import SandboxCodeRunner
    from joinery_cli.engines.inline import InlineEngine
    from joinery_cli.engines.models import inline_models

    packages = LocalPackages(ready.report, request.tell, upgrade=request.upgrade_packages)
    folder = packages.builder.folder if packages.builder else None
    code = SandboxCodeRunner(allow=request.allow_local_code, packages=folder)
    if any(node.type in CODE_TYPES for node in ready.plan.nodes):
        code.require()
    stage = os.environ.get("JOINERY_STAGE", LOCAL_STAGE)
    plan = packages.pinned(ready.plan.for_stage(stage))
    children = {
        ref: packages.pinned(each.for_stage(stage))
        for ref, each in inline_plans(ready.report).items()
    }
    models = inline_models(
        plan, ready.cassette, ready.model, held, children=children.values(), tell=request.tell
    )
    return InlineEngine(plan, ready.inputs, models, code, children, budget=ready.budget)


def _local_engine(
    stack: LocalStack, ready: _Ready, held: ExitStack, request: Request
) -> LocalEngine:
    from joinery_cli.engines.local import LocalEngine, client_of

    model = None
    if ready.model is not None:
        if not ready.model.name:
            raise InvalidRequest("--model: on the local stack it is written provider:name")
        model = f"{ready.model.provider}:{ready.model.name}"
    client = held.enter_context(client_of(stack))

    def send(report: Report) -> list[dict[str, Any]]:
        if not (needed := needed_of(report)):
            return []
        from joinery.packages.publishing import send_packages

        return send_packages(client, needed, upgrade=request.upgrade_packages, tell=request.tell)

    return LocalEngine.start(
        client,
        publishable(ready.report, publish_children(client, ready.report, send)),
        ready.inputs,
        node_ids=tuple(node.id for node in ready.plan.nodes),
        cassette=ready.cassette.to_dict() if ready.cassette else None,
        model=model,
        opt=request.opt,
        budget=ready.budget,
        packages=send(ready.report),
    )
