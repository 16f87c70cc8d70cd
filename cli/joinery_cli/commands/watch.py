"""`joinery watch`."""

from __future__ import annotations

from joinery_cli import exits
from joinery_cli.access import follow_hint, run_client
from joinery_cli.commands.run import asker_of, conclude
from joinery_cli.live.views import choose_view
from joinery_cli.output import say
from joinery_cli.session import Session


def watch_command(run_id: str, *, json: bool) -> int:
    """Follows a run on the local stack; returns the exit code.

    Raises:
        InvalidRequest: That is no run id.
        NotFound: There is no such run.
        Unavailable: The stack is not running.
    """
    from joinery_cli.engines.local import LocalEngine
    from joinery_cli.live.lines import LinePrinter

    with run_client(run_id) as client:
        client.get(run_id)  # tells at once when there is no such run
        engine = LocalEngine(client, run_id)
        if not json:
            view = choose_view(json=False)
            asker = asker_of(engine, view, json=False)
            state = Session(engine, view, cancellable=False, asker=asker).run()
            return conclude(engine, state, json=False)
        state = Session(engine, LinePrinter(), cancellable=False).run()
    if not state.ended:
        say(f"the run goes on; {follow_hint(run_id)}")
        return exits.DETACHED
    return exits.of_status(state.status)
