"""The `joinery` command: its words and options. What they do is imported when it is needed."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from joinery.compiler.opt import DEFAULT_OPT
from joinery_cli import exits
from joinery_cli.guard import guarded, guarded_outside
from joinery_cli.main_local import AllowLocalCode, Json, local_app
from joinery_cli.main_runs import (
    BudgetTokens,
    BudgetUsd,
    Detach,
    RunId,
    add_run_commands,
    budget_of,
)

app = typer.Typer(
    name="joinery",
    help="Runs AI agent workflows on AWS without servers, and on this machine.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(local_app, name="local")

File = Annotated[Path, typer.Argument(metavar="FILE", help="Workflow file, YAML or JSON.")]
_OPT = typer.Option(
    min=0, max=2, help="0: a state a node; 1: pure nodes are folded; 2: steps are fused."
)
Opt = Annotated[int, _OPT]


def _known_engine(name: str | None) -> str | None:
    if name not in (None, "inline", "local"):
        raise typer.BadParameter(f"'{name}' is neither inline nor local")
    return name


def _show_version(wanted: bool) -> None:
    if wanted:
        from joinery import __version__

        typer.echo(f"joinery {__version__}")
        raise typer.Exit(exits.OK)


@app.callback()
def _main(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


@app.command()
def validate(file: File, json: Json = False) -> None:
    """Find everything that is wrong in a file.

    Exit code 0 when the workflow is valid, 2 when it is not.
    """

    def body() -> int:
        from joinery_cli.commands.validate import validate_command

        return validate_command(file, json=json)

    raise typer.Exit(guarded(body))


@app.command()
def fmt(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Workflow files; - is standard input."),
    ],
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; name the files that would change.")
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Write nothing; print what would change.")
    ] = False,
) -> None:
    """Bring workflow files to their one form.

    Keeps every comment and what the files say. Names the files that it has changed.
    Exit code 2 when a file cannot be read; with --check, 5 when one would change.
    """

    def body() -> int:
        from joinery_cli.commands.fmt import fmt_command

        return fmt_command(files, check=check, diff=diff)

    raise typer.Exit(guarded(body))


@app.command("compile")
def compile_(
    file: File,
    opt: Opt = DEFAULT_OPT,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write to this file.")
    ] = None,
) -> None:
    """Print the state machine of a workflow.

    It is Amazon States Language, as it is published to Step Functions.
    """

    def body() -> int:
        from joinery_cli.commands.compile import compile_command

        return compile_command(file, opt=opt, output=output)

    raise typer.Exit(guarded(body))


@app.command()
def diff(
    before: File,
    after: Annotated[Path, typer.Argument(help="The other workflow file.")],
    opt: Opt = DEFAULT_OPT,
) -> None:
    """Show how the state machines of two workflows differ."""

    def body() -> int:
        from joinery_cli.commands.diff import diff_command

        return diff_command(before, after, opt=opt)

    raise typer.Exit(guarded(body))


@app.command()
def plan(file: File, opt: Opt = DEFAULT_OPT, json: Json = False) -> None:
    """Show what a run takes and costs on AWS.

    States, state transitions, history events, model calls and the price, before anything runs.
    """

    def body() -> int:
        from joinery_cli.commands.plan import plan_command

        return plan_command(file, opt=opt, json=json)

    raise typer.Exit(guarded(body))


@app.command()
def graph(file: File) -> None:
    """Print a workflow's graph as a Mermaid diagram."""

    def body() -> int:
        from joinery_cli.commands.graph import graph_command

        return graph_command(file)

    raise typer.Exit(guarded(body))


@app.command("run")
def run_(
    file: File,
    *,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            "-i",
            metavar="NAME=VALUE",
            help="name=text, name=@file or name:=json; once for each input.",
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="inline|local",
            callback=_known_engine,
            help="Where to run; default: local when the local stack is up, else inline.",
        ),
    ] = None,
    scripted: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Answers to play in place of a model's.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="PROVIDER:NAME", help="Use this model for every node."),
    ] = None,
    opt: Annotated[int | None, _OPT] = None,
    budget_tokens: BudgetTokens = None,
    budget_usd: BudgetUsd = None,
    allow_local_code: AllowLocalCode = False,
    upgrade_packages: Annotated[
        bool,
        typer.Option(
            "--upgrade-packages", help="Look for newer packages that meet the requirements of code."
        ),
    ] = False,
    detach: Detach = False,
    json: Json = False,
) -> None:
    """Run a workflow and show its outputs.

    Exit code 0 when the run completed, 1 when it failed, 2 when the file or an input is
    wrong, 3 when it waits for a person or is paused, 4 when you left it with Ctrl-C and it
    goes on, 130 when it was cancelled. With --detach 0 says that it was started.
    """

    def body() -> int:
        from joinery_cli.commands.run import Request, run_command

        request = Request(
            file, tuple(inputs or ()), engine, scripted, model, allow_local_code, json, opt,
            detach, budget_of(budget_tokens, budget_usd), upgrade_packages,
        )  # fmt: skip
        return run_command(request)

    raise typer.Exit(guarded(body))


@app.command()
def watch(run_id: RunId, json: Json = False) -> None:
    """Follow a run, from any terminal and at any time.

    Shows it from its beginning and ends when the run does; Ctrl-C stops the watching, not
    the run.
    """

    def body() -> int:
        from joinery_cli.commands.watch import watch_command

        return watch_command(run_id, json=json)

    raise typer.Exit(guarded(body))


@app.command()
def doctor(json: Json = False) -> None:
    """Check whether this machine can run Joinery.

    Exit code 0 when it can, 1 when it cannot.
    """

    def body() -> int:
        from joinery_cli.commands.doctor import doctor_command

        return doctor_command(json=json)

    raise typer.Exit(guarded(body))


@app.command()
def demo() -> None:
    """Run a debate from start to end.

    Starts the local stack with its model, runs examples/debate.yaml on a short document,
    shows what that would cost on AWS, and takes everything down again.
    """

    def body() -> int:
        from joinery_cli.demo import demo_command

        return demo_command()

    raise typer.Exit(guarded(body))


add_run_commands(app)


def run() -> int:
    """Runs the command that the process was started with; returns its exit code."""
    if isinstance(sys.stdout, TextIOWrapper):
        # A model writes what it likes; a terminal without Unicode shows what it can.
        sys.stdout.reconfigure(errors="replace")

    def body() -> int:
        try:
            app()
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else exits.OK
        return exits.OK

    return guarded_outside(body)
