"""A run whose time is over: what is under way is cut there, counted, and asked again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from kit.agents import Caller, FunctionTool, agent_workflow, call, python_tool
from kit.children import begin_inline, known, plans_of
from kit.engines import Ended
from kit.models import Says
from kit.workflows import workflow

from joinery.llm.types import CallContext, ModelRequest
from joinery.model_errors import TransientModelRateLimited
from joinery.nodes import agent as agents
from joinery.runs import guarding
from joinery.runs.control import pause, unlock
from joinery.runs.interpreter import run_inline
from joinery.tools.base import ToolUse
from joinery.workflow.children import child_of_tool
from joinery.workflow.model import Workflow

ASK = {"type": "llm", "prompt": "Well?"}
BREAKER = {"wall_time": "1m", "velocity": "off"}


class Clock:
    """The time of runs, and of what bounds their calls: it goes on by leaps."""

    def __init__(self) -> None:
        self.leapt = 0.0

    def __call__(self) -> float:
        return time.time() + self.leapt

    def monotonic(self) -> float:
        return time.monotonic() + self.leapt

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


CLOCK = Clock()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of a test, before any leap."""
    monkeypatch.setattr(CLOCK, "leapt", 0.0)
    monkeypatch.setattr(guarding, "time", CLOCK)
    return CLOCK


def leap() -> None:
    """The time of a run is over."""
    CLOCK.leapt += 61


def endless(context: CallContext) -> Iterator[str]:
    """Words without an end; whoever is not cut in ten seconds fails the test."""
    for number in range(500):
        yield f"word {number} "
        if not number:
            leap()
        time.sleep(0.02)
    raise AssertionError(f"nobody has cut call {context.call}")


def all_endless(calls: int) -> Callable[[CallContext], Iterator[str]]:
    """The same where so many calls are under way before the time is over."""
    begun = threading.Barrier(calls)

    def words(context: CallContext) -> Iterator[str]:
        begun.wait(20)
        yield from endless(context)

    return words


class Endless(Says):
    """Answers without an end, as often as it is told to, and then at once."""

    def __init__(self, times: int = 1, answer: Any = endless) -> None:
        super().__init__(self._words)
        self.left, self._endless = times, answer

    def _words(self, request: ModelRequest, context: CallContext) -> Any:
        self.left -= 1
        return self._endless(context) if self.left >= 0 else "It is so."


def begin(held: Mapping[str, Any], model: Any) -> Ended:
    ended = begin_inline(held, {}, model)
    ended.deps = replace(ended.deps, clock=CLOCK)
    return ended


def one(node: Mapping[str, Any] = ASK, **fields: Any) -> dict[str, Any]:
    return plans_of(
        workflow(
            ["start -> a -> end"], {"a": dict(node)},
            outputs={"text": "{{ nodes.a.text }}"}, breaker=BREAKER, **fields,
        )
    )  # fmt: skip


def go(ended: Ended, held: Mapping[str, Any]) -> Ended:
    run = ended.store.get_run(ended.run.run_id)
    run_inline(ended.deps, held["wf/1"], run, sleep=lambda _: None)
    ended.run = ended.store.get_run(ended.run.run_id)
    return ended


def unlocked(ended: Ended, held: Mapping[str, Any]) -> Ended:
    unlock(ended.deps, ended.run, lambda run: "arn", because="it is long")
    return go(ended, held)


def events(ended: Ended, name: str) -> list[Any]:
    found = ended.store.events(ended.run.run_id, 0, 1_000)
    return [event["data"] for event in found if event["event"] == name]


def reasons(ended: Ended) -> list[str]:
    return [data["reason"] for data in events(ended, "breaker.tripped")]


# -- calls of models -----------------------------------------------------------------------


def test_a_call_is_cut_when_the_time_is_over_and_is_made_again() -> None:
    held, model = one(), Endless()
    ended = go(begin(held, model), held)
    assert (ended.status, (ended.run.error or {})["code"]) == ("suspended", "breaker_tripped")
    (event,) = events(ended, "breaker.tripped")
    assert (event["reason"], event["limit"], event["node_id"]) == ("wall_time", 60, "a")
    assert event["value"] > 60
    (record,) = ended.store.nodes(ended.run.run_id)
    assert (record.status, record.attempt, record.tries) == ("pending", 1, 0)
    # What it had said by then is kept and counted.
    assert ended.deps.store.texts_of(ended.run.run_id, record.key, 1)[0].text.startswith("word 0")
    used = record.usage["input_tokens"] + record.usage["output_tokens"]
    assert (record.usage["estimated"], record.usage["model_calls"]) == (True, 1)
    assert event["used"]["tokens"] == used > 0
    ledger = ended.store.ledgers.get(ended.run.run_id, 1)
    assert ledger is not None
    assert (ledger.holds, ledger.used) == ({}, used)

    unlocked(ended, held)
    assert (ended.status, ended.outputs) == ("completed", {"text": "It is so."})
    (record,) = ended.store.nodes(ended.run.run_id)
    assert (record.attempt, record.usage["model_calls"], len(model.calls)) == (2, 2, 2)
    assert reasons(ended) == ["wall_time"]


