"""What running needs, wired once by `bootstrap` or by the inline engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from joinery import limits
from joinery.llm.calls import Calls
from joinery.llm.prices import Prices, known_prices
from joinery.nodes.base import Models
from joinery.runs.ports import ChildRuns, Publisher, RunStore, Waits
from joinery.sandbox.types import CodeRunner, NoCodeRunner
from joinery.tools.services import ToolServices
from joinery.tracing import NO_TRACER, Tracer

LEASE_S = 15.0
"""A claim is held this long at a time.

It is renewed while the node runs, so a worker that dies frees its node within this
time, not only when its invocation would have ended, up to 15 minutes later.
"""

LEASE_RENEW_S = 5.0
CONTROL_POLL_S = 1.0
"""A running node reads the control item this often: cancel, and who has come to watch."""


@dataclass(frozen=True, slots=True)
class Deps:
    """Ports and settings.

    Attributes:
        store: Keeps runs.
        publisher: Reaches the people who watch.
        models: Finds models.
        clock: Epoch seconds.
        background: Post, store and watch in threads (where those cross a network).
        delta_s: Least time between two deltas of a stream whose text is new.
        durable_s: Most time that streamed text is not yet stored.
        code: Runs code that users write.
        children: Starts child runs; None where there are none.
        prices: Returns what models cost.
        stage: What names of models are looked up for; None where plans have models already.
        calls: What all calls of models share.
        tracer: Where spans of runs and nodes go.
        tool_services: What tools may use: secrets, and the way out.
    """

    store: RunStore
    publisher: Publisher
    models: Models
    clock: Callable[[], float] = time.time
    background: bool = True
    delta_s: float = limits.DELTA_INTERVAL_S
    durable_s: float = limits.DURABLE_INTERVAL_S
    code: CodeRunner = field(default_factory=NoCodeRunner)
    children: ChildRuns | None = None
    prices: Callable[[], Prices] = known_prices
    stage: str | None = None
    calls: Calls = field(default_factory=Calls)
    tracer: Tracer = NO_TRACER
    tool_services: ToolServices = field(default_factory=ToolServices)

    @property
    def waits(self) -> Waits | None:
        """What ends the waits of Tasks, None where this process may not."""
        return self.children if self.children and self.children.settles else None
