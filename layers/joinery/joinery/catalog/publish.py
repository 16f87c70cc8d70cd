"""Publishes workflows: validated, compiled, made a state machine, stored as a version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from joinery.catalog.ports import CatalogStore, Machines, Version
from joinery.compiler.compile import compile_workflow
from joinery.compiler.opt import DEFAULT_OPT
from joinery.errors import Conflict
from joinery.runs.ids import workflow_id_for

if TYPE_CHECKING:
    from joinery.compiler.compile import Compiled
    from joinery.workflow.children import KnownChild
    from joinery.workflow.model import Workflow

PUBLISH_TRIES = 5
"""Two people may publish the same workflow at once; each try takes the next number."""


def publish_workflow(
    catalog: CatalogStore,
    machines: Machines,
    *,
    owner: str,
    workflow: Workflow,
    source: str,
    run_node_arn: str,
    machine_prefix: str,
    clock: Callable[[], float],
    opt: int = DEFAULT_OPT,
    children: Mapping[str, KnownChild] | None = None,
    packages: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[Version, Compiled, bool]:
    """Publishes a valid workflow, pinned to the versions of its `children`, by node.

    `packages` are those of its code, as `pinned_packages` returns them.

    Returns:
        The version, what it compiled to, and whether it is new: an unchanged
        workflow keeps its version and costs no call to Step Functions.

    Raises:
        InvalidWorkflow: It cannot be compiled.
        Conflict: Others kept publishing the same workflow meanwhile.
    """
    compiled = compile_workflow(workflow, opt=opt, run_node_arn=run_node_arn, children=children)
    definition = compiled.definition_json()
    plan = replace(compiled.plan, packages=packages or {}).to_dict()
    content_hash = _content_hash(definition, plan)
    workflow_id = workflow_id_for(owner, workflow.name)
    for _ in range(PUBLISH_TRIES):
        newest = catalog.latest(workflow_id)
        if newest is not None and newest.content_hash == content_hash:
            return newest, compiled, False
        version = Version(
            workflow_id=workflow_id,
            version=newest.version + 1 if newest else 1,
            owner=owner,
            name=workflow.name,
            content_hash=content_hash,
            machine_arn=machines.ensure(machine_name(machine_prefix, definition), definition),
            opt=opt,
            created_at=clock(),
            plan=plan,
            source=source,
            run_on=compiled.plan.run_on,
        )
        try:
            catalog.add_version(version)
        except Conflict:
            continue
        return version, compiled, True
    raise Conflict(f"workflow '{workflow.name}' is being published by others; try again")


def machine_name(prefix: str, definition: str) -> str:
    """Returns the name of the machine with this definition: equal content, equal name."""
    return f"{prefix}{hashlib.sha256(definition.encode()).hexdigest()[:32]}"


def _content_hash(definition: str, plan: dict[str, Any]) -> str:
    text = json.dumps([definition, plan], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
