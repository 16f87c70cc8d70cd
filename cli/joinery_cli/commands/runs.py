"""`joinery runs`, `show`, `cancel`, `pause`, `resume`, `unlock`, `fork` and `delete`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from joinery_cli import exits
from joinery_cli.commands.local import running_stack
from joinery_cli.output import clean, print_json, say, show

if TYPE_CHECKING:
    from joinery.client import Client


@contextmanager
def _client() -> Iterator[Client]:
    """Yields a client of the running stack. Raises: Unavailable, when none runs."""
    from joinery_cli.engines.local import client_of
    from joinery_cli.local import LocalStackDown

    stack = running_stack()
    if stack is None:
        raise LocalStackDown
    with client_of(stack) as client:
        yield client


def runs_command(limit: int, *, json: bool) -> int:
    """Lists runs, newest first; returns the exit code."""
    with _client() as client:
        page = client.runs(limit=limit)
    if json:
        print_json(page["runs"])
        return exits.OK
    if not page["runs"]:
        say("no runs yet: joinery run FILE")
    for run in page["runs"]:
        show(_line(run))
    if page["next_cursor"]:
        say(f"there are more: joinery runs --limit {min(200, limit * 2)}")
    return exits.OK


def _line(run: dict[str, Any]) -> str:
    when = run["created_at"][:19].replace("T", " ")
    where = run["workflow"]
    again = f"  #{run['incarnation']}" if run["incarnation"] > 1 else ""
    fork = f"  fork of {run['forked_from']}" if run.get("forked_from") else ""
    name = clean(f"{where['name']} v{where['version']}")
    return f"{run['run_id']}  {when}  {run['status']:<9}  {name}{again}{fork}"


def show_command(run_id: str, *, json: bool) -> int:
    """Shows a run as it is now; returns the exit code of its status."""
    from joinery_cli.commands.run import conclude
    from joinery_cli.engines.local import LocalEngine
    from joinery_cli.live.state import RunState
    from joinery_cli.summary import print_summary

    with _client() as client:
        run = client.get(run_id)
        if json:
            print_json({**run, "cost": client.cost(run_id)})
            return exits.of_status(run["status"])
        state = RunState()
        for message in client.events(run_id):
            state.apply(message)
        engine = LocalEngine(client, run_id)
        if state.ended:
            return conclude(engine, state, json=False)
        print_summary(engine.result(), state)
    return exits.of_status(run["status"])


def cancel_command(run_id: str, *, json: bool) -> int:
    """Cancels a run; returns the exit code."""
    with _client() as client:
        return _told(client.cancel(run_id), json=json)


def pause_command(run_id: str, *, json: bool) -> int:
    """Pauses a run; returns the exit code."""
    with _client() as client:
        answer = client.pause(run_id)
    if not json:
        say(f"go on with: joinery resume {run_id}")
    return _told(answer, json=json)


def resume_command(
    run_id: str, *, budget: Mapping[str, Any] | None = None, detach: bool, json: bool
) -> int:
    """Goes on with a run and watches it; returns the exit code."""
    with _client() as client:
        answer = client.resume(run_id, budget=budget)
    if detach:
        return _told(answer, json=json)
    return _watch(run_id, json=json)


def unlock_command(
    run_id: str, because: str, checks: tuple[str, ...], *, detach: bool, json: bool
) -> int:
    """Unlocks a run and watches it; returns the exit code."""
    with _client() as client:
        answer = client.unlock(run_id, because, checks=checks)
    if detach:
        return _told(answer, json=json)
    return _watch(run_id, json=json)


def fork_command(
    run_id: str, place: str | None, inputs: tuple[str, ...], *, detach: bool, json: bool
) -> int:
    """Forks a run and watches the new one; returns the exit code.

    Args:
        run_id: The run.
        place: `node` or `node@path`: what runs again first.
        inputs: Inputs that change, as `joinery run` takes them.
        detach: Start it and return.
        json: Print JSON.
    """
    from joinery_cli.inputs import parse_inputs

    node_id, _, path = (place or "").partition("@")
    with _client() as client:
        answer = client.fork(
            run_id, node_id or None, path=path or None, inputs=parse_inputs(inputs)
        )
    if detach:
        return _told(answer, json=json)
    if not json:
        say(f"{answer['run_id']} is a fork of {run_id}")
    return _watch(answer["run_id"], json=json)


def delete_command(run_id: str, *, cancel: bool) -> int:
    """Deletes a run; returns the exit code."""
    with _client() as client:
        client.delete(run_id, cancel=cancel)
    say(f"{run_id} is deleted")
    return exits.OK


def _told(answer: dict[str, Any], *, json: bool) -> int:
    if json:
        print_json(answer)
    else:
        show(f"{answer['run_id']}  {answer['status']}")
    return exits.OK


def _watch(run_id: str, *, json: bool) -> int:
    from joinery_cli.commands.watch import watch_command

    return watch_command(run_id, json=json)
