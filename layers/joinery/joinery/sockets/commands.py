"""What each command of a socket does; the answer is the frame that it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from joinery import limits
from joinery.catalog.launch import execute, prepare
from joinery.errors import CursorAhead
from joinery.events.make import Event
from joinery.identity.tokens import Caller
from joinery.runs.cancel import cancel_and_stop
from joinery.runs.model import RunRecord
from joinery.runs.ownership import own_run
from joinery.sockets.frames import Command, answer, hint_frame
from joinery.sockets.ports import SocketServices
from joinery.sockets.replay import Gone, replay


@dataclass(frozen=True, slots=True)
class Request:
    """A command with who sent it, on which connection."""

    services: SocketServices
    connection_id: str
    caller: Caller
    command: Command

    def own_run(self) -> RunRecord:
        """Returns the run that the command names. Raises: NotFound."""
        return own_run(self.services.deps, self.caller.owner, self.command.run_id)

    def head(self) -> int:
        """Returns the highest seq of that run."""
        return self.services.deps.store.control(self.command.run_id).head

    def ack(self, **data: Any) -> Event:
        """Returns the frame that says the command was carried out."""
        shown = {"action": self.command.action, **data}
        at = self.services.deps.clock()
        return answer("ack", self.command, shown, at=at, head=self.head())


def carry_out(request: Request) -> Event:
    """Carries out a command and returns its `ack` or `pong`.

    Raises:
        JoineryError: Why it was not carried out.
        Gone: The connection was closed meanwhile.
    """
    return _DOES[request.command.action](request)


def _ping(request: Request) -> Event:
    command, clock = request.command, request.services.deps.clock
    if not command.run_id:
        return answer("pong", command, {}, at=clock())
    request.own_run()
    return answer("pong", command, {}, at=clock(), head=request.head())


def _subscribe(request: Request) -> Event:
    run, head = request.own_run(), request.head()
    if request.command.after_seq > head:
        raise CursorAhead(request.command.after_seq, head)
    return request.ack(**_watch(request, run))


def _unsubscribe(request: Request) -> Event:
    services, run = request.services, request.own_run()
    services.subscribers.unsubscribe(run.run_id, request.connection_id)
    services.watches.remove(request.connection_id, run.run_id)
    return request.ack()


def _start(request: Request) -> Event:
    """Makes a run, watches it, and only then starts it: so nothing of it can be missed."""
    services, order = request.services, request.command.order
    assert order is not None
    prepared = prepare(
        services.deps,
        services.catalog,
        order,
        owner=request.caller.owner,
        key=request.command.request_id,
    )
    named = replace(request, command=replace(request.command, run_id=prepared.run.run_id))
    sent: dict[str, Any] = {}
    try:
        if request.command.subscribe:
            sent = _watch(named, prepared.run)
    finally:
        # Whoever asked may be gone: what they asked for was stored and is done.
        run = execute(services.deps, services.executions, prepared)
    return named.ack(**{**sent, "status": run.status, "created": prepared.new})


def _cancel(request: Request) -> Event:
    services = request.services
    run = cancel_and_stop(services.waking, request.own_run(), services.executions.stop)
    return request.ack(status=run.status)


def _pause(request: Request) -> Event:
    from joinery.runs.control import pause

    services = request.services
    run = pause(services.deps, request.own_run(), services.executions.stop)
    return request.ack(status=run.status)


def _resume(request: Request) -> Event:
    from joinery.catalog.launch import launcher
    from joinery.runs.control import resume

    services = request.services
    launch = launcher(services.catalog, services.executions)
    run = resume(services.deps, request.own_run(), launch, budget=request.command.budget)
    return request.ack(status=run.status)


def _unlock(request: Request) -> Event:
    from joinery.catalog.launch import launcher
    from joinery.runs.control import unlock

    services, command = request.services, request.command
    launch = launcher(services.catalog, services.executions)
    run = unlock(
        services.deps, request.own_run(), launch, because=command.because, checks=command.checks
    )
    return request.ack(status=run.status)


def _input(request: Request) -> Event:
    from joinery.runs.say import give_input

    given = request.command.given
    assert given is not None
    taken = give_input(request.services.waking, request.own_run(), given)
    return request.ack(**{name: value for name, value in taken.items() if name != "run_id"})


def _watch(request: Request, run: RunRecord) -> dict[str, Any]:
    """Records a subscription, then replays; nothing more comes of a run that has ended.

    One for whom there is no room gets a `hint` in place of the replay: it pulls all.
    """
    services, connection_id = request.services, request.connection_id
    live = {}
    if not run.closed:
        now, caller = services.deps.clock(), request.caller
        until = min(caller.expires_at, now + limits.WEBSOCKET_LIFETIME_S)
        # The connection first: what it watches must be found when it closes.
        services.watches.add(connection_id, run.run_id)
        room = services.subscribers.subscribe(run.run_id, connection_id, caller.owner, until)
        if not room:
            if not services.outlet.send(
                connection_id, hint_frame(run.run_id, at=now, head=request.head())
            ):
                raise Gone
            return {"status": run.status, "live": False, "events": 0, "deltas": 0}
        live = {"live": True}
    sent = replay(services, connection_id, request.command)
    status = services.deps.store.get_run(run.run_id).status
    return {"status": status, **live, "events": sent.events, "deltas": sent.deltas}


_DOES: Final[Mapping[str, Callable[[Request], Event]]] = {
    "subscribe": _subscribe,
    "unsubscribe": _unsubscribe,
    "ping": _ping,
    "start": _start,
    "cancel": _cancel,
    "pause": _pause,
    "resume": _resume,
    "unlock": _unlock,
    "input": _input,
}
"""By action, as the event schema lists them."""
