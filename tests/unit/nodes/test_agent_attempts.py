"""Agents whose attempts end on the way: nothing that was noted is done again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from kit.agents import Caller, FunctionTool, Step, agent_workflow, call, python_tool
from kit.engines import INVOCATION_S, Listener, begin

from joinery.client.transcript import Transcript
from joinery.compiler.compile import compile_workflow
from joinery.compiler.plan import Plan
from joinery.errors import NodeError, RunSuspended
from joinery.llm.types import ModelRequest
from joinery.model_errors import TransientModelTimeout, TransientModelUnavailable
from joinery.nodes import agent as agents
from joinery.runs.control import pause, resume
from joinery.runs.deps import LEASE_S, Deps
from joinery.runs.memory_store import MemoryStore
from joinery.runs.model import NodeRecord, RunRecord
from joinery.runs.task import run_task


class Killed(BaseException):
    """The worker is gone: nothing after this is done, not even cleaning up."""


@dataclass
class Stage:
    """A run whose worker dies at a chosen write of a journal."""

    plan: Plan
    store: MemoryStore
    deps: Deps
    run: RunRecord
    listener: Listener
    model: Caller
    tool: FunctionTool
    entries: list[str] = field(default_factory=list)
    kill_at: int = 0
    after: bool = False

    def watch_journal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        put = self.store.put_journal

        def noted(run_id: str, key: Any, entry_id: str, value: Any, attempt: int) -> None:
            self.entries.append(entry_id)
            dies = len(self.entries) == self.kill_at
            if dies and not self.after:
                raise Killed
            put(run_id, key, entry_id, value, attempt)
            if dies:
                raise Killed

        monkeypatch.setattr(self.store, "put_journal", noted)

    def attempt(self, later: float = 0.0) -> None:
        """Runs the agent's Task, `later` seconds after now."""
        clock = time.time() + later
        deps = Deps(self.store, self.listener, self.model, background=False, clock=lambda: clock)
        run = self.store.get_run(self.run.run_id)
        run_task(deps, self.plan, run, "a", "", deadline=time.monotonic() + INVOCATION_S)

    def record(self) -> NodeRecord:
        return next(r for r in self.store.nodes(self.run.run_id) if r.node_id == "a")


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Stage]]:
    def made(
        tool: FunctionTool, script: Any, node: dict[str, Any] | None = None, **agent: Any
    ) -> Stage:
        monkeypatch.setattr(agents, "open_tools", lambda entries, context: {tool.name: tool})
        flow = agent_workflow({tool.name: python_tool(tool.name)}, node, **agent)
        plan = compile_workflow(flow, opt=0).plan
        model = Caller(script)
        ended = begin(plan, {}, model)
        ended.store.mark_started(ended.run.run_id, "arn", time.time())
        found = Stage(plan, ended.store, ended.deps, ended.run, ended.listener, model, tool)
        found.watch_journal(monkeypatch)
        return found

    yield made


def script(place: int, request: ModelRequest) -> Step:
    """Two rounds with two calls each, then an answer; by what the request says."""
    rounds = sum(bool(m.tool_calls) for m in request.messages)
    if rounds == 2:
        results = [m.content for m in request.messages if m.role == "tool"]
        return f"found {' '.join(results)}"
    return (
        f"round {rounds + 1}",
        [call("look", {"x": rounds * 2}, f"a{rounds}"), call("look", {"x": rounds * 2 + 1})],
    )


def text_of(listener: Listener) -> str:
    """Returns the text as a client has it that heard everything, attempts that died included."""
    transcript = Transcript()
    for message in listener.messages:
        transcript.apply(message)
    return transcript.text("a", "")


FOUND = "found got 0 got 1 got 2 got 3"
WHOLE = f"round 1\n\nround 2\n\n{FOUND}"
ENTRIES = 7
"""Three answers and four results."""


def test_without_a_crash(stage: Callable[..., Stage]) -> None:
    tool = FunctionTool(lambda use: f"got {use.arguments['x']}", read_only=False)
    run = stage(tool, script)
    run.attempt()
    assert run.record().status == "completed"
    assert run.entries == [
        "0001.answer", "0001.000.result", "0001.001.result",
        "0002.answer", "0002.000.result", "0002.001.result", "0003.answer",
    ]  # fmt: skip
    assert text_of(run.listener) == WHOLE


