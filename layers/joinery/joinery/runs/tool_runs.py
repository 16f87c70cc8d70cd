"""Runs that an agent's tool begins and waits for.

Unlike a `workflow` node, which waits at no cost, the agent's invocation stays and looks.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from joinery import limits
from joinery.errors import (
    InvalidRequest,
    JoineryError,
    NotFound,
    PermanentChildDepth,
    PermanentChildInput,
    PermanentInternal,
    RunCancelled,
    RunSuspended,
)
from joinery.runs.child_end import cancel_run_tree
from joinery.runs.children import start_child
from joinery.runs.ids import tool_run_id
from joinery.runs.invocation import Invocation
from joinery.runs.model import Address, Parent, RunRecord
from joinery.runs.ports import ChildRuns
from joinery.runs.suspend import AROUND, suspend_below
from joinery.tools.base import ToolResult, ToolUse

log = logging.getLogger(__name__)

LOOK_S: Final = 0.25
LOOK_MAX_S: Final = 2.0
"""How often the run is looked at: first and, as it goes on, at most; each is one read."""


class ToolRuns:
    """Implements `Workflows` for one attempt of a node.

    Args:
        inv: The invocation.
        attempt: The attempt.
    """

    def __init__(self, inv: Invocation, attempt: int) -> None:
        self._inv, self._attempt = inv, attempt

    def run(self, ref: str, name: str, given: Mapping[str, Any], use: ToolUse) -> ToolResult:
        """See `Workflows.run`: the same call again finds the same run."""
        run, deps = self._inv.run, self._inv.deps
        if run.depth >= limits.CHILD_DEPTH_MAX:
            raise PermanentChildDepth(
                f"'{name}' would be run {run.depth + 1} runs deep; "
                f"the limit is {limits.CHILD_DEPTH_MAX}"
            )
        child = self._going_on(self._created(ref, name, given, use), use)
        pause = LOOK_S
        while not child.closed:
            over = use.cancelled() or time.monotonic() >= use.deadline
            if use.held():
                raise RunSuspended(f"the run around {child.run_id} is suspended")
            if over:
                return self._given_up(child)
            time.sleep(min(pause, max(0.0, use.deadline - time.monotonic())))
            pause = min(pause * 1.5, LOOK_MAX_S)
            child = deps.store.get_run(child.run_id)
            if not child.closed:
                child = self._not_held(child, use)
        return self._told(child)

    def _not_held(self, child: RunRecord, use: ToolUse) -> RunRecord:
        """Returns a run that may go on. Raises: RunSuspended."""
        deps, run = self._inv.deps, self._inv.run
        around = deps.store.extra(run.run_id).get("around") or {"ledger": run.run_id}
        try:
            root = deps.store.get_run(around["ledger"])
        except NotFound:  # it was deleted: this run is alone now
            root = deps.store.get_run(run.run_id)
        if root.status == "suspended":
            if root.run_id != run.run_id:
                suspend_below(deps, run, root)
            raise RunSuspended(f"the run {root.run_id} is suspended")
        # What was late to stand still, after the run around it went on.
        return self._going_on(child, use) if self._is_held(child) and not root.closed else child

    def _is_held(self, child: RunRecord) -> bool:
        """Whether a run stands still since the run around it was suspended."""
        return child.status == "suspended" and (child.error or {}).get("code") == AROUND

    # -- beginning ---------------------------------------------------------------------

    def _created(self, ref: str, name: str, given: Mapping[str, Any], use: ToolUse) -> RunRecord:
        from joinery.runs.start import create_run
        from joinery.runs.terms import for_child

        inv, run = self._inv, self._inv.run
        store = inv.deps.store
        workflow_id, _, version = ref.rpartition("/")
        if inv.deps.children is None:
            raise PermanentInternal("no runs can be started here")
        try:
            plan = inv.deps.children.plan(ref)
        except NotFound:
            raise PermanentInternal(f"there is no workflow '{name}' here") from None
        run_id = self._id(use.key)
        store.note_below(run.run_id, run_id)
        try:
            child, _ = create_run(
                inv.deps,
                plan,
                owner=run.owner,
                workflow_id=workflow_id,
                version=int(version),
                given=given,
                session_id=run.session_id,
                extra=for_child(inv.plan, run, store.extra(run.run_id)),
                run_id=run_id,
                parent=Parent(run.run_id, inv.node.id, inv.node.ord, inv.path, run.depth + 1),
            )
        except InvalidRequest as error:
            store.drop_below(run.run_id, run_id)
            raise PermanentChildInput(
                f"the workflow '{name}' does not take this: {error.message}", **error.details
            ) from None
        # Whoever closed the run looked for what is below it perhaps before this was there.
        if not child.closed and store.get_run(run.run_id).closed:
            cancel_run_tree(inv.deps, child)
            raise RunCancelled("the run has ended")
        return child

    def _id(self, key: str) -> str:
        """Returns the id of a call's run: another one where the first ended with this run."""
        run, store = self._inv.run, self._inv.deps.store
        for ended in itertools.count():
            run_id = tool_run_id(key, ended)
            if run.incarnation == 1:
                return run_id
            try:
                found = store.get_run(run_id)
            except NotFound:
                return run_id
            if found.status != "cancelled" or found.ended_at >= run.resumed_at:
                return run_id
        raise AssertionError("unreachable")

    def _going_on(self, child: RunRecord, use: ToolUse) -> RunRecord:
        """Starts a run that was not started, or that was suspended with the one around it."""
        inv = self._inv
        if self._is_held(child):
            from joinery.runs.control import reopen

            child = reopen(inv.deps, child)
        if not child.closed and child.status not in ("paused", "suspended"):
            left = max(0.0, use.deadline - time.monotonic())
            # In this process a run takes until its end, and a cancel must be seen meanwhile.
            threading.Thread(target=self._start, args=(child, left), daemon=True).start()
        return child

    def _start(self, child: RunRecord, within_s: float) -> None:
        ports = self._inv.deps.children
        assert ports is not None
        if self._inv.run.incarnation > 1:
            self._resume_below(child, ports, within_s)
        if not child.execution_arn:
            start_child(self._inv, ports, child, within_s)

    def _resume_below(self, child: RunRecord, ports: ChildRuns, within_s: float) -> None:
        """Goes on with child runs of a tool's run that were suspended with this run."""
        from joinery.runs.control import resume_below

        deps = self._inv.deps

        def launch(run: RunRecord) -> str:
            ports.start(deps, run, within_s=within_s)
            return deps.store.get_run(run.run_id).execution_arn

        try:
            resume_below(deps, child, launch)
        except JoineryError as error:
            log.error("what is below run %s was not resumed", child.run_id, exc_info=error)

    # -- ending ------------------------------------------------------------------------

    def _given_up(self, child: RunRecord) -> ToolResult:
        """Cancels a run that nobody waits for any more."""
        inv = self._inv
        own = Address(inv.key)
        now = inv.deps.store.load(inv.run_id, [own]).records.get(own)
        if now is not None and now.attempt > self._attempt:
            raise RunCancelled(f"another attempt waits for the run {child.run_id}")
        cancel_run_tree(inv.deps, inv.deps.store.get_run(child.run_id))
        if inv.deps.store.control(inv.run_id).stopped:
            raise RunCancelled("the run has ended")  # it is no result that another attempt finds
        used = inv.deps.store.get_run(child.run_id).usage
        late = f"The run {child.run_id} did not end in time."
        return ToolResult(late, is_error=True, usage=used)

    def _told(self, child: RunRecord) -> ToolResult:
        """Returns what a run gave that has ended. Raises: RunCancelled."""
        store, run = self._inv.deps.store, self._inv.run
        if child.status == "cancelled" and store.get_run(run.run_id).closed:
            raise RunCancelled("the run has ended")  # it is no result that another attempt finds
        store.drop_below(run.run_id, child.run_id)
        if child.status == "completed":
            outputs = dict(store.outputs(child.run_id) or {})
            return ToolResult(data=outputs, usage=child.usage)
        why = str((child.error or {}).get("message", "")) or f"it was {child.status}"
        told = f"The run {child.run_id} gave nothing: {why}"
        return ToolResult(told, is_error=True, usage=child.usage)
