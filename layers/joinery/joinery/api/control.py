"""`/runs/{run_id}/…`: pause, resume, unlock, input, fork; and delete."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from joinery.api import answers
from joinery.api.bodies import ForkBody, InputBody, ResumeBody, UnlockBody
from joinery.api.runs import Key, checked_key, owned_run
from joinery.api.services import Caller, Needs
from joinery.api.wire import Answer, StrictRoute
from joinery.errors import Conflict, Unavailable
from joinery.runs.terms import checked_budget

router = APIRouter(route_class=StrictRoute, tags=["runs"])

_REFUSED: dict[int | str, dict[str, Any]] = {
    404: {"model": answers.ErrorAnswer},
    409: {"model": answers.ErrorAnswer, "description": "Not possible in the run's status."},
}


@router.post(
    "/runs/{run_id}/pause",
    summary="Pause a run",
    responses={200: {"model": answers.RunAccepted}, **_REFUSED},
)
def pause(run_id: str, owner: Caller, services: Needs) -> Answer:
    """Lets no further node begin. Those that run may finish; their results are kept."""
    from joinery.runs.control import pause as pause_run

    run = owned_run(services, owner, run_id)
    run = pause_run(services.run_deps(), run, services.executions().stop)
    return Answer({"run_id": run.run_id, "status": run.status})


@router.post(
    "/runs/{run_id}/resume",
    summary="Go on with a run",
    responses={200: {"model": answers.RunAccepted}, **_REFUSED},
)
def resume(run_id: str, owner: Caller, services: Needs, body: ResumeBody | None = None) -> Answer:
    """Goes on with a run that is paused, or from the node at which it failed.

    One that is out of budget needs a larger `budget`.
    """
    from joinery.catalog.launch import launcher
    from joinery.runs.control import resume as resume_run

    run = owned_run(services, owner, run_id)
    launch = launcher(services.catalog(), services.executions())
    budget = checked_budget(body.budget.said()) if body and body.budget else None
    run = resume_run(services.run_deps(), run, launch, budget=budget)
    return Answer({"run_id": run.run_id, "status": run.status})


@router.post(
    "/runs/{run_id}/unlock",
    summary="Unlock a run",
    responses={200: {"model": answers.RunAccepted}, **_REFUSED},
)
def unlock(run_id: str, body: UnlockBody, owner: Caller, services: Needs) -> Answer:
    """Goes on with a run that its breaker has stopped, for a reason or after three checks."""
    from joinery.catalog.launch import launcher
    from joinery.runs.control import unlock as unlock_run

    run = owned_run(services, owner, run_id)
    launch = launcher(services.catalog(), services.executions())
    deps = services.run_deps()
    run = unlock_run(deps, run, launch, because=body.because, checks=body.checks)
    return Answer({"run_id": run.run_id, "status": run.status})


@router.post(
    "/runs/{run_id}/input",
    summary="Answer a question, or speak to an agent",
    responses={
        200: {"model": answers.InputTaken},
        413: {"model": answers.ErrorAnswer},
        422: {"model": answers.ErrorAnswer, "description": "All that is wrong with the answer."},
        429: {"model": answers.ErrorAnswer, "description": "Too many messages wait."},
        **_REFUSED,
    },
)
def give_input(
    run_id: str, body: InputBody, owner: Caller, services: Needs, idempotency_key: Key = None
) -> Answer:
    """Answers a node that waits, or leaves a message for an agent that works.

    The first answer is taken, another one is refused with 409. With an `Idempotency-Key`
    the same request may be sent again.
    """
    from joinery.runs.answers import Given
    from joinery.runs.say import give_input as give

    run = owned_run(services, owner, run_id)
    key = checked_key(idempotency_key) or uuid.uuid4().hex
    given = Given(key, body.value, body.node_id, body.path)
    return Answer(give(services.closing_deps(), run, given))


@router.post(
    "/runs/{run_id}/fork",
    summary="Fork a run",
    status_code=202,
    responses={
        200: {"model": answers.RunAccepted, "description": "The key was used before for this."},
        202: {"model": answers.RunAccepted, "description": "Started."},
        422: {"model": answers.ErrorAnswer, "description": "All that is wrong with the inputs."},
        **_REFUSED,
    },
)
def fork(
    run_id: str, body: ForkBody, owner: Caller, services: Needs, idempotency_key: Key = None
) -> Answer:
    """Starts a new run that takes over what had ended before a node, and runs the rest."""
    from joinery.catalog.launch import Prepared, execute
    from joinery.compiler.plan import Plan
    from joinery.runs.fork import fork as fork_run

    run = owned_run(services, owner, run_id)
    version = services.catalog().version(run.workflow_id, run.version)
    made, new = fork_run(
        services.run_deps(),
        Plan.from_dict(version.plan),
        run,
        node_id=body.node_id,
        path=body.path,
        inputs=body.inputs,
        idempotency_key=checked_key(idempotency_key),
    )
    made = execute(services.run_deps(), services.executions(), Prepared(made, version, new))
    return Answer({"run_id": made.run_id, "status": made.status}, 202 if new else 200)


@router.delete(
    "/runs/{run_id}",
    summary="Delete a run",
    status_code=204,
    responses={204: {"description": "Nothing of it is left."}, **_REFUSED},
)
def delete(
    run_id: str,
    owner: Caller,
    services: Needs,
    cancel: Annotated[bool, Query(description="Cancel it first, if it has not ended.")] = False,
) -> Response:
    """Deletes a run that has ended: its events, texts, results and inputs."""
    from joinery.runs.cancel import cancel_and_stop
    from joinery.runs.end import settle_end

    run = owned_run(services, owner, run_id)
    deps = services.closing_deps()
    if cancel and not run.closed:
        run = cancel_and_stop(deps, run, services.executions().stop)
    if not run.closed:
        raise Conflict(f"a run that is {run.status} cannot be deleted", status=run.status)
    if run.status != "completed":
        # Whoever ended it may have died before what is below it had ended.
        settle_end(deps, run, deps.store.nodes(run.run_id))
    if not deps.store.delete_run(run.run_id):
        raise Unavailable("some of the run is left: ask again", run_id=run.run_id)
    return Response(status_code=204)
