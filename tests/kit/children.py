"""Child workflows for tests: a catalogue in memory, and a Step Functions that crashes on demand."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from joinery.compiler.build import build_plan
from joinery.compiler.opt import DEFAULT_OPT
from joinery.compiler.plan import WAITING_TYPES, Plan
from joinery.errors import NodeError, NotFound, Transient
from joinery.runs.deps import Deps
from joinery.runs.inline_children import InlineChildRuns
from joinery.runs.interpreter import run_inline
from joinery.runs.lifecycle import close_ended
from joinery.runs.memory_store import MemoryStore
from joinery.runs.model import RunRecord
from joinery.runs.start import create_run
from joinery.runs.task import run_task
from joinery.workflow.children import KnownChild
from joinery.workflow.model import Workflow

from .engines import Ended, Listener, NoModels


def known(workflow: Workflow, **below: KnownChild) -> KnownChild:
    """Returns a workflow as one that was published as version 1 of itself."""
    plan = build_plan(workflow, children=below)
    return KnownChild(
        workflow.name, plan.inputs, f"wf_{workflow.name}", 1, plan.to_dict(), children=below
    )


def plans_of(
    parent: Workflow, parent_opt: int = DEFAULT_OPT, **below: KnownChild
) -> dict[str, Plan]:
    """Returns all plans by what runs are pinned to; the parent's is `wf/1`."""
    plans = {"wf/1": build_plan(parent, opt=parent_opt, children=below)}
    for child in below.values():
        for one in child.every():
            plans[one.ref] = Plan.from_dict(one.plan or {})
    return plans


def begin_inline(plans: Mapping[str, Plan], given: Mapping[str, Any], models: Any = None) -> Ended:
    store, listener = MemoryStore(), Listener()
    children = InlineChildRuns(plans, sleep=lambda _: None)
    deps = Deps(store, listener, models or NoModels(), background=False, children=children)
    run, _ = create_run(
        deps, plans["wf/1"], owner="me", workflow_id="wf", version=1, given=given,
        session_id="s1", extra={"model": "x:y"},
    )  # fmt: skip
    return Ended(deps, store, run, listener)


def inline(plans: Mapping[str, Plan], given: Mapping[str, Any], models: Any = None) -> Ended:
    ended = begin_inline(plans, given, models)
    run_inline(ended.deps, plans["wf/1"], ended.run, sleep=lambda _: None)
    ended.run = ended.store.get_run(ended.run.run_id)
    return ended


class Crash(BaseException):
    """A worker that is gone: nothing catches it."""


@dataclass
class Crashes:
    """Dies at the nth call of a name, before it or after it, or does what `act` does there."""

    at: tuple[str, int, str] | None = None
    act: Callable[[], None] | None = None
    seen: Counter[str] = field(default_factory=Counter)

    def __call__(self, name: str, when: str) -> None:
        if when == "before":
            self.seen[name] += 1
        if self.at == (name, self.seen[name], when):
            self.at = None
            if self.act is None:
                raise Crash(name)
            self.act()


class CrashingStore(MemoryStore):
    """A store whose caller may die around any of its writes."""

    def __init__(self, crashes: Crashes) -> None:
        super().__init__()
        self._crashes = crashes

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in WRITES:
            return found
        crashes = super().__getattribute__("_crashes")

        def call(*args: Any, **more: Any) -> Any:
            crashes(name, "before")
            answer = found(*args, **more)
            crashes(name, "after")
            return answer

        return call


WRITES = frozenset(
    {
        "append",
        "claim",
        "close_run",
        "create_run",
        "drop_token",
        "finish",
        "look_soon",
        "mark_asked",
        "mark_started",
        "put_token",
        "release",
    }
)


