"""What a node is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from joinery.llm.calls import Calls
from joinery.llm.types import Usage
from joinery.nodes.guard import Guard, NoGuard
from joinery.sandbox.types import CodeRunner, NoCodeRunner
from joinery.tools.services import ToolServices
from joinery.tracing import NO_TRACE, Trace

if TYPE_CHECKING:
    from joinery.compiler.plan import Plan, PlanNode
    from joinery.events.streams import TextStreams
    from joinery.llm.types import Provider
    from joinery.runs.journal import Journal
    from joinery.runs.model import LiveInput
    from joinery.tools.base import Workflows
    from joinery.workflow.expressions import Scope


class Models(Protocol):
    """Finds the model that a node asks for."""

    def resolve(self, ref: Mapping[str, Any]) -> tuple[Provider, str]:
        """Returns the provider and the model's name there."""
        ...


class Inbox(Protocol):
    """Gives a node the messages that are for it."""

    def take(self, turn: int, *, again: bool) -> list[LiveInput]:
        """See `NodeContext.take_inputs`."""
        ...


@dataclass(slots=True)
class Spend:
    """What one model was used for in one attempt.

    Attributes:
        provider: Who answered.
        model: The model's name there.
        calls: Calls of it that were begun.
        usage: What they used together.
        each: Of each answer the price that the workflow gives, if any, and what it used.
    """

    provider: str
    model: str
    calls: int = 0
    usage: Usage = field(default_factory=Usage)
    each: list[tuple[Mapping[str, Any] | None, Usage]] = field(default_factory=list)


@dataclass(slots=True)
class Meter:
    """Model calls begun and tokens used in one attempt, by provider and model.

    Attributes:
        model_calls: Calls begun.
        by_model: What each model was used for.
        recovered: Of the calls, those of attempts that died before they recorded them.
        below: What runs that its tools began used, each as a run's `usage` has it.
    """

    model_calls: int = 0
    by_model: dict[tuple[str, str], Spend] = field(default_factory=dict)
    recovered: int = 0
    below: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def usage(self) -> Usage:
        """What all calls used together."""
        return sum((spend.usage for spend in self.by_model.values()), Usage())

    def add(
        self,
        provider: str,
        model: str,
        usage: Usage | None,
        price: Mapping[str, Any] | None = None,
    ) -> None:
        """Counts a call that has ended.

        Args:
            provider: Who was asked.
            model: The model's name there.
            usage: What it used; None where it failed and nobody knows.
            price: The price that the workflow gives the model.
        """
        self._note(provider, model, usage, price, calls=1)

    def recover(
        self,
        usage: Usage,
        calls: int,
        provider: str,
        model: str,
        price: Mapping[str, Any] | None = None,
    ) -> None:
        """Adds what an earlier attempt used and only its journal tells.

        Args:
            usage: The tokens.
            calls: How many calls it were.
            provider: Who answered.
            model: Which model.
            price: The price that the workflow gives the model.
        """
        self.model_calls += calls
        self.recovered += calls
        self._note(provider, model, usage, price, calls=calls)

    def _note(
        self,
        provider: str,
        model: str,
        usage: Usage | None,
        price: Mapping[str, Any] | None,
        *,
        calls: int,
    ) -> None:
        spend = self.by_model.setdefault((provider, model), Spend(provider, model))
        spend.calls += calls
        if usage is not None:
            spend.usage += usage
            spend.each.append((price, usage))


@dataclass(frozen=True, slots=True)
class Before:
    """How the attempt before ended, where it told.

    Attributes:
        error: Its error, as it was stored; None before the first attempt.
        texts: Returns the text that an attempt, by its number, streamed as `text`.
    """

    error: Mapping[str, Any] | None = None
    texts: Callable[[int], str] = lambda _: ""

    @property
    def code(self) -> str:
        """The code of its error; `""` where there is none."""
        return str((self.error or {}).get("code") or "")

    @property
    def details(self) -> Mapping[str, Any]:
        """The facts of its error."""
        return (self.error or {}).get("details") or {}


@dataclass(frozen=True, slots=True)
class NodeContext:
    """One attempt of one node.

    Attributes:
        plan: The plan of the run.
        node: The node.
        path: Its loop rounds and item indexes.
        attempt: Which attempt this is, from 1.
        meter: Counts what the attempt uses, whatever becomes of it.
        scope: Resolves expressions.
        streams: Takes text while it is made.
        models: Finds models.
        deadline: `time.monotonic()` by which the node must have ended.
        cancelled: Whether the run was cancelled meanwhile.
        emit: Stores and publishes an event of this node: `(name, data)`.
        code: Runs code that users write.
        tool_services: What tools may use of the place where they run.
        workflows: Runs other workflows for tools; None where that is not possible.
        inbox: What people tell the agents of the run while they work.
        calls_before: Model calls of earlier attempts, as far as they were recorded.
        guard: Asked before each call of a model.
        calls: What all calls of models share.
        before: How the attempt before ended.
        trace: Where spans of this attempt are opened.
        run_id: The run.
        owner: Whose run it is: what acts for somebody takes it from here and nowhere else.
        session_id: The run's session, where it has one.
        journal: What the node has done so far; None for a node that keeps none.
        paused: Whether the run was paused meanwhile.
    """

    plan: Plan
    node: PlanNode
    path: str
    attempt: int
    meter: Meter
    scope: Scope
    streams: TextStreams
    models: Models
    deadline: float
    cancelled: Callable[[], bool]
    emit: Callable[[str, Mapping[str, Any]], None]
    code: CodeRunner = field(default_factory=NoCodeRunner)
    tool_services: ToolServices = field(default_factory=ToolServices)
    workflows: Workflows | None = None
    calls_before: int = 0
    guard: Guard = field(default_factory=NoGuard)
    calls: Calls = field(default_factory=Calls)
    before: Before = Before()
    trace: Trace = NO_TRACE
    run_id: str = ""
    owner: str = ""
    session_id: str | None = None
    journal: Journal | None = None
    paused: Callable[[], bool] = field(default=lambda: False)
    inbox: Inbox | None = None

    def take_inputs(self, turn: int, *, again: bool = False) -> list[LiveInput]:
        """Returns what the user has said to this agent since it last asked.

        Call it between two turns with the number of the one that follows. Each message goes
        to one node and one turn of it: a later attempt that comes to the same turn is given
        the same messages again, and new ones that have come since.

        Args:
            turn: The turn that is to see them, from 1.
            again: The turn's answer is known already and is only replayed: nothing new is
                taken.
        """
        return [] if self.inbox is None else self.inbox.take(turn, again=again)

    def next_call(self) -> int:
        """Counts another model call; returns its number over all attempts, from 1.

        An attempt that died recorded nothing, and made one call at least.
        """
        meter = self.meter
        meter.model_calls += 1
        before = self.calls_before + meter.recovered
        if self.journal is None:
            before = max(self.attempt - 1, before)
        return before + meter.model_calls - meter.recovered


@dataclass(slots=True)
class NodeResult:
    """What an attempt gave.

    Attributes:
        result: `{text?, output?}`; what expressions see of the node.
        port: The port taken, `""` for a node that decides nothing.
        repeat: For a loop node: whether another round begins.
        reason: Why a loop ended.
        items: For an iterate node: how many items it has.
    """

    result: Mapping[str, Any] = field(default_factory=dict)
    port: str = ""
    repeat: bool = False
    reason: str = ""
    items: int | None = None


Execute = Callable[[NodeContext], NodeResult]
