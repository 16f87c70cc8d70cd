"""The inline engine: the interpreter in this process, on a store in memory."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from joinery.errors import Conflict
from joinery.llm.breaker import Breaker, MemoryBreakers
from joinery.llm.calls import Calls
from joinery.llm.prices import prices_from
from joinery.llm.rates import parse_limits
from joinery.runs.answers import Given
from joinery.runs.deps import Deps
from joinery.runs.ids import workflow_id_for
from joinery.runs.inline_children import InlineChildRuns
from joinery.runs.interpreter import run_inline
from joinery.runs.memory_store import MemoryStore
from joinery.runs.say import give_input
from joinery.runs.start import cancel_run, create_run
from joinery.runs.views import run_view
from joinery.sandbox.types import NoCodeRunner
from joinery.tools.services import EnvironmentSecrets, ToolServices
from joinery.tracing import tracer_of
from joinery_cli.results import run_result

if TYPE_CHECKING:
    from joinery.compiler.plan import Plan
    from joinery.events.make import Event
    from joinery.nodes.base import Models
    from joinery.sandbox.types import CodeRunner
    from joinery_cli.engines.base import Put, Stop

OWNER = "me"
LIMITS = "JOINERY_MODEL_LIMITS"
FLUSH_S = 5.0


def _calls() -> Calls:
    """Returns what calls share in this process: a breaker would keep nobody else waiting."""
    never = Breaker(MemoryBreakers(), failures=0, clock=time.time)
    return Calls(breaker=never, limits=parse_limits(os.environ.get(LIMITS, "")))


class HandOver:
    """A publisher that hands messages to whoever follows; keeps them until somebody does."""

    def __init__(self) -> None:
        self._run_id = ""
        self._kept: list[Event] = []
        self._put: Put = self._kept.append
        self._lock = threading.Lock()

    def publish(self, run_id: str, messages: Sequence[Event]) -> None:
        """See `Publisher.publish`: of the first run that says anything, not of its child runs."""
        with self._lock:
            self._run_id = self._run_id or run_id
            for message in messages if run_id == self._run_id else ():
                self._put(message)

    def begin(self, run_id: str, width: int) -> None:
        """See `Publisher.begin`: here nothing is shared."""

    def interval(self, run_id: str) -> float:
        """See `Publisher.interval`: handing over takes no time."""
        return 0.0

    def refresh(self, run_id: str, subs: int) -> bool:
        """See `Publisher.refresh`."""
        return False

    def to(self, put: Put) -> None:
        """Hands over what was kept, and everything from now on."""
        with self._lock:
            for message in self._kept:
                put(message)
            self._kept.clear()
            self._put = put


class InlineEngine:
    """One run in this process; it cannot outlive it."""

    survives = False

    def __init__(
        self,
        plan: Plan,
        inputs: Mapping[str, Any],
        models: Models,
        code: CodeRunner | None = None,
        children: Mapping[str, Plan] | None = None,
        *,
        budget: Mapping[str, Any] | None = None,
    ) -> None:
        """Creates the run; `children` are the plans of the workflows that it runs in turn.

        Raises:
            InvalidInput: All that is wrong with the inputs.
            TooLarge: An input passes the limit.
        """
        self._plan = plan
        self._listeners = HandOver()
        self._store = MemoryStore()
        workflow_id = workflow_id_for(OWNER, plan.name)
        self._deps = Deps(
            self._store,
            self._listeners,
            models,
            background=False,
            code=code or NoCodeRunner(),
            children=InlineChildRuns({f"{workflow_id}/0": plan, **(children or {})}),
            prices=lambda: prices_from(os.environ),
            calls=_calls(),
            tracer=tracer_of(os.environ, "inline"),
            # This machine is its owner's, and so is what it can reach.
            tool_services=ToolServices(EnvironmentSecrets(os.environ), private_addresses=True),
        )
        self._run, _ = create_run(
            self._deps,
            plan,
            owner=OWNER,
            workflow_id=workflow_id,
            version=0,
            given=inputs,
            extra={"budget": dict(budget)} if budget else None,
        )
        self.run_id = self._run.run_id

    def follow(self, put: Put, stop: Stop) -> None:
        """Runs the run to its end; see `Engine.follow`."""
        self._listeners.to(put)
        try:
            run_inline(self._deps, self._plan, self._run)
        finally:
            self._deps.tracer.flush(FLUSH_S)

    def cancel(self) -> None:
        """See `Engine.cancel`."""
        try:
            cancel_run(self._deps, self._store.get_run(self.run_id))
        except Conflict:
            return  # it has just ended by itself

    def answer(self, node_id: str, path: str, value: Any) -> None:
        """See `Engine.answer`."""
        given = Given(uuid.uuid4().hex, value, node_id, path)
        give_input(self._deps, self._store.get_run(self.run_id), given)

    def result(self) -> dict[str, Any]:
        """See `Engine.result`."""
        view = run_view(self._store, self._store.get_run(self.run_id))
        return run_result(view, None, [node.id for node in self._plan.nodes])