def test_a_call_that_says_nothing_is_cut_too() -> None:
    def silent(context: CallContext) -> Iterator[str]:
        leap()
        until = time.monotonic() + 10
        while not context.cancelled():
            assert time.monotonic() < until
            time.sleep(0.02)
        yield from ()

    held = one()
    ended = go(begin(held, Endless(answer=silent)), held)
    assert (ended.status, reasons(ended)) == ("suspended", ["wall_time"])
    assert unlocked(ended, held).status == "completed"


def test_an_answer_that_was_complete_by_then_is_kept() -> None:
    class Whole(Endless):
        """Has ended before it notices that it is cut."""

        def stream(self, request: ModelRequest, call: CallContext) -> Any:
            yield from super().stream(request, replace(call, cancelled=lambda: False))

    def late(context: CallContext) -> Iterator[str]:
        yield "All of it."
        leap()

    held = one()
    ended = go(begin(held, Whole(answer=late)), held)
    assert (ended.status, ended.outputs) == ("completed", {"text": "All of it."})
    assert reasons(ended) == []


def test_all_branches_are_cut_and_the_breaker_trips_once() -> None:
    names = "abcd"
    flow = workflow(
        [f"start -> {', '.join(names)} -> end"], dict.fromkeys(names, ASK), breaker=BREAKER
    )
    held, model = plans_of(flow), Endless(len(names), all_endless(len(names)))
    ended = go(begin(held, model), held)
    assert (ended.status, reasons(ended)) == ("suspended", ["wall_time"])
    assert {r.status for r in ended.store.nodes(ended.run.run_id)} == {"pending"}
    assert unlocked(ended, held).status == "completed"
    assert len(model.calls) == 2 * len(names)


def test_a_wait_for_the_model_ends_with_the_time() -> None:
    class Busy(Says):
        """Asks for a minute of patience, once."""

        def stream(self, request: ModelRequest, call: CallContext) -> Any:
            if not self.calls:
                self.calls.append(("a", "", 1))
                leap()
                raise TransientModelRateLimited("busy", retry_after_s=60.0)
            yield from super().stream(request, call)

    held = one({**ASK, "retry": {"attempts": 3}})
    ended = begin(held, Busy(lambda r, c: "Now."))
    began = time.monotonic()
    go(ended, held)
    assert time.monotonic() - began < 10
    assert (ended.status, reasons(ended)) == ("suspended", ["wall_time"])
    assert unlocked(ended, held).outputs == {"text": "Now."}


def test_a_paused_run_lets_its_call_end() -> None:
    def steady(context: CallContext) -> Iterator[str]:
        pause(ended.deps, ended.store.get_run(ended.run.run_id), lambda arn, cause: None)
        yield "word "
        leap()
        for _ in range(20):
            yield "word "
            time.sleep(0.02)

    held = one()
    ended = begin(held, Endless(answer=steady))
    go(ended, held)
    assert (ended.status, reasons(ended)) == ("paused", [])
    assert ended.nodes() == {("a", ""): ("completed", "")}


def test_who_waits_for_a_person_meanwhile_gives_the_call_more_time() -> None:
    flow = workflow(
        ["start -> a -> end", "start -> b -> end"],
        {"a": ASK, "b": {"type": "question", "prompt": "Yes?", "timeout": "2m", "default": "no"}},
        breaker=BREAKER,
    )

    def steady(context: CallContext) -> Iterator[str]:
        while not ended.store.get_run(ended.run.run_id).asked:
            yield "word "
            time.sleep(0.02)
        for _ in range(2):  # nobody answers
            leap()
            yield "word "
            time.sleep(0.3)

    held = plans_of(flow)
    ended = begin(held, Endless(answer=steady))
    run = ended.store.get_run(ended.run.run_id)
    run_inline(ended.deps, held["wf/1"], run, idle=lambda run, record: time.sleep(0.02))
    ended.run = ended.store.get_run(ended.run.run_id)
    assert (ended.status, reasons(ended)) == ("completed", [])


# -- tools -----------------------------------------------------------------------------------


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> FunctionTool:
    def slow(use: ToolUse) -> str:
        if len(made.uses) == 1:
            leap()
            until = time.monotonic() + 10
            while not use.cancelled():
                assert time.monotonic() < until
                time.sleep(0.02)
            assert use.held()
        return "found"

    made = FunctionTool(slow)
    monkeypatch.setattr(agents, "open_tools", lambda entries, context: {made.name: made})
    return made