@pytest.mark.parametrize("after", [False, True], ids=["before the note", "after the note"])
@pytest.mark.parametrize("place", range(1, ENTRIES + 1))
def test_a_kill_at_each_note(stage: Callable[..., Stage], place: int, after: bool) -> None:
    tool = FunctionTool(lambda use: f"got {use.arguments['x']}", read_only=False)
    run = stage(tool, script)
    run.kill_at, run.after = place, after
    with pytest.raises(Killed):
        run.attempt()
    run.attempt(later=LEASE_S + 5)
    record = run.record()
    assert record.status == "completed"
    assert run.store.result(run.run.run_id, record)["text"] == FOUND

    lost = run.entries[place - 1] if not after else ""
    asked_again = int(lost.endswith("answer"))
    made_again = int(lost.endswith("result"))
    # What was noted is not asked for and not called again; what was not has its old key.
    assert len(run.model.requests) == 3 + asked_again
    assert len(tool.uses) == 4 + made_again
    keys = [use.key for use in tool.uses]
    assert len(set(keys)) == 4
    if made_again:
        again = [use for use in tool.uses if keys.count(use.key) == 2]
        assert len(again) == 2
        assert again[0].arguments == again[1].arguments
    # Viewers have the text once, without what was never noted.
    assert text_of(run.listener) == WHOLE
    assert record.streams["text"]["length"] == len(WHOLE)
    # All that was noted is paid for once. What was never noted nobody can know of.
    assert record.usage["model_calls"] == 3
    assert record.usage["input_tokens"] == 30
    # A cassette's third call is the third answer, whatever died.
    assert run.model.numbers[-1] == 3


def test_a_call_that_must_not_be_repeated_is_not(stage: Callable[..., Stage]) -> None:
    tool = FunctionTool(lambda use: "paid", at_most_once=True, read_only=False)
    run = stage(tool, [[call("look", {"x": 1})], "done", "done"])
    run.kill_at = 3  # the answer, that it is called, and its result
    with pytest.raises(Killed):
        run.attempt()
    assert run.entries == ["0001.answer", "0001.000.called", "0001.000.result"]
    run.attempt(later=LEASE_S + 5)
    assert run.record().status == "completed"
    assert len(tool.uses) == 1
    [told] = run.model.last()
    assert told.is_error
    assert "not repeated" in told.content
    done = run.listener.named("tool.completed")[-1]["data"]
    assert done["code"] == "agent.outcome_unknown"


def test_a_model_that_fails_goes_on_from_its_last_round(stage: Callable[..., Stage]) -> None:
    tool = FunctionTool(lambda use: f"got {use.arguments['x']}")
    failures = [TransientModelTimeout("no token", phase="first_token")]

    def flaky(place: int, request: ModelRequest) -> Step:
        if len(request.messages) > 4 and failures:
            return failures.pop()
        return script(place, request)

    run = stage(tool, flaky)
    with pytest.raises(NodeError):
        run.attempt()
    [started] = run.listener.named("node.started")
    assert "kept" not in started["data"]
    run.attempt()
    assert run.record().status == "completed"
    assert len(tool.uses) == 4
    assert len(run.model.requests) == 4
    assert text_of(run.listener) == WHOLE
    started = run.listener.named("node.started")[-1]["data"]
    assert started["kept"]["text"] == len("round 1")
    # Of the failed call it is known that it was made, not what it used.
    assert run.record().usage["model_calls"] == 4


def test_a_model_that_is_down_for_a_moment_is_called_again_in_its_round(
    stage: Callable[..., Stage],
) -> None:
    tool = FunctionTool(lambda use: f"got {use.arguments['x']}")
    failures = [TransientModelUnavailable("down")]

    def flaky(place: int, request: ModelRequest) -> Step:
        if len(request.messages) > 4 and failures:
            return failures.pop()
        return script(place, request)

    run = stage(tool, flaky)
    run.attempt()
    assert run.record().status == "completed"
    assert run.record().attempt == 1
    assert len(tool.uses) == 4
    assert text_of(run.listener) == WHOLE
    assert run.record().usage["model_calls"] == 4
    [again] = run.listener.named("model.retrying")
    assert again["data"]["reason"] == "model_unavailable"
    assert len(run.listener.named("agent.round")) == 3


