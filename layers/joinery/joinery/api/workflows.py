"""`/workflows`: publish and look up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query

from joinery.api import answers
from joinery.api.bodies import BuiltPackageBody, PublishBody
from joinery.api.services import Caller, Needs, Services
from joinery.api.wire import Answer, StrictRoute
from joinery.catalog import lookup
from joinery.catalog.ports import Version
from joinery.errors import InvalidRequest
from joinery.events.make import timestamp

if TYPE_CHECKING:
    from joinery.workflow.report import Report

router = APIRouter(route_class=StrictRoute, tags=["workflows"])


@router.post(
    "/workflows",
    summary="Publish a workflow",
    status_code=201,
    responses={
        200: {"model": answers.WorkflowPublished, "description": "Published before, unchanged."},
        201: {"model": answers.WorkflowPublished, "description": "A new version."},
        422: {"model": answers.ErrorAnswer, "description": "`details.errors` has every problem."},
    },
)
def publish(body: PublishBody, owner: Caller, services: Needs) -> Answer:
    """Validates and compiles it, and makes its state machine.

    A workflow is known by its name: publishing one of the same name adds a version,
    unless nothing has changed.
    """
    # Reading and compiling files is needed here alone: the imports stay out of cold starts.
    from joinery.catalog.children import CatalogChildren
    from joinery.catalog.publish import publish_workflow
    from joinery.compiler.check import check
    from joinery.compiler.opt import DEFAULT_OPT
    from joinery.workflow.source import load

    text = body.source if isinstance(body.source, str) else json.dumps(body.source, indent=1)
    opt = DEFAULT_OPT if body.opt is None else body.opt
    known = CatalogChildren(services.catalog(), owner)
    checked = check(load(text), opt=opt, children=known)
    packages = _pinned(checked, body.packages, owner, services)
    version, compiled, new = publish_workflow(
        services.catalog(),
        services.machines(),
        owner=owner,
        workflow=checked.require(),
        source=text,
        run_node_arn=services.run_node_arn(),
        machine_prefix=services.machine_prefix(),
        clock=services.run_deps().clock,
        opt=opt,
        children=checked.children,
        packages=packages,
    )
    shown = {
        **_shown(version),
        "report": compiled.report.to_dict(),
        "problems": [problem.to_dict() for problem in checked.warnings],
    }
    return Answer(shown, 201 if new else 200)


@router.get(
    "/workflows",
    summary="List your workflows",
    responses={200: {"model": answers.WorkflowList}},
)
def list_workflows(
    owner: Caller, services: Needs, limit: Annotated[int, Query(ge=1, le=200)] = 100
) -> Answer:
    """Returns the newest version of each, the last published first."""
    found = services.catalog().list_workflows(owner, limit)
    return Answer({"workflows": [_shown(version) for version in found]})


@router.get(
    "/workflows/{workflow_id}",
    summary="Get a workflow",
    responses={
        200: {"model": answers.WorkflowDetail},
        404: {"model": answers.ErrorAnswer},
    },
)
def get_workflow(
    workflow_id: str,
    owner: Caller,
    services: Needs,
    version: Annotated[int | None, Query(ge=1, le=999_999)] = None,
) -> Answer:
    """Returns a version with its source; the newest when none is named."""
    found = owned_version(services, owner, workflow_id, version)
    shown: dict[str, Any] = {
        **_shown(found),
        "source": found.source,
        "inputs": dict(found.plan.get("inputs", {})),
        "packages": list(found.plan.get("packages", {}).values()),
    }
    return Answer(shown)


def _pinned(
    checked: Report, given: list[BuiltPackageBody], owner: str, services: Services
) -> Mapping[str, Mapping[str, Any]]:
    """Returns the packages of a workflow's code. Raises: InvalidWorkflow, InvalidRequest."""
    workflow = checked.require()
    if not any(getattr(p, "requirements", ()) for p in (*workflow.nodes.values(),
                                                        *workflow.tools.values())):  # fmt: skip
        return {}
    from joinery.catalog.packages import pinned_packages
    from joinery.packages.model import Package

    packages = [Package.from_dict(package.model_dump()) for package in given]
    try:
        return pinned_packages(checked, packages, services.packages(), owner)
    except ValueError as error:
        raise InvalidRequest(f"packages: {error}") from None


def owned_version(services: Needs, owner: str, workflow_id: str, version: int | None) -> Version:
    """Returns a version that the caller owns. Raises: NotFound."""
    return lookup.owned_version(services.catalog(), owner, workflow_id, version)


def _shown(version: Version) -> dict[str, Any]:
    return {
        "workflow_id": version.workflow_id,
        "version": version.version,
        "name": version.name,
        "machine": version.machine_arn,
        "opt": version.opt,
        "run_on": version.run_on,
        "created_at": timestamp(version.created_at),
    }
