"""`joinery local`: up, down, status, logs."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from joinery_cli import exits
from joinery_cli.output import clean, print_json, say, show

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

HOME_VARIABLE = "JOINERY_LOCAL_HOME"
"""Names the folder of another local stack than the project's own."""


def stack_home() -> Path | None:
    """Returns the folder of the stack that is meant; None for the project's own."""
    named = os.environ.get(HOME_VARIABLE)
    return Path(named) if named else None


def running_stack() -> LocalStack | None:
    """Returns the local stack if it is up; None too where there is no checkout to have one."""
    from joinery.errors import NotFound
    from joinery_cli.local import LocalStackDown, current

    try:
        return current(home=stack_home())
    except (LocalStackDown, NotFound):
        return None


def progress_to_stderr() -> Callable[[str, str], None]:
    """Returns a function that tells each step on a line, with the time since the first."""
    begun = time.monotonic()

    def tell(step: str, detail: str) -> None:
        say(f"  {time.monotonic() - begun:5.1f} s  {step:9}{detail}")

    return tell


def up_command(*, model: bool, allow_local_code: bool = False) -> int:
    """Brings the local stack up; returns the exit code."""
    from joinery_cli.local import up

    stack = up(
        progress_to_stderr(), model=model, home=stack_home(), allow_local_code=allow_local_code
    )
    show(f"up: {stack.http_api_url}")
    return exits.OK


def down_command() -> int:
    """Takes the local stack down; returns the exit code."""
    from joinery_cli.local import down

    show("down" if down(home=stack_home()) else "there was no local stack")
    return exits.OK


def status_command(*, json: bool) -> int:
    """Prints how the local stack is; returns the exit code."""
    from joinery_cli.local import status

    found = status(home=stack_home())
    stack = found.stack
    facts = {
        "state": found.state,
        "http_api_url": stack.outputs.get("HttpApiUrl") if stack else None,
        "websocket_url": stack.outputs.get("WebSocketUrl") if stack else None,
        "model": (stack.model_name or None) if stack else None,
        "services": found.services,
    }
    if json:
        print_json(facts)
    else:
        show(f"local stack: {found.state}")
        if stack:
            show(f"  HTTP API    {facts['http_api_url']}")
            show(f"  WebSocket   {facts['websocket_url']}")
            show(f"  model       {facts['model'] or 'none'}")
            show(f"  logs        {stack.home}")
        for name, answers in found.services.items():
            show(f"  {name:10}  {'answers' if answers else 'does not answer'}")
    return exits.OK if found.state == "up" else exits.FAILED


def logs_command(*, function: str | None, follow: bool) -> int:
    """Prints the functions' log lines; returns the exit code."""
    from datetime import UTC, datetime

    from joinery_cli.local import logs

    try:
        for line in logs(follow=follow, function=function, home=stack_home()):
            at = datetime.fromtimestamp(line.timestamp / 1000, UTC).strftime("%H:%M:%S")
            show(clean(f"{at} {line.function:12} {line.message}"))
    except KeyboardInterrupt:
        if not follow:
            raise
        sys.stdout.flush()
    return exits.OK
