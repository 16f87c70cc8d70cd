"""Runs a plan by the interpreter and by its compiled machine, on stores in memory."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sfnx.testing

from joinery.compiler.compile import Compiled
from joinery.compiler.plan import Plan
from joinery.errors import NodeError
from joinery.events.make import Event
from joinery.runs.deps import Deps
from joinery.runs.end import close_failed
from joinery.runs.interpreter import run_inline
from joinery.runs.memory_store import MemoryStore
from joinery.runs.model import RunRecord
from joinery.runs.start import create_run
from joinery.runs.task import run_task
from joinery.sandbox.run import SandboxCodeRunner
from joinery.sandbox.types import CodeRunner

from .random_children import Answered, Answers, TrustedCode, plans_with

INVOCATION_S = 895.0
"""What `run_node` has, once it has kept its reserve."""


@dataclass
class Listener:
    """A publisher that keeps what it is given."""

    messages: list[Event] = field(default_factory=list)

    def publish(self, run_id: str, messages: list[Event]) -> None:
        self.messages.extend(messages)

    def begin(self, run_id: str, width: int) -> None:
        pass

    def interval(self, run_id: str) -> float:
        return 0.0

    def refresh(self, run_id: str, subs: int) -> bool:
        return False

    def named(self, name: str) -> list[Event]:
        return [m for m in self.messages if m["event"] == name]


class NoModels:
    """For workflows without models."""

    def resolve(self, ref: Mapping[str, Any]) -> Any:
        raise AssertionError("no model is expected")


@dataclass
class Ended:
    """How a run ended."""

    deps: Deps
    store: MemoryStore
    run: RunRecord
    listener: Listener
    states: tuple[str, ...] = ()
    transitions: int = 0

    @property
    def status(self) -> str:
        return self.run.status

    @property
    def outputs(self) -> Any:
        return self.store.outputs(self.run.run_id)

    def nodes(self) -> dict[tuple[str, str], tuple[str, str]]:
        """`{(node_id, path): (status, port)}`."""
        return {
            (r.node_id, r.key.path): (r.status, r.port) for r in self.store.nodes(self.run.run_id)
        }


def begin(
    plan: Plan, given: Mapping[str, Any], models: Any = None, calls: Answers | None = None
) -> Ended:
    """Begins a run; one that `calls` child workflows trusts the code that it runs."""
    store, listener = MemoryStore(), Listener()
    code: CodeRunner = TrustedCode() if calls else SandboxCodeRunner(allow=True)
    deps = Deps(store, listener, models or NoModels(), background=False, code=code, children=calls)
    run, _ = create_run(deps, plan, owner="me", workflow_id="wf", version=1, given=given)
    return Ended(deps, store, run, listener)


def interpreted(
    plan: Plan, given: Mapping[str, Any], models: Any = None, *, calls: bool = False
) -> Ended:
    ended = begin(plan, given, models, Answers(plans_with(plan)) if calls else None)
    run_inline(ended.deps, plan, ended.run, sleep=lambda _: None)
    ended.run = ended.store.get_run(ended.run.run_id)
    return ended


def compiled_run(
    compiled: Compiled, given: Mapping[str, Any], models: Any = None, *, calls: bool = False
) -> Ended:
    """Runs the machine with each Task answered by the code that Lambda runs."""
    plan = Plan.from_dict(compiled.plan.to_dict())
    answers = Answers(plans_with(plan)) if calls else None
    ended = begin(plan, given, models, answers)
    started = 0
    """Executions of items, which a distributed Map starts as its Task tells it."""

    def task(call: sfnx.testing.Call) -> object:
        nonlocal started
        payload: Any = call.arguments
        payload = payload.get("Payload", payload)
        assert payload["run_id"] == ended.run.run_id
        run = ended.store.get_run(payload["run_id"])
        try:
            answer = run_task(
                ended.deps, plan, run, payload["node"], payload["path"],
                deadline=time.monotonic() + INVOCATION_S, quorum=payload.get("quorum", ()),
                failed=payload.get("failed", False), token=payload.get("token", ""),
            )  # fmt: skip
        except NodeError as error:
            raised = error.for_machine()
            raise sfnx.testing.Failure(type(raised).__name__, raised.message) from error
        if "token" in payload and answers:
            told, answers.last = answers.last, Answered()
            if told.error:
                raise sfnx.testing.Failure(*told.error)
            return told.output
        last = payload["node"] in plan.by_id and plan.group(payload["node"])[-1]
        if last in plan.iterate_of and plan.iterate_of[last].distributed:
            started += len(answer["items"])
        return answer

    ended.store.mark_started(ended.run.run_id, "arn", time.time())
    execution = sfnx.testing.run(
        compiled.definition, {"run_id": ended.run.run_id, "plan": "wf/1"}, task
    )
    if execution.error is not None:
        shown = {"code": execution.error, "message": execution.cause, "retryable": False}
        close_failed(ended.deps, ended.run, shown)
    ended.run = ended.store.get_run(ended.run.run_id)
    ended.states = execution.states
    ended.transitions = len(execution.states) + started
    return ended
