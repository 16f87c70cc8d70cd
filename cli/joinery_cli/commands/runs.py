"""`joinery runs`, `show`, `answer`, `cancel`, `pause`, `resume`, `unlock`, `fork` and `delete`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from joinery.errors import InvalidRequest
from joinery_cli import exits
from joinery_cli.access import follow_hint, run_client, stack_client, tell
from joinery_cli.output import clean, print_json, say, show

_MOST: Final = 200
"""Runs that one answer of the API may hold."""


def runs_command(limit: int, *, json: bool) -> int:
    """Lists runs, newest first; returns the exit code."""
    with stack_client() as client:
        page = client.runs(limit=limit)
    if json:
        print_json(page["runs"])
        return exits.OK
    if not page["runs"]:
        say("no runs yet: joinery run FILE")
    for run in page["runs"]:
        show(_line(run))
    if page["next_cursor"]:
        more = f": joinery runs --limit {min(_MOST, limit * 2)}" if limit < _MOST else ""
        say(f"there are more{more}")
    return exits.OK


def _line(run: dict[str, Any]) -> str:
    when = datetime.fromisoformat(run["created_at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
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

    with run_client(run_id) as client:
        run = client.get(run_id)
        if json:
            print_json({**run, "cost": client.cost(run_id)})
            return exits.of_status(run["status"])
        state = RunState()
        for message in client.events(run_id):
            state.apply(message)
        return conclude(LocalEngine(client, run_id), state, json=False, whole=True)


def cancel_command(run_id: str, *, json: bool) -> int:
    """Cancels a run; returns the exit code."""
    with run_client(run_id) as client:
        return tell(client.cancel(run_id), json=json)


def pause_command(run_id: str, *, json: bool) -> int:
    """Pauses a run; returns the exit code."""
    with run_client(run_id) as client:
        answer = client.pause(run_id)
    return tell(answer, json=json, hint=f"go on with: joinery resume {run_id}")


def resume_command(
    run_id: str, *, budget: Mapping[str, Any] | None = None, detach: bool, json: bool
) -> int:
    """Goes on with a run and watches it; returns the exit code."""
    with run_client(run_id) as client:
        answer = client.resume(run_id, budget=budget)
    if detach:
        return tell(answer, json=json, hint=follow_hint(run_id))
    return _watch(run_id, json=json)


def unlock_command(
    run_id: str, because: str, checks: tuple[str, ...], *, detach: bool, json: bool
) -> int:
    """Unlocks a run and watches it; returns the exit code."""
    with run_client(run_id) as client:
        answer = client.unlock(run_id, because, checks=checks)
    if detach:
        return tell(answer, json=json, hint=follow_hint(run_id))
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
    with run_client(run_id) as client:
        answer = client.fork(
            run_id, node_id or None, path=path or None, inputs=parse_inputs(inputs)
        )
    if detach:
        return tell(answer, json=json, hint=follow_hint(answer["run_id"]))
    if not json:
        say(f"{answer['run_id']} is a fork of {run_id}")
    return _watch(answer["run_id"], json=json)


def answer_command(run_id: str, words: tuple[str, ...], *, json: bool) -> int:
    """Answers a question of a run, or tells its agents something; returns the exit code.

    Args:
        run_id: The run.
        words: The value, after the node or `node@path` that it is for, which may be left out.
        json: Print JSON.

    Raises:
        InvalidRequest: There are too many words.
        Conflict: It was answered already, or nobody waits for it.
    """
    from joinery_cli.asking import parse_answer

    if len(words) > 2:
        raise InvalidRequest("answer RUN_ID [NODE] VALUE: put quotes around the value")
    node_id, _, path = words[0].partition("@") if len(words) == 2 else ("", "", "")
    with run_client(run_id) as client:
        waits = [
            node
            for node in client.get(run_id, results=False)["nodes"]
            if node["status"] == "waiting" and node.get("wait")
            and node_id in ("", node["node_id"]) and path in ("", node["path"])
        ]  # fmt: skip
        value = parse_answer(words[-1], waits[0]["wait"] if len(waits) == 1 else {})
        answer = client.input(run_id, value, node_id=node_id or None, path=path or None)
    if json:
        print_json(answer)
    elif answer["kind"] == "answer":
        say(f"{answer['node_id']} is answered; {follow_hint(run_id)}")
    else:
        say(f"{answer['input_id']} is left for the run's agents")
    return exits.OK


def delete_command(run_id: str, *, cancel: bool, json: bool) -> int:
    """Deletes a run; returns the exit code."""
    with run_client(run_id) as client:
        client.delete(run_id, cancel=cancel)
    if json:
        print_json({"run_id": run_id, "deleted": True})
    else:
        say(f"{run_id} is deleted")
    return exits.OK


def _watch(run_id: str, *, json: bool) -> int:
    from joinery_cli.commands.watch import watch_command

    return watch_command(run_id, json=json)
