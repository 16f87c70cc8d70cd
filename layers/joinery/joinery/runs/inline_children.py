"""Child runs of the inline engine: each runs to its end where its node runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from joinery.compiler.plan import Plan
from joinery.errors import NotFound
from joinery.runs.child_end import cancel_run_tree
from joinery.runs.deps import Deps
from joinery.runs.interpreter import Sleep, run_inline
from joinery.runs.model import RunRecord
from joinery.runs.patience import Idle


class InlineChildRuns:
    """Implements `ChildRuns` in this process.

    Args:
        plans: All plans that runs here are pinned to, the outermost one's included.
        sleep: Waits between attempts, in seconds.
        idle: Lets time pass while a node waits for a person.
    """

    settles = True

    def __init__(
        self,
        plans: Mapping[str, Plan],
        *,
        sleep: Sleep = time.sleep,
        idle: Idle | None = None,
    ) -> None:
        self._plans, self._sleep, self._idle = plans, sleep, idle

    def plan(self, ref: str) -> Plan:
        """See `ChildRuns.plan`."""
        try:
            return self._plans[ref]
        except KeyError:
            raise NotFound(f"no workflow {ref}") from None

    def start(self, deps: Deps, run: RunRecord, *, within_s: float) -> None:
        """Runs it to its end; one that takes longer is cancelled."""
        timer = threading.Timer(within_s, cancel_run_tree, (deps, run))
        timer.daemon = True
        timer.start()
        try:
            plan = self.plan(run.plan_ref)
            run_inline(deps, plan, run, sleep=self._sleep, idle=self._idle)
        finally:
            timer.cancel()
            timer.join()

    def stop(self, run: RunRecord, cause: str) -> None:
        """Does nothing: its nodes see the cancel."""

    def answer(self, token: str, output: Mapping[str, Any]) -> None:
        """Does nothing: nobody waits for a token here."""

    def refuse(self, token: str, error: str, cause: str) -> None:
        """Does nothing: nobody waits for a token here."""
