"""The words and options of `joinery local`."""

from __future__ import annotations

from typing import Annotated

import typer

from joinery_cli.guard import guarded

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]

AllowLocalCode = Annotated[
    bool,
    typer.Option(
        "--allow-local-code",
        envvar="JOINERY_ALLOW_LOCAL_CODE",
        help="Run code and tools also where there is no sandbox: they can read your files.",
    ),
]

local_app = typer.Typer(
    help="The local stack: the same template on this machine.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@local_app.command("up")
def local_up(
    model: Annotated[bool, typer.Option(help="Start the built-in model as well.")] = True,
    allow_local_code: AllowLocalCode = False,
) -> None:
    """Start the local stack, or bring it up to date."""

    def body() -> int:
        from joinery_cli.commands.local import up_command

        return up_command(model=model, allow_local_code=allow_local_code)

    raise typer.Exit(guarded(body))


@local_app.command("down")
def local_down() -> None:
    """Stop the local stack."""

    def body() -> int:
        from joinery_cli.commands.local import down_command

        return down_command()

    raise typer.Exit(guarded(body))


@local_app.command("status")
def local_status(json: Json = False) -> None:
    """Say how the local stack is. Exit code 0 when it is up, 1 otherwise."""

    def body() -> int:
        from joinery_cli.commands.local import status_command

        return status_command(json=json)

    raise typer.Exit(guarded(body))


@local_app.command("logs")
def local_logs(
    function: Annotated[
        str | None, typer.Argument(help="Only this function, such as run_node.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines.")] = False,
) -> None:
    """Print the functions' logs."""

    def body() -> int:
        from joinery_cli.commands.local import logs_command

        return logs_command(function=function, follow=follow)

    raise typer.Exit(guarded(body))
