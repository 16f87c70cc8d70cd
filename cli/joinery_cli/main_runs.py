"""The words and options of the commands that look at runs and steer them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from joinery_cli.guard import guarded
from joinery_cli.main_local import Json

RunId = Annotated[str, typer.Argument(metavar="RUN_ID", help="As `joinery runs` lists it.")]
Detach = Annotated[bool, typer.Option("--detach", help="Start it and return; do not watch it.")]

BudgetTokens = Annotated[
    int | None, typer.Option("--budget-tokens", min=1, help="Most tokens that the run may use.")
]
BudgetUsd = Annotated[
    float | None, typer.Option("--budget-usd", help="Most US dollars that its models may cost.")
]


def budget_of(tokens: int | None, usd: float | None) -> dict[str, Any] | None:
    """Returns the budget that options name, None for none. Raises: InvalidRequest."""
    from joinery.runs.terms import checked_budget

    said = {"tokens": tokens, "usd": usd}
    named = {unit: most for unit, most in said.items() if most is not None}
    return checked_budget(named) if named else None


def add_run_commands(app: typer.Typer) -> None:
    """Adds `runs`, `show`, `answer`, `cancel`, `pause`, `resume`, `unlock`, `fork`, `delete`."""
    for command in (runs, show, answer, cancel, pause, resume, unlock, fork, delete):
        app.command()(command)


def runs(
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many, newest first.")] = 20,
    json: Json = False,
) -> None:
    """List your runs."""

    def body() -> int:
        from joinery_cli.commands.runs import runs_command

        return runs_command(limit, json=json)

    raise typer.Exit(guarded(body))


def show(run_id: RunId, json: Json = False) -> None:
    """Show a run: its nodes, outputs and cost."""

    def body() -> int:
        from joinery_cli.commands.runs import show_command

        return show_command(run_id, json=json)

    raise typer.Exit(guarded(body))


def cancel(run_id: RunId, json: Json = False) -> None:
    """Cancel a run; what runs stops within two seconds."""

    def body() -> int:
        from joinery_cli.commands.runs import cancel_command

        return cancel_command(run_id, json=json)

    raise typer.Exit(guarded(body))


def pause(run_id: RunId, json: Json = False) -> None:
    """Let no further node of a run begin; those that run may finish."""

    def body() -> int:
        from joinery_cli.commands.runs import pause_command

        return pause_command(run_id, json=json)

    raise typer.Exit(guarded(body))


def resume(
    run_id: RunId,
    *,
    budget_tokens: BudgetTokens = None,
    budget_usd: BudgetUsd = None,
    detach: Detach = False,
    json: Json = False,
) -> None:
    """Go on with a run that is paused, out of budget, or from the node at which it failed."""

    def body() -> int:
        from joinery_cli.commands.runs import resume_command

        budget = budget_of(budget_tokens, budget_usd)
        return resume_command(run_id, budget=budget, detach=detach, json=json)

    raise typer.Exit(guarded(body))


def unlock(
    run_id: RunId,
    *,
    because: Annotated[str, typer.Option(metavar="REASON", help="Why it may go on.")] = "",
    checks: Annotated[
        list[str] | None,
        typer.Option(
            "--check",
            metavar="content|cost|risk",
            help="In place of a reason: the content is as expected, the extra cost is "
            "understood, the risk is accepted. All three are needed.",
        ),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not watch it.")] = False,
    json: Json = False,
) -> None:
    """Let a run go on that its breaker has stopped."""

    def body() -> int:
        from joinery_cli.commands.runs import unlock_command

        return unlock_command(run_id, because, tuple(checks or ()), detach=detach, json=json)

    raise typer.Exit(guarded(body))


def answer(
    run_id: RunId,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[NODE[@PATH]] VALUE",
            help="The answer; where several questions wait, after the one that it answers.",
        ),
    ],
    json: Json = False,
) -> None:
    """Answer a question of a run that waits, or tell its agents something."""

    def body() -> int:
        from joinery_cli.commands.runs import answer_command

        return answer_command(run_id, tuple(words), json=json)

    raise typer.Exit(guarded(body))


def fork(
    run_id: RunId,
    *,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="NODE[@PATH]",
            help="First node to run again, at a round or item; everything when left out.",
        ),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", metavar="NAME=VALUE", help="An input that changes."),
    ] = None,
    detach: Detach = False,
    json: Json = False,
) -> None:
    """Start a new run that keeps what another one did before a node."""

    def body() -> int:
        from joinery_cli.commands.runs import fork_command

        return fork_command(run_id, from_, tuple(inputs or ()), detach=detach, json=json)

    raise typer.Exit(guarded(body))


def delete(
    run_id: RunId,
    force: Annotated[bool, typer.Option("--cancel", help="Cancel it first if needed.")] = False,
    json: Json = False,
) -> None:
    """Delete all that is stored of a run."""

    def body() -> int:
        from joinery_cli.commands.runs import delete_command

        return delete_command(run_id, cancel=force, json=json)

    raise typer.Exit(guarded(body))