@dataclass
class StepFunctions:
    """Runs chains of nodes as executions, one Task at a time, each retried like its state.

    Implements `ChildRuns`. A plan is a chain here: its nodes in order, then `end`.
    """

    plans: Mapping[str, Plan]
    crashes: Crashes
    settles: bool = True
    now: float = field(default_factory=time.time)
    started: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    answered: list[tuple[str, Any]] = field(default_factory=list)
    waits: dict[str, tuple[str, str]] = field(default_factory=dict)
    ready: deque[tuple[str, str, int]] = field(default_factory=deque)
    tokens: int = 0
    deps: Deps | None = None

    def world(self, models: Any) -> Deps:
        self.deps = Deps(
            CrashingStore(self.crashes), Listener(), models,
            clock=lambda: self.now, background=False, children=self,
        )  # fmt: skip
        return self.deps

    # -- ChildRuns -----------------------------------------------------------------------

    def plan(self, ref: str) -> Plan:
        if ref not in self.plans:
            raise NotFound(ref)
        return self.plans[ref]

    def start(self, deps: Deps, run: RunRecord, *, within_s: float) -> None:
        self.crashes("start", "before")
        if run.run_id not in self.started:
            self.started.append(run.run_id)
            self.ready.append((run.run_id, self._first(run), 0))
        self.crashes("start", "after")
        deps.store.mark_started(run.run_id, f"arn:{run.run_id}", deps.clock())

    def stop(self, run: RunRecord, cause: str) -> None:
        self.stopped.append(run.run_id)

    def answer(self, token: str, output: Mapping[str, Any]) -> None:
        self.crashes("answer", "before")
        if token in self.waits:
            run_id, node = self.waits.pop(token)
            self.answered.append((node, dict(output)))
            self.ready.append((run_id, self._after(run_id, node, str(output["port"])), 0))
        self.crashes("answer", "after")

    def refuse(self, token: str, error: str, cause: str) -> None:
        self.crashes("refuse", "before")
        if token in self.waits:
            run_id, node = self.waits.pop(token)
            self.answered.append((node, error))
            if error.startswith("Quorum_"):
                return  # the state around the Task catches it, and the test goes on from there
            self._failed(run_id, node, 0, error, transient=error.startswith("Transient"))
        self.crashes("refuse", "after")

    def expire(self) -> None:
        """Ends every wait like `TimeoutSeconds`: its Task is tried again."""
        for run_id, node in self.waits.values():
            self.ready.append((run_id, node, 1))
        self.waits.clear()

    # -- executions ------------------------------------------------------------------------

    def _plan_of(self, run_id: str) -> Plan:
        assert self.deps is not None
        return self.plan(self.deps.store.get_run(run_id).plan_ref)

    def _first(self, run: RunRecord) -> str:
        return self.plan(run.plan_ref).nodes[0].id

    def _after(self, run_id: str, node: str, port: str) -> str:
        links = self._plan_of(run_id).outgoing[node].get(port, [])
        return links[0].target if links else "end"

    def _failed(self, run_id: str, node: str, tries: int, error: str, *, transient: bool) -> None:
        if transient and tries < 5:
            self.ready.append((run_id, node, tries + 1))
            return
        assert self.deps is not None
        detail = {"name": run_id, "status": "FAILED", "error": error}
        for _ in range(3):  # EventBridge calls a function again that has died
            try:
                close_ended(self.deps, detail)
                return
            except Crash:
                continue

    def work(self) -> None:
        """Works until nothing is left to do."""
        assert self.deps is not None
        while self.ready:
            run_id, node, tries = self.ready.popleft()
            plan = self._plan_of(run_id)
            waits = node != "end" and plan.by_id[node].type in WAITING_TYPES
            token = ""
            if waits:
                self.tokens += 1
                token = f"token{self.tokens}"
                self.waits[token] = (run_id, node)
            try:
                run = self.deps.store.get_run(run_id)
                answer = run_task(
                    self.deps, plan, run, node, "",
                    deadline=time.monotonic() + 60, token=token,
                )  # fmt: skip
            except (NodeError, Crash) as error:
                if waits and token not in self.waits:
                    continue  # the Task was over before the function was
                self.waits.pop(token, None)
                self.now += 20  # its claim runs out
                name = "Runtime.ExitError" if isinstance(error, Crash) else type(error).__name__
                again = isinstance(error, Crash | Transient)
                self._failed(run_id, node, tries, name, transient=again)
                continue
            if not waits and node != "end":
                self.ready.append((run_id, self._after(run_id, node, answer["port"]), 0))
