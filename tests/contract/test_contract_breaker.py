"""The guard of calls on every store: once for all branches, and never more than there is."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kit.engines import Listener, NoModels
from kit.workflows import workflow

from joinery.compiler.compile import compile_workflow
from joinery.errors import RunSuspended
from joinery.llm.types import Usage
from joinery.nodes.guard import CallEstimate
from joinery.runs.deps import Deps
from joinery.runs.guarding import RunGuard
from joinery.runs.invocation import Invocation
from joinery.runs.ledger import Limit
from joinery.runs.model import NodeKey, NodeRecord, RunRecord
from joinery.runs.start import create_run
from joinery.runs.terms import Rules, Terms

if TYPE_CHECKING:
    from collections.abc import Callable

    from contract.backends import Backend

PLAN = compile_workflow(
    workflow(["start -> a -> end"], {"a": {"type": "llm", "prompt": "Well?"}})
).plan
TIMES = int(os.environ.get("JOINERY_EXAMPLES", "0")) or {"memory": 50, "moto": 10, "stack": 3}


def begin(backend: Backend) -> tuple[Deps, RunRecord]:
    store = backend.make()
    deps = Deps(store, Listener(), NoModels(), background=False)
    run, _ = create_run(deps, PLAN, owner="me", workflow_id="wf", version=1, given={})
    store.mark_started(run.run_id, "arn", time.time())
    return deps, store.get_run(run.run_id)


def guard(deps: Deps, run: RunRecord, branch: int, **terms: Any) -> RunGuard:
    node = PLAN.by_id["a"]
    deadline = time.monotonic() + 60
    inv = Invocation(deps, PLAN, run, node, str(branch), deadline, {})
    record = NodeRecord(NodeKey(node.ord, str(branch)), "a", "running", attempt=1)
    held = replace(Terms(run.run_id, Limit(), Rules(), 1_000, 1), **terms)
    return RunGuard(inv, record, held, cancelled=lambda: False, deadline=deadline)


def together(count: int, work: Callable[[int], None]) -> None:
    gate = threading.Barrier(count)

    def begin_at_once(number: int) -> None:
        gate.wait()
        work(number)

    threads = [threading.Thread(target=begin_at_once, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def told(deps: Deps, run: RunRecord, name: str) -> list[Any]:
    return [e["data"] for e in deps.store.events(run.run_id, 0, 200) if e["event"] == name]


def test_three_agents_that_add_tokens_at_once_trip_it_once(backend: Backend) -> None:
    for _ in range(TIMES if isinstance(TIMES, int) else TIMES[backend.name]):
        deps, run = begin(backend)
        guards = [guard(deps, run, branch) for branch in range(3)]
        begun = [one.before(CallEstimate("scripted", "m", 1_000, 1_000)) for one in guards]
        together(3, lambda n, g=guards, b=begun: g[n].after(b[n], Usage(2_500, 1_000)))  # type: ignore[misc]  # mypy has no types for a lambda with defaults
        (event,) = told(deps, run, "breaker.tripped")
        assert event["reason"] == "token_surge"
        assert deps.store.get_run(run.run_id).status == "suspended"
        ledger = deps.store.ledgers.get(run.run_id, 1)
        assert ledger is not None
        assert (ledger.used, ledger.holds, ledger.stopped) == (10_500, {}, 1)


def test_forty_branches_on_a_budget_for_ten_make_ten_calls(backend: Backend) -> None:
    deps, run = begin(backend)
    made: list[int] = []
    refused: list[str] = []
    rules = Rules(token_surge=None, velocity=None)

    def call(branch: int) -> None:
        one = guard(deps, run, branch, limit=Limit(tokens=1_000), rules=rules)
        try:
            reservation = one.before(CallEstimate("scripted", "m", 60, 40))
        except RunSuspended as error:
            refused.append(error.message)
            return
        made.append(branch)
        ledger = deps.store.ledgers.get(run.run_id, 1)
        assert ledger is not None
        assert ledger.committed.tokens <= 1_000
        one.after(reservation, Usage(60, 40))

    together(40, call)
    assert (len(made), len(refused)) == (10, 30)
    assert len(told(deps, run, "budget.exceeded")) == 1
    assert len(told(deps, run, "budget.warning")) == 1
    ledger = deps.store.ledgers.get(run.run_id, 1)
    assert ledger is not None
    assert (ledger.left.tokens, ledger.holds) == (0, {})
    error = deps.store.get_run(run.run_id).error or {}
    assert error["code"] == "budget_exceeded"