def test_a_new_attempt_is_told_nothing_of_an_answer_that_was_rejected(
    stage: Callable[..., Stage],
) -> None:
    wrong = iter(["no", "no", "no", "no"])

    def answers(place: int, request: ModelRequest) -> Step:
        if len(request.messages) == 2:
            return [call("look", {"x": 1})]
        return next(wrong, '{"n": 1}')

    tool = FunctionTool(lambda use: "got it")
    run = stage(tool, answers, {"output": {"n": {"type": "integer"}}})
    with pytest.raises(NodeError):
        run.attempt()
    before = len(run.model.requests)
    run.attempt()
    assert run.record().status == "completed"
    assert len(tool.uses) == 1
    # The first round comes from the journal; what was wrong stays in the attempt before.
    roles = [message.role for message in run.model.requests[before].messages]
    assert roles == ["system", "user", "assistant", "tool"]


def test_a_pause_stops_it_between_two_rounds(stage: Callable[..., Stage]) -> None:
    def work(use: Any) -> str:
        if use.arguments["x"] == 1:
            pause(run.deps, run.store.get_run(run.run.run_id), lambda arn, why: None)
        return f"got {use.arguments['x']}"

    tool = FunctionTool(work)
    run = stage(tool, script)
    with pytest.raises(RunSuspended):
        run.attempt()
    assert len(run.model.requests) == 1
    assert run.record().status not in ("failed", "completed")
    resume(run.deps, run.store.get_run(run.run.run_id), lambda again: "arn2")
    run.attempt()
    record = run.record()
    assert record.status == "completed"
    assert len(run.model.requests) == 3
    assert len(tool.uses) == 4
    # To be paused is no failure: all attempts are still there.
    assert record.tries == 1


def test_what_stopped_an_agent_does_not_stop_it_again_when_it_is_resumed(
    stage: Callable[..., Stage],
) -> None:
    from joinery.tools.base import ToolResult

    mended: list[bool] = []

    def work(use: Any) -> Any:
        return "mended" if mended else ToolResult("broken", is_error=True)

    def stubborn(place: int, request: ModelRequest) -> Step:
        if request.messages[-1].content == "mended":
            return "at last"
        return [call("look", {"x": 1})]

    tool = FunctionTool(work)
    run = stage(tool, stubborn, max_rounds=20)
    with pytest.raises(NodeError):
        run.attempt()
    assert run.record().error is not None
    assert len(tool.uses) == 6
    mended.append(True)
    run.store.reset_node(run.run.run_id, run.record())
    run.attempt()
    assert run.record().status == "completed"
    assert len(tool.uses) == 7


@pytest.mark.parametrize("later", [0, 1, 2])
def test_a_summary_is_made_once(stage: Callable[..., Stage], later: int) -> None:
    summaries: list[int] = []

    def long_script(place: int, request: ModelRequest) -> Step:
        if not request.tools:
            summaries.append(place)
            return f"summary {len(summaries)}"
        last = request.messages[-1]
        number = 1 if last.role != "tool" else int(last.content.split()[1]) + 1
        return "the end" if number > 12 else [call("look", {"x": number})]

    tool = FunctionTool(lambda use: f"page {use.arguments['x']} " + "word " * 400)
    run = stage(tool, long_script, max_rounds=20)
    run.model.window = 8_192
    first = run.entries
    with pytest.raises(Killed):
        run.kill_at = 10_000
        put = run.store.put_journal

        def dying(run_id: str, key: Any, entry_id: str, value: Any, attempt: int) -> None:
            put(run_id, key, entry_id, value, attempt)
            noted = [entry for entry in first if entry.endswith("compact")]
            if noted and len(first) == first.index(noted[0]) + 1 + later:
                raise Killed

        run.store.put_journal = dying  # type: ignore[method-assign]
        run.attempt()
    run.store.put_journal = put  # type: ignore[method-assign]
    assert summaries
    run.attempt(later=LEASE_S + 5)
    record = run.record()
    assert record.status == "completed"
    compactions = [entry for entry in run.entries if entry.endswith("compact")]
    assert len(compactions) == len(set(compactions)) == len(summaries)
    assert len(tool.uses) == 12
    final = [m.content for m in run.model.requests[-1].messages]
    assert sum(f"summary {len(summaries)}" in text for text in final) == 1
    assert [text.split()[1] for text in final if text.startswith("page")][:2] == ["1", "2"]
    assert record.usage["model_calls"] == len(run.model.requests)
