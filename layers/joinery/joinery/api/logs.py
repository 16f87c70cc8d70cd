"""`/runs/{run_id}/texts` and `/cost`, `/sessions/{session_id}/usage`: what runs leave behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from joinery.api import answers
from joinery.api.events import PAGE_BYTES
from joinery.api.runs import owned_run
from joinery.api.services import Caller, Needs
from joinery.api.wire import Answer, StrictRoute
from joinery.catalog.launch import SESSION_ID
from joinery.errors import InvalidRequest, NotFound
from joinery.runs.model import NodeRecord, RunRecord
from joinery.runs.replay import text_rows
from joinery.strictjson import to_json

router = APIRouter(route_class=StrictRoute, tags=["runs"])


@router.get(
    "/runs/{run_id}/texts",
    summary="Read the text of a run",
    responses={200: {"model": answers.TextPage}, 404: {"model": answers.ErrorAnswer}},
)
def texts(
    run_id: str,
    owner: Caller,
    services: Needs,
    node_id: Annotated[str | None, Query(max_length=64)] = None,
    cursor: Annotated[str | None, Query(max_length=16)] = None,
) -> Answer:
    """Returns the stored pieces of all streams; a client merges them by their offsets.

    With `node_id`, only that node's. `cursor` is the `next_cursor` of the page before.
    """
    run = owned_run(services, owner, run_id)
    store = services.run_deps().store
    # Pieces first: a piece whose node is not read with it would be left out.
    pieces = store.texts(run.run_id)
    rows = text_rows(pieces, store.nodes(run.run_id))
    if node_id is not None:
        rows = [row for row in rows if row["node_id"] == node_id]
    start = _place(cursor)
    shown = rows[start:]
    shown = shown[: max(1, _fitting(shown))]
    end = start + len(shown)
    following = str(end) if end < len(rows) else None
    return Answer({"texts": shown, "next_cursor": following})


def _place(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit()):
        raise InvalidRequest("the cursor is not one that a list gave")
    return int(cursor)


def _fitting(rows: Sequence[Any]) -> int:
    """Returns how many rows from the first on one answer can hold."""
    size = 0
    for count, row in enumerate(rows):
        size += len(to_json(row))
        if size > PAGE_BYTES:
            return max(1, count)
    return len(rows)


@router.get(
    "/runs/{run_id}/cost",
    summary="What a run has cost",
    responses={200: {"model": answers.Cost}, 404: {"model": answers.ErrorAnswer}},
)
def cost(run_id: str, owner: Caller, services: Needs) -> Answer:
    """Returns what the run used so far, and what that costs without model fees."""
    from joinery.runs.control import executions_of
    from joinery.runs.cost import run_cost

    run = owned_run(services, owner, run_id)
    counts = [services.executions().transitions(arn) for arn in executions_of(run)]
    counted = sum(count for count in counts if count is not None)
    records = services.run_deps().store.nodes(run_id)
    calls = services.calls_of_run(run_id, run.created_at)
    single = bool(run.execution_arn) and run.incarnation == 1
    predicted = _predicted(services, run, records) if single else 0
    if None in counts:
        # Too many items to read the history of each: what they were to take stands for it.
        counted = predicted or _predicted(services, run, records)
    estimate = services.run_deps().store.extra(run_id).get("estimate")
    return Answer(
        run_cost(
            run,
            records,
            counted,
            calls,
            predicted=predicted,
            exact=None not in counts,
            estimate=estimate,
        )
    )


def _predicted(services: Needs, run: RunRecord, records: Sequence[NodeRecord]) -> int:
    """Returns the transitions of the run's machine for the way that its nodes took."""
    from joinery.compiler.emit import emit
    from joinery.compiler.plan import Plan
    from joinery.compiler.predict import transitions_of

    version = services.catalog().version(run.workflow_id, run.version)
    plan = Plan.from_dict(version.plan)
    return transitions_of(plan, emit(plan), records)


@router.get(
    "/sessions/{session_id}/usage",
    summary="What a session used",
    responses={200: {"model": answers.SessionUsage}, 404: {"model": answers.ErrorAnswer}},
)
def session_usage(
    session_id: Annotated[str, Path(pattern=SESSION_ID)], owner: Caller, services: Needs
) -> Answer:
    """Returns what models were used for in your runs of a session that have ended."""
    usage = services.run_deps().store.ledgers.session(owner, session_id)
    if usage is None:
        raise NotFound(f"no run of session {session_id} has used a model and ended")
    return Answer({"session_id": session_id, "usage": usage})
