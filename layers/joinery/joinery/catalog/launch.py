"""Starts runs of published workflows, for whoever asks: over HTTP or over a socket."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from joinery.catalog.lookup import owned_version
from joinery.catalog.ports import CatalogStore, Executions, Version
from joinery.errors import InvalidRequest, JoineryError, NotFound, Unavailable
from joinery.model_errors import PermanentModelUnknown
from joinery.runs.control import Launch, execution_name
from joinery.runs.deps import Deps
from joinery.runs.ids import run_id_for_key
from joinery.runs.model import RunRecord
from joinery.runs.terms import checked_budget

log = logging.getLogger(__name__)

VERSION_MAX: Final = 999_999
WORKFLOW_ID_CHARS: Final = 64
SESSION_ID: Final = r"^[A-Za-z0-9._:-]{1,64}$"
BECAUSE_CHARS: Final = 2_000
MODEL: Final = r"^[a-z0-9_-]{1,32}(:\S{1,128})?$"


@dataclass(frozen=True, slots=True)
class Order:
    """What to start.

    Attributes:
        workflow_id: The workflow.
        version: Its version; the newest when None.
        inputs: The inputs by name.
        session_id: The session that the run belongs to.
        cassette: Recorded answers that the run replays.
        model: `provider:name`, the model of every node.
        budget: What the run may use, `{tokens?, usd?}`; takes the place of the workflow's.
    """

    workflow_id: str
    version: int | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    session_id: str | None = None
    cassette: list[dict[str, Any]] | None = None
    model: str | None = None
    budget: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that is stored; its execution may not have been started yet."""

    run: RunRecord
    version: Version
    new: bool


def read_order(fields: Mapping[str, Any]) -> Order:
    """Returns the order that the fields of a command hold.

    What the HTTP API refuses is refused here: see `joinery.api.bodies.StartBody`.

    Raises:
        InvalidRequest: With all fields that are wrong, as `{where, message}`.
    """
    version, cassette = fields.get("version"), fields.get("cassette")
    workflow_id, inputs = fields.get("workflow_id"), fields.get("inputs", {})
    checks = {
        "workflow_id": (
            isinstance(workflow_id, str) and len(workflow_id) <= WORKFLOW_ID_CHARS,
            f"a text of at most {WORKFLOW_ID_CHARS} characters is needed",
        ),
        "version": (
            version is None or (type(version) is int and 1 <= version <= VERSION_MAX),
            f"a whole number from 1 to {VERSION_MAX:,}",
        ),
        "inputs": (isinstance(inputs, dict), "an object: inputs by name"),
        "session_id": (_matches(fields, "session_id", SESSION_ID), f"must match {SESSION_ID}"),
        "model": (_matches(fields, "model", MODEL), f"must match {MODEL}"),
        "cassette": (
            cassette is None
            or (isinstance(cassette, list) and all(isinstance(row, dict) for row in cassette)),
            "a list of objects",
        ),
    }
    wrong = [{"where": n, "message": text} for n, (good, text) in checks.items() if not good]
    if wrong:
        first = f"{wrong[0]['where']}: {wrong[0]['message']}"
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise InvalidRequest(first + more, errors=wrong)
    budget = fields.get("budget")
    return Order(
        str(workflow_id), version, inputs, fields.get("session_id"), cassette, fields.get("model"),
        None if budget is None else checked_budget(budget),
    )  # fmt: skip


def _matches(fields: Mapping[str, Any], name: str, pattern: str) -> bool:
    value = fields.get(name)
    return value is None or (isinstance(value, str) and re.fullmatch(pattern, value) is not None)


def prepare(
    deps: Deps, catalog: CatalogStore, order: Order, *, owner: str, key: str | None
) -> Prepared:
    """Stores a run with its first event, or finds the one that the same key made before.

    Args:
        deps: Ports.
        catalog: The published workflows.
        order: What to start.
        owner: Who starts it.
        key: Idempotency key: the same one again gives the same run.

    Raises:
        NotFound: There is no such workflow of the owner's.
        InvalidRequest: The cassette or the model is wrong.
        InvalidInput: All that is wrong with the inputs.
        TooLarge: An input passes the limit.
        Conflict: The key was used for another request.
    """
    from joinery.compiler.plan import Plan
    from joinery.runs.start import create_run

    extra = _extra(order)
    version = owned_version(catalog, owner, order.workflow_id, _version(deps, order, owner, key))
    run, new = create_run(
        deps,
        Plan.from_dict(version.plan),
        owner=owner,
        workflow_id=version.workflow_id,
        version=version.version,
        given=order.inputs,
        idempotency_key=key,
        session_id=order.session_id,
        extra=extra,
    )
    return Prepared(run, version, new)


def execute(deps: Deps, executions: Executions, prepared: Prepared) -> RunRecord:
    """Starts the execution of a run that has none; returns the run as it is now.

    A run that cannot be started is closed as failed.

    Raises:
        Unavailable: Step Functions did not start it.
    """
    run = prepared.run
    if run.execution_arn or run.closed:
        return run
    payload = {"run_id": run.run_id, "plan": run.plan_ref}
    try:
        arn = executions.start(prepared.version.machine_arn, run.run_id, payload)
    except JoineryError as error:
        from joinery.runs.end import close_failed

        log.error("run %s was not started", run.run_id, exc_info=error)
        # An answer that was lost may hide an execution: the flag stops it at its first node.
        cancelled = deps.store.control(run.run_id).cancel
        deps.store.request_cancel(run.run_id)
        close_failed(deps, run, _not_started(), status="cancelled" if cancelled else "failed")
        raise Unavailable("the run could not be started", run_id=run.run_id) from error
    deps.store.mark_started(run.run_id, arn, deps.clock())
    return deps.store.get_run(run.run_id)


def _not_started() -> dict[str, Any]:
    message = "Step Functions did not start the execution"
    return {"code": "not_started", "message": message, "retryable": True}


def _version(deps: Deps, order: Order, owner: str, key: str | None) -> int | None:
    """Returns the version that is asked for.

    A repeated request that names none means the version that was newest when it was
    first made, whatever was published since.
    """
    if order.version is not None or key is None:
        return order.version
    try:
        return deps.store.get_run(run_id_for_key(owner, order.workflow_id, key)).version
    except NotFound:
        return None


def _extra(order: Order) -> dict[str, Any]:
    """Returns what else the run is pinned to. Raises: InvalidRequest."""
    extra: dict[str, Any] = {}
    if order.cassette is not None:
        from joinery.llm.scripted import Cassette

        Cassette.from_data(order.cassette)
        extra["cassette"] = order.cassette
    if order.model is not None:
        from joinery.llm.registry import parse_model_flag

        try:
            parse_model_flag(order.model)
        except PermanentModelUnknown as error:
            raise InvalidRequest(error.message) from None
        extra["model"] = order.model
    if order.budget is not None:
        extra["budget"] = checked_budget(order.budget)
    return extra


def launcher(catalog: CatalogStore, executions: Executions) -> Launch:
    """Returns what starts the execution of a run's next incarnation."""

    def launch(run: RunRecord) -> str:
        version = catalog.version(run.workflow_id, run.version)
        payload = {"run_id": run.run_id, "plan": run.plan_ref}
        return executions.start(version.machine_arn, execution_name(run), payload)

    return launch
