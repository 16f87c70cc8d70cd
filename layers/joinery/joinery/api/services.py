"""What the routes need, and who is calling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from joinery.catalog.ports import CatalogStore, Executions, Machines
from joinery.compiler.plan import Plan
from joinery.errors import Unauthorized
from joinery.identity.passes import Passes
from joinery.identity.tickets import Tickets
from joinery.packages.ports import PackageStore
from joinery.runs.deps import Deps
from joinery.runs.model import RunRecord
from joinery.runs.stream import Source


class RunPage(Protocol):
    """Some runs of an owner; `cursor` leads to the next ones, None at the end."""

    @property
    def runs(self) -> Sequence[RunRecord]:
        """The runs, newest first."""
        ...

    @property
    def cursor(self) -> str | None:
        """Where the next page begins."""
        ...


class RunArchive(Source, Protocol):
    """What the API needs of a store besides running: lists, and a log without gaps."""

    def list_runs(self, owner: str, limit: int, cursor: str | None) -> RunPage:
        """Returns an owner's runs, newest first. Raises: InvalidRequest, for a bad cursor."""
        ...


class Services(Protocol):
    """What the routes need; each part is made when it is first asked for."""

    def run_deps(self) -> Deps:
        """Returns what starting and cancelling runs needs."""
        ...

    def closing_deps(self) -> Deps:
        """Returns the same with the right to wake nodes that wait."""
        ...

    def archive(self) -> RunArchive:
        """Returns the same store, as a reader sees it."""
        ...

    def catalog(self) -> CatalogStore:
        """Returns the published workflows."""
        ...

    def packages(self) -> PackageStore:
        """Returns where the packages of users' code are kept."""
        ...

    def machines(self) -> Machines:
        """Returns what makes state machines."""
        ...

    def executions(self) -> Executions:
        """Returns what starts and stops executions."""
        ...

    def tickets(self) -> Tickets:
        """Returns the tickets that were not used yet."""
        ...

    def passes(self) -> Passes:
        """Returns the passes to the events of a run."""
        ...

    def plan(self, ref: str) -> Plan:
        """Returns a plan by `<workflow_id>/<version>`. Raises: NotFound."""
        ...

    def calls_of_run(self, run_id: str, since: float) -> Mapping[str, float]:
        """Returns the AWS calls of a run's node invocations, by `service.Operation`.

        `since` is in epoch seconds: there is nothing of the run before.
        """
        ...

    def run_node_arn(self) -> str:
        """Returns what compiled machines invoke."""
        ...

    def machine_prefix(self) -> str:
        """Returns what names of machines begin with."""
        ...


bearer = HTTPBearer(auto_error=False, description="A token of this installation")
"""For OpenAPI only: API Gateway has called the authorizer before anything comes here."""


def _services(request: Request) -> Any:
    return request.app.state.services


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the authorizer found.

    Attributes:
        owner: Whose runs and workflows these are.
        expires_at: Epoch seconds at which the token ends.
        via: How it was shown: by `token`, `ticket` or `pass`.
        run_id: The run that a pass is good for.
    """

    owner: str
    expires_at: float
    via: str
    run_id: str


def _viewer(request: Request) -> Identity:
    """Returns who the authorizer found; nothing else is believed."""
    context = request.scope.get("aws.event", {}).get("requestContext", {})
    found = context.get("authorizer", {}).get("lambda") or {}
    owner = found.get("owner")
    if not isinstance(owner, str) or not owner:
        raise Unauthorized("no valid token: send 'Authorization: Bearer <token>'")
    return Identity(
        owner,
        float(found.get("expires_at", 0)),
        str(found.get("via", "token")),
        str(found.get("run_id", "")),
    )


def _identity(request: Request) -> Identity:
    """Returns who sent a token: what stands in a query opens streams and nothing else."""
    found = _viewer(request)
    if found.via != "token":
        raise Unauthorized("no valid token: send 'Authorization: Bearer <token>'")
    return found


def _caller(request: Request) -> str:
    return _identity(request).owner


Needs = Annotated[Services, Depends(_services)]
Caller = Annotated[str, Depends(_caller)]
Known = Annotated[Identity, Depends(_identity)]
Viewer = Annotated[Identity, Depends(_viewer)]
