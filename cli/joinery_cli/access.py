"""What every command on runs needs: the local stack, a client of it, and words for a run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from joinery.errors import InvalidRequest, NotFound
from joinery_cli import exits
from joinery_cli.commands.local import running_stack
from joinery_cli.output import print_json, say, show

if TYPE_CHECKING:
    from joinery.client import Client
    from joinery_cli.local import LocalStack

_RUN_ID: Final = re.compile(r"run_[0-9a-z]{26}\Z")
_LIST: Final = "list yours with: joinery runs"


def required_stack() -> LocalStack:
    """Returns the local stack. Raises: Unavailable, when none runs."""
    from joinery_cli.local import LocalStackDown

    stack = running_stack()
    if stack is None:
        raise LocalStackDown
    return stack


@contextmanager
def stack_client() -> Iterator[Client]:
    """Yields a client of the running stack. Raises: Unavailable, when none runs."""
    from joinery_cli.engines.local import client_of

    with client_of(required_stack()) as client:
        yield client


@contextmanager
def run_client(run_id: str) -> Iterator[Client]:
    """Yields a client for what is to be done with one run.

    Raises:
        InvalidRequest: That is no run id.
        NotFound: There is no such run; says where to look.
        Unavailable: No stack runs.
    """
    if not _RUN_ID.match(run_id):
        raise InvalidRequest(f"'{run_id}' is no run id, such as run_01jd5x3k8v…; {_LIST}")
    try:
        with stack_client() as client:
            yield client
    except NotFound as error:
        if run_id not in error.message:
            raise
        raise NotFound(f"{error.message}; {_LIST}") from None


def follow_hint(run_id: str) -> str:
    """Returns how to watch a run that goes on."""
    return f"watch it with: joinery watch {run_id}"


def tell(answer: Mapping[str, Any], *, json: bool, hint: str = "") -> int:
    """Prints what the API has answered of a run; returns the exit code.

    Args:
        answer: `{run_id, status}`.
        json: Whether stdout is for a program.
        hint: What the person may do next.
    """
    if json:
        print_json({"run_id": answer["run_id"], "status": answer["status"]})
    else:
        show(f"{answer['run_id']}  {answer['status']}")
        if hint:
            say(hint)
    return exits.OK
