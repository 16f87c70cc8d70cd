"""`/runs`: start, look up, list, cancel."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Header, Query

from joinery.api import answers
from joinery.api.bodies import StartBody
from joinery.api.services import Caller, Needs
from joinery.api.wire import Answer, StrictRoute
from joinery.catalog.launch import Order, execute, prepare
from joinery.errors import InvalidRequest, NotFound
from joinery.runs.model import RunRecord
from joinery.runs.ownership import own_run

router = APIRouter(route_class=StrictRoute, tags=["runs"])

_KEY = re.compile(r"[!-~]{1,255}")

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="1 to 255 printable characters. The same key again gives the same run.",
    ),
]


@router.post(
    "/runs",
    summary="Start a run",
    status_code=202,
    responses={
        200: {"model": answers.RunAccepted, "description": "The key was used before for this."},
        202: {"model": answers.RunAccepted, "description": "Started."},
        409: {"model": answers.ErrorAnswer, "description": "The key was used for something else."},
        422: {"model": answers.ErrorAnswer, "description": "All that is wrong with the inputs."},
    },
)
def start(body: StartBody, owner: Caller, services: Needs, idempotency_key: Key = None) -> Answer:
    """Makes the run and starts its execution; what it does comes as events.

    A request that got no answer is repeated with the same key: a run that was made
    and never started is started then.
    """
    order = Order(**{**body.model_dump(), "budget": body.budget and body.budget.said()})
    deps = services.run_deps()
    key = checked_key(idempotency_key)
    prepared = prepare(deps, services.catalog(), order, owner=owner, key=key)
    run = execute(deps, services.executions(), prepared)
    return Answer({"run_id": run.run_id, "status": run.status}, 202 if prepared.new else 200)


def checked_key(key: str | None) -> str | None:
    """Returns an idempotency key. Raises: InvalidRequest."""
    if key is not None and not _KEY.fullmatch(key):
        raise InvalidRequest("an Idempotency-Key has 1 to 255 printable characters")
    return key


@router.get(
    "/runs",
    summary="List your runs",
    responses={200: {"model": answers.RunList}},
)
def list_runs(
    owner: Caller,
    services: Needs,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=512)] = None,
) -> Answer:
    """Returns them newest first; `next_cursor` is null on the last page."""
    page = services.archive().list_runs(owner, limit, cursor)
    from joinery.runs.views import run_summary, shown_status

    store = services.run_deps().store
    rows = [run_summary(run, shown_status(store, run)) for run in page.runs]
    return Answer({"runs": rows, "next_cursor": page.cursor})


@router.get(
    "/runs/{run_id}",
    summary="Get a run",
    responses={200: {"model": answers.RunDetail}, 404: {"model": answers.ErrorAnswer}},
)
def get_run(run_id: str, owner: Caller, services: Needs, results: bool = True) -> Answer:
    """Returns a run with its nodes, outputs and results."""
    from joinery.runs.views import run_view

    run = owned_run(services, owner, run_id)
    smaller = f"GET /runs/{run_id}?results=false"
    try:
        view = run_view(services.run_deps().store, run, results=results)
    except NotFound as error:
        raise NotFound(f"{error.message}; {smaller} shows the rest") from None
    return Answer(view, instead=smaller if results else "")


@router.post(
    "/runs/{run_id}/cancel",
    summary="Cancel a run",
    responses={
        200: {"model": answers.RunAccepted},
        404: {"model": answers.ErrorAnswer},
        409: {"model": answers.ErrorAnswer, "description": "The run has ended in another way."},
    },
)
def cancel(run_id: str, owner: Caller, services: Needs) -> Answer:
    """Closes it and stops its execution; running nodes see it within a second.

    Cancelling a cancelled run changes nothing and is no error.
    """
    from joinery.runs.cancel import cancel_and_stop

    run = owned_run(services, owner, run_id)
    run = cancel_and_stop(services.closing_deps(), run, services.executions().stop)
    return Answer({"run_id": run.run_id, "status": run.status})


def owned_run(services: Needs, owner: str, run_id: str) -> RunRecord:
    """Returns a run that the caller owns. Raises: NotFound."""
    return own_run(services.run_deps(), owner, run_id)
