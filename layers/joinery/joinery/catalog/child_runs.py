"""Child runs of published workflows: each has an execution of its own."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from joinery.catalog.ports import CatalogStore, Executions, TaskTokens
from joinery.compiler.plan import Plan
from joinery.errors import JoineryError
from joinery.runs.deps import Deps
from joinery.runs.model import RunRecord

PLANS_KEPT: Final = 32


class PublishedChildRuns:
    """Implements `ChildRuns` over the catalogue and Step Functions.

    Args:
        catalog: The published workflows.
        executions: Starts and stops executions.
        tokens: Wakes Tasks; None where this process may not.
    """

    def __init__(
        self, catalog: CatalogStore, executions: Executions, tokens: TaskTokens | None
    ) -> None:
        self._catalog, self._executions, self._tokens = catalog, executions, tokens
        self._plans: OrderedDict[str, Plan] = OrderedDict()

    @property
    def settles(self) -> bool:
        """See `ChildRuns.settles`."""
        return self._tokens is not None

    def plan(self, ref: str) -> Plan:
        """See `ChildRuns.plan`; versions never change, so plans are kept."""
        plan = self._plans.get(ref)
        if plan is None:
            workflow_id, _, version = ref.rpartition("/")
            plan = Plan.from_dict(self._catalog.version(workflow_id, int(version)).plan)
            self._plans[ref] = plan
            if len(self._plans) > PLANS_KEPT:
                self._plans.popitem(last=False)
        return plan

    def start(self, deps: Deps, run: RunRecord, *, within_s: float) -> None:
        """See `ChildRuns.start`; the node's own Task bounds the time."""
        from joinery.runs.control import execution_name

        version = self._catalog.version(run.workflow_id, run.version)
        payload = {"run_id": run.run_id, "plan": run.plan_ref}
        arn = self._executions.start(version.machine_arn, execution_name(run), payload)
        deps.store.mark_started(run.run_id, arn, deps.clock())

    def stop(self, run: RunRecord, cause: str) -> None:
        """See `ChildRuns.stop`."""
        if run.execution_arn:
            self._executions.stop(run.execution_arn, cause)

    def answer(self, token: str, output: Mapping[str, Any]) -> None:
        """See `ChildRuns.answer`."""
        self._waking().succeed(token, json.dumps(dict(output)))

    def refuse(self, token: str, error: str, cause: str) -> None:
        """See `ChildRuns.refuse`."""
        self._waking().fail(token, error, cause)

    def _waking(self) -> TaskTokens:
        if self._tokens is None:
            raise JoineryError("this function wakes no Tasks")
        return self._tokens
