"""Runs that wait for a person, in an installation in memory."""

from __future__ import annotations

import time
from typing import Any

from joinery.catalog.publish import publish_workflow
from joinery.runs.task import run_task

from .installation import Installation
from .workflows import workflow

TOKEN = "token-1"

ASK = {"type": "question", "prompt": "Send it?", "options": {"yes": "Yes", "no": "No"}}


def waiting_run(installation: Installation, owner: str = "me", **node: Any) -> str:
    """Returns a run whose Task for its question `ask` waits with `TOKEN`."""
    from joinery.runs.start import create_run

    version, _, _ = publish_workflow(
        installation.workflows,
        installation.makes,
        owner=owner,
        workflow=workflow(["start -> ask -> end"], {"ask": {**ASK, **node}}),
        source="",
        run_node_arn=installation.run_node_arn(),
        machine_prefix="joinery-test-",
        clock=installation.clock,
        opt=1,
    )
    deps = installation.closing_deps()
    plan = installation.plan(f"{version.workflow_id}/{version.version}")
    run, _ = create_run(
        deps, plan, owner=owner, workflow_id=version.workflow_id, version=version.version, given={}
    )
    deps.store.mark_started(run.run_id, "arn:execution", deps.clock())
    deadline = time.monotonic() + 60
    run = deps.store.get_run(run.run_id)
    run_task(deps, plan, run, "ask", "", deadline=deadline, token=TOKEN)
    return run.run_id
