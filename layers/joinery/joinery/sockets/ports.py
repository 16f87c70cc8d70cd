"""What the socket commands need from the world."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from joinery.catalog.ports import CatalogStore, Executions
from joinery.events.make import Event
from joinery.runs.deps import Deps
from joinery.runs.replay import Log


class Connections(Protocol):
    """Keeps open connections."""

    def put(self, connection_id: str, owner: str, expires_at: float) -> None:
        """Stores a connection whose token is good until then (epoch seconds)."""
        ...

    def delete(self, connection_id: str) -> None:
        """Forgets a connection; one that is not there is no error."""
        ...


class Watches(Protocol):
    """Keeps which runs a connection watches, so that it can end when it closes."""

    def add(self, connection_id: str, run_id: str) -> None:
        """Notes that a connection watches a run."""
        ...

    def remove(self, connection_id: str, run_id: str) -> None:
        """Forgets that; what is not there is no error."""
        ...

    def of(self, connection_id: str) -> Iterable[str]:
        """Returns the runs that a connection watches."""
        ...


class Subscribers(Log, Protocol):
    """The run store, as far as watching goes."""

    def subscribe(self, run_id: str, connection_id: str, owner: str, expires_at: float) -> bool:
        """Lets a connection watch a run until then (epoch seconds).

        Returns whether it gets everything live; else there are too many before it.
        Raises: NotFound.
        """
        ...

    def unsubscribe(self, run_id: str, connection_id: str) -> None:
        """Ends that; one that does not watch is no error."""
        ...


class Outlet(Protocol):
    """Sends to one connection."""

    def send(self, connection_id: str, message: Event) -> bool:
        """Sends a message; one above 128 KB becomes a `resync`.

        Returns False when the connection is gone. Raises: Unavailable, when it is busy.
        """
        ...


@dataclass(frozen=True, slots=True)
class SocketServices:
    """Everything that a message of a socket may need.

    Attributes:
        deps: For cancelling, and the store of runs.
        waking: The same with the right to wake nodes that wait.
        subscribers: The same store, as far as watching goes.
        connections: Open connections.
        watches: What they watch.
        outlet: Sends to one connection.
        catalog: The published workflows.
        executions: Starts and stops executions.
        sleep: Waits a number of seconds.
    """

    deps: Deps
    waking: Deps
    subscribers: Subscribers
    connections: Connections
    watches: Watches
    outlet: Outlet
    catalog: CatalogStore
    executions: Executions
    sleep: Callable[[float], None]