@pytest.mark.parametrize("at_most_once", [False, True])
def test_a_tool_in_flight_is_left_and_its_call_made_again_under_its_key(
    tool: FunctionTool, at_most_once: bool
) -> None:
    tool.at_most_once = at_most_once
    held = plans_of(agent_workflow({"look": python_tool("look")}))
    held["wf/1"] = replace(held["wf/1"], breaker={"wall_time": 60.0, "velocity": "off"})
    model = Caller([[call("look", {"x": 1}, "c1")], "It is there."])
    ended = go(begin(held, model), held)
    assert (ended.status, reasons(ended)) == ("suspended", ["wall_time"])
    assert len(model.requests) == 1
    assert events(ended, "tool.completed") == []
    unlocked(ended, held)
    assert (ended.status, len(model.requests)) == ("completed", 2)
    (told,) = events(ended, "tool.completed")
    if at_most_once:
        assert (told["code"], len(tool.uses)) == ("agent.outcome_unknown", 1)
    else:
        assert told["ok"]
        assert len({use.key for use in tool.uses}) == 1
        assert len(tool.uses) == 2


BELOW = workflow(
    ["start -> first -> end"], {"first": ASK}, name="below",
    outputs={"said": "{{ nodes.first.text }}"},
)  # fmt: skip


def above(calls: int, **tool: Any) -> dict[str, Any]:
    """An agent whose one tool is a workflow, of which it begins so many runs at once."""
    flow = Workflow.model_validate(
        {
            "version": 1,
            "name": "above",
            "agents": {"one": {"persona": "You ask.", "tools": ["below"], "max_rounds": 4}},
            "tools": {
                "below": {"kind": "workflow", "workflow": "below", "description": "Asks.", **tool}
            },
            "nodes": {"a": {"type": "agent", "agent": "one", "prompt": "Ask."}},
            "edges": ["start -> a -> end"],
            "outputs": {"text": "{{ nodes.a.text }}"},
            "breaker": BREAKER,
        }
    )
    return plans_of(flow, **{child_of_tool("below"): known(BELOW)})


class Both:
    """An agent's model that begins runs, and the model of those runs."""

    def __init__(self, calls: int) -> None:
        wanted = [call("below", {}, f"c{n}") for n in range(calls)]
        self.agent, self.below = Caller([wanted, "done"]), Endless(calls, all_endless(calls))

    def resolve(self, ref: Mapping[str, Any]) -> tuple[Both, str]:
        return self, "both"

    name = "both"

    def context_window(self, model: str) -> int | None:
        return None

    def stream(self, request: ModelRequest, context: CallContext) -> Any:
        asked = self.agent if context.node_id == "a" else self.below
        return asked.stream(request, context)


class Deaf(Both):
    """What is asked below does not notice that its time is over, and is told all the same."""

    def __init__(self) -> None:
        super().__init__(1)
        self.ended = threading.Event()

    def stream(self, request: ModelRequest, context: CallContext) -> Any:
        if context.node_id == "a":
            yield from self.agent.stream(request, context)
            return
        leap()
        self.ended.wait(20)
        self.below.left = 0
        yield from self.below.stream(request, replace(context, cancelled=lambda: False))


def runs_below(ended: Ended) -> list[Any]:
    return [held.record for held in ended.store._runs.values() if held.record.parent]


@pytest.mark.parametrize("calls", [1, 3])
def test_runs_of_tools_stand_still_with_the_run_around_them_and_go_on(calls: int) -> None:
    held, model = above(calls, read_only=True), Both(calls)
    ended = go(begin(held, model), held)
    assert (ended.status, reasons(ended)) == ("suspended", ["wall_time"])
    deadline = time.monotonic() + 10
    while {run.status for run in runs_below(ended)} != {"suspended"}:
        assert time.monotonic() < deadline, [run.status for run in runs_below(ended)]
        time.sleep(0.02)
    assert [(run.error or {})["code"] for run in runs_below(ended)] == ["suspended_around"] * calls
    unlocked(ended, held)
    assert (ended.status, ended.outputs) == ("completed", {"text": "done"})
    assert [run.status for run in runs_below(ended)] == ["completed"] * calls
    assert (len(model.below.calls), len(model.agent.requests)) == (2 * calls, 2)


def test_the_run_of_a_tool_that_was_left_is_not_cancelled_and_what_it_gave_is_found() -> None:
    held, model = above(1), Deaf()
    ended = go(begin(held, model), held)
    assert (ended.status, reasons(ended)) == ("suspended", ["wall_time"])
    for thread in threading.enumerate():
        if "_call" in thread.name:  # that of the tool notices that it was left
            thread.join(10)
            assert not thread.is_alive()
    (below,) = runs_below(ended)
    assert below.status == "running"
    model.ended.set()
    until_closed(ended)
    unlocked(ended, held)
    assert (ended.status, ended.outputs) == ("completed", {"text": "done"})
    assert (len(runs_below(ended)), len(model.below.calls)) == (1, 1)


def until_closed(ended: Ended) -> None:
    deadline = time.monotonic() + 10
    while [run.status for run in runs_below(ended)] != ["completed"]:
        assert time.monotonic() < deadline, [run.status for run in runs_below(ended)]
        time.sleep(0.02)
