"""Runs that an agent's tool begins and waits for.

Unlike a `workflow` node, which waits at no cost, the agent's invocation stays and looks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from joinery import limits
from joinery.errors import (
    InvalidRequest,
    NotFound,
    PermanentChildDepth,
    PermanentChildInput,
    PermanentInternal,
    RunSuspended,
)
from joinery.runs.child_end import cancel_run_tree
from joinery.runs.children import start_child
from joinery.runs.ids import tool_run_id
from joinery.runs.invocation import Invocation
from joinery.runs.model import Parent, RunRecord
from joinery.runs.suspend import AROUND
from joinery.tools.base import ToolResult, ToolUse

LOOK_S: Final = 0.25
LOOK_MAX_S: Final = 2.0
"""How often the run is looked at: first and, as it goes on, at most; each is one read."""


class ToolRuns:
    """Implements `Workflows` for one attempt of a node."""

    def __init__(self, inv: Invocation) -> None:
        self._inv = inv

    def run(self, ref: str, name: str, given: Mapping[str, Any], use: ToolUse) -> ToolResult:
        """See `Workflows.run`: the same call again finds the same run."""
        run, deps = self._inv.run, self._inv.deps
        if run.depth >= limits.CHILD_DEPTH_MAX:
            raise PermanentChildDepth(
                f"'{name}' would be run {run.depth + 1} runs deep; "
                f"the limit is {limits.CHILD_DEPTH_MAX}"
            )
        child = self._created(ref, name, given, use)
        if self._is_held(child):
            from joinery.runs.control import reopen

            child = reopen(deps, child)
        begun = child.execution_arn or child.status in ("paused", "suspended")
        if not (begun or child.closed):
            left = max(0.0, use.deadline - time.monotonic())
            # In this process a run takes until its end, and a cancel must be seen meanwhile.
            threading.Thread(
                target=start_child, args=(self._inv, deps.children, child, left), daemon=True
            ).start()
        pause = LOOK_S
        while not child.closed:
            over = use.cancelled() or time.monotonic() >= use.deadline
            if use.held():
                raise RunSuspended(f"the run around {child.run_id} is suspended")
            if over:
                cancel_run_tree(deps, deps.store.get_run(child.run_id))
                used = deps.store.get_run(child.run_id).usage
                late = f"The run {child.run_id} did not end in time."
                return ToolResult(late, is_error=True, usage=used)
            time.sleep(min(pause, max(0.0, use.deadline - time.monotonic())))
            pause = min(pause * 1.5, LOOK_MAX_S)
            child = deps.store.get_run(child.run_id)
            if self._is_held(child):
                raise RunSuspended(f"the run {child.run_id} is suspended with this one")
        return self._told(child)

    def _is_held(self, child: RunRecord) -> bool:
        """Whether a run stands still since the run around it was suspended."""
        return child.status == "suspended" and (child.error or {}).get("code") == AROUND

    def _created(self, ref: str, name: str, given: Mapping[str, Any], use: ToolUse) -> RunRecord:
        from joinery.runs.start import create_run
        from joinery.runs.terms import for_child

        inv, run = self._inv, self._inv.run
        workflow_id, _, version = ref.rpartition("/")
        if inv.deps.children is None:
            raise PermanentInternal("no runs can be started here")
        try:
            plan = inv.deps.children.plan(ref)
        except NotFound:
            raise PermanentInternal(f"there is no workflow '{name}' here") from None
        try:
            child, _ = create_run(
                inv.deps,
                plan,
                owner=run.owner,
                workflow_id=workflow_id,
                version=int(version),
                given=given,
                session_id=run.session_id,
                extra=for_child(inv.plan, run, inv.deps.store.extra(run.run_id)),
                run_id=tool_run_id(use.key),
                parent=Parent(run.run_id, inv.node.id, inv.node.ord, inv.path, run.depth + 1),
            )
        except InvalidRequest as error:
            raise PermanentChildInput(
                f"the workflow '{name}' does not take this: {error.message}", **error.details
            ) from None
        return child

    def _told(self, child: RunRecord) -> ToolResult:
        if child.status == "completed":
            outputs = dict(self._inv.deps.store.outputs(child.run_id) or {})
            return ToolResult(data=outputs, usage=child.usage)
        why = str((child.error or {}).get("message", "")) or f"it was {child.status}"
        told = f"The run {child.run_id} gave nothing: {why}"
        return ToolResult(told, is_error=True, usage=child.usage)
