"""What the catalogue needs from the world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Version:
    """One published version of a workflow; never changed once stored.

    Attributes:
        workflow_id: `wf_` and 24 hex digits made from owner and name.
        version: 1, 2, ….
        owner: Who published it.
        name: The workflow's name.
        content_hash: SHA-256 of everything that decides how it runs.
        machine_arn: Its state machine.
        opt: Optimisation level.
        created_at: Epoch seconds.
        plan: The plan as data; empty in listings.
        source: The file as it was published; empty in listings.
        run_on: `standard` or `inline`: where its runs are run.
    """

    workflow_id: str
    version: int
    owner: str
    name: str
    content_hash: str
    machine_arn: str
    opt: int
    created_at: float
    plan: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    run_on: str = "standard"


class CatalogStore(Protocol):
    """Keeps published workflows."""

    def latest(self, workflow_id: str) -> Version | None:
        """Returns the newest version, or None when there is none."""
        ...

    def version(self, workflow_id: str, version: int) -> Version:
        """Returns a version. Raises: NotFound."""
        ...

    def add_version(self, version: Version) -> None:
        """Stores a version, if its number is the next one.

        Raises:
            Conflict: Somebody else has published meanwhile.
        """
        ...

    def list_workflows(self, owner: str, limit: int) -> list[Version]:
        """Returns the newest version of each of an owner's workflows, newest first."""
        ...


class Machines(Protocol):
    """Makes state machines; only the `publisher` function may."""

    def ensure(self, name: str, definition: str) -> str:
        """Returns the ARN of the machine with this name, creating it when there is none."""
        ...


class TaskTokens(Protocol):
    """Ends the waits of Tasks; a token whose Task waits no more is left alone."""

    def succeed(self, token: str, output: str) -> None:
        """Ends a wait with JSON."""
        ...

    def fail(self, token: str, error: str, cause: str) -> None:
        """Ends a wait with an error, which Retry and Catch match by its name."""
        ...


class Executions(Protocol):
    """Starts and stops executions of state machines."""

    def start(self, machine_arn: str, name: str, payload: Mapping[str, Any]) -> str:
        """Starts an execution and returns its ARN; the same name again gives the same one."""
        ...

    def stop(self, execution_arn: str, cause: str) -> None:
        """Stops an execution; one that has ended is left alone."""
        ...

    def transitions(self, execution_arn: str) -> int | None:
        """Counts the state transitions so far, from the execution's history and its items'.

        None where there are too many items to ask for.
        """
        ...
