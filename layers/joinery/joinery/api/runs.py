"""`/runs`: start, look up, list, cancel."""

from __future__ import annotations

import logging
import re
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query

from joinery.api import answers
from joinery.api.bodies import StartBody
from joinery.api.services import Caller, Needs
from joinery.api.wire import Answer, StrictRoute
from joinery.api.workflows import owned_version
from joinery.catalog.ports import Version
from joinery.errors import (
    InvalidRequest,
    JoineryError,
    NotFound,
    PermanentModelUnknown,
    Unavailable,
)
from joinery.runs.ids import run_id_for_key
from joinery.runs.model import RunRecord
from joinery.runs.ownership import own_run

log = logging.getLogger(__name__)
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
    from joinery.compiler.plan import Plan
    from joinery.runs.start import create_run

    checked_key(idempotency_key)
    extra = _extra(body)
    wanted = _version(body, services, owner, idempotency_key)
    version = owned_version(services, owner, body.workflow_id, wanted)
    run, new = create_run(
        services.run_deps(),
        Plan.from_dict(version.plan),
        owner=owner,
        workflow_id=version.workflow_id,
        version=version.version,
        given=body.inputs,
        idempotency_key=idempotency_key,
        session_id=body.session_id,
        extra=extra,
    )
    if not run.execution_arn and not run.closed:
        run = execute(services, run, version)
    return Answer({"run_id": run.run_id, "status": run.status}, 202 if new else 200)


def checked_key(key: str | None) -> str | None:
    """Returns an idempotency key. Raises: InvalidRequest."""
    if key is not None and not _KEY.fullmatch(key):
        raise InvalidRequest("an Idempotency-Key has 1 to 255 printable characters")
    return key


def _version(body: StartBody, services: Needs, owner: str, key: str | None) -> int | None:
    """Returns the version that is asked for.

    A repeated request that names none means the version that was newest when it was
    first made, whatever was published since.
    """
    if body.version is not None or key is None:
        return body.version
    try:
        run = services.run_deps().store.get_run(run_id_for_key(owner, body.workflow_id, key))
    except NotFound:
        return None
    return run.version


def _extra(body: StartBody) -> dict[str, Any]:
    """Returns what else the run is pinned to. Raises: InvalidRequest."""
    extra: dict[str, Any] = {}
    if body.cassette is not None:
        from joinery.llm.scripted import Cassette

        Cassette.from_data(body.cassette)
        extra["cassette"] = body.cassette
    if body.model is not None:
        from joinery.llm.registry import parse_model_flag

        try:
            parse_model_flag(body.model)
        except PermanentModelUnknown as error:
            raise InvalidRequest(error.message) from None
        extra["model"] = body.model
    return extra


def execute(services: Needs, run: RunRecord, version: Version) -> RunRecord:
    """Starts the execution; a run that cannot be started is closed as failed.

    Raises:
        Unavailable: Step Functions did not start it.
    """
    deps = services.run_deps()
    payload = {"run_id": run.run_id, "plan": run.plan_ref}
    try:
        arn = services.executions().start(version.machine_arn, run.run_id, payload)
    except JoineryError as error:
        from joinery.runs.end import close_failed

        log.error("run %s was not started", run.run_id, exc_info=error)
        # An answer that was lost may hide an execution: the flag stops it at its first node.
        deps.store.request_cancel(run.run_id)
        close_failed(deps, run, _not_started())
        raise Unavailable("the run could not be started", run_id=run.run_id) from error
    deps.store.mark_started(run.run_id, arn, deps.clock())
    return deps.store.get_run(run.run_id)


def _not_started() -> dict[str, Any]:
    message = "Step Functions did not start the execution"
    return {"code": "not_started", "message": message, "retryable": True}


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
    from joinery.runs.views import run_summary

    return Answer({"runs": [run_summary(run) for run in page.runs], "next_cursor": page.cursor})


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
    run = cancel_and_stop(services.run_deps(), run, services.executions().stop)
    return Answer({"run_id": run.run_id, "status": run.status})


def owned_run(services: Needs, owner: str, run_id: str) -> RunRecord:
    """Returns a run that the caller owns. Raises: NotFound."""
    return own_run(services.run_deps(), owner, run_id)
