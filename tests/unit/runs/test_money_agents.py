"""Budgets, prices and the breaker where agents have tools, and where their tools are workflows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from kit.agents import Caller, FunctionTool, agent_workflow, call, python_tool
from kit.children import known, plans_of
from kit.engines import INVOCATION_S, Ended, Listener
from kit.workflows import workflow

from joinery.compiler.build import build_plan
from joinery.compiler.compile import compile_workflow
from joinery.compiler.fees import TOOL_RESULT_TOKENS, Fees
from joinery.compiler.times import LEAST, MOST, USUAL
from joinery.llm.prices import known_prices
from joinery.llm.types import CallContext, Chunk, Finished, ModelRequest, Usage
from joinery.llm.window import estimate_prompt
from joinery.model_errors import PermanentModelAuth
from joinery.nodes import agent as agents
from joinery.runs.control import resume, unlock
from joinery.runs.deps import LEASE_S, Deps
from joinery.runs.inline_children import InlineChildRuns
from joinery.runs.interpreter import run_inline
from joinery.runs.memory_store import MemoryStore
from joinery.runs.model import RunRecord
from joinery.runs.start import create_run
from joinery.runs.task import run_task
from joinery.workflow.children import child_of_tool
from joinery.workflow.model import Workflow

PRICE = {"input": 1.0, "output": 10.0}
MODEL = {"provider": "script", "name": "script-1", "max_tokens": 50, "price": PRICE}
EACH_USD = (10 * 1.0 + 5 * 10.0) / 1e6
"""What the scripted model uses in each call: 10 tokens and 5."""

THREE = [[call("look", {"x": 1}, "c1")], [call("look", {"x": 2}, "c2")], "done"]


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> FunctionTool:
    made = FunctionTool(lambda use: "found")
    monkeypatch.setattr(agents, "open_tools", lambda entries, context: {made.name: made})
    return made


def asking(**fields: Any) -> Workflow:
    flow = agent_workflow({"look": python_tool("look")}, model=MODEL, max_rounds=8)
    data = flow.model_dump(exclude_none=True, exclude_defaults=True, by_alias=True)
    return Workflow.model_validate({**data, "version": 1, **fields})


def begin(plans: Any, model: Any) -> Ended:
    store, listener = MemoryStore(), Listener()
    children = InlineChildRuns(plans, sleep=lambda _: None)
    deps = Deps(store, listener, model, background=False, children=children)
    run, _ = create_run(deps, plans["wf/1"], owner="me", workflow_id="wf", version=1, given={})
    return Ended(deps, store, run, listener)


def go(ended: Ended, plans: Any) -> None:
    run = ended.store.get_run(ended.run.run_id)
    run_inline(ended.deps, plans["wf/1"], run, sleep=lambda _: None)
    ended.run = ended.store.get_run(ended.run.run_id)


def launch(run: RunRecord) -> str:
    return "arn"


# -- rounds ------------------------------------------------------------------------------


def test_what_an_attempt_that_died_has_used_is_priced_once(
    tool: FunctionTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, model, store = compile_workflow(asking(), opt=0).plan, Caller(THREE), MemoryStore()
    put, noted = store.put_journal, []

    class Killed(BaseException):
        """The worker is gone."""

    def dying(run_id: str, key: Any, entry_id: str, value: Any, attempt: int) -> None:
        put(run_id, key, entry_id, value, attempt)
        noted.append(value)
        if len(noted) == 3:  # the second answer is noted, its call is not made
            raise Killed

    monkeypatch.setattr(store, "put_journal", dying)
    run, _ = create_run(
        Deps(store, Listener(), model, background=False),
        plan, owner="me", workflow_id="wf", version=1, given={},
    )  # fmt: skip
    for later in (0.0, LEASE_S + 5):
        now = time.time() + later
        deps = Deps(store, Listener(), model, background=False, clock=lambda now=now: now)
        try:
            run_task(deps, plan, run, "a", "", deadline=time.monotonic() + INVOCATION_S)
        except Killed:
            assert later == 0.0
    [record] = [r for r in store.nodes(run.run_id) if r.node_id == "a"]
    assert (record.status, record.attempt, len(model.requests)) == ("completed", 2, 3)
    [row] = record.usage["models"]
    assert (row["provider"], row["model"], row["model_calls"]) == ("script", "script-1", 3)
    assert (row["input_tokens"], row["output_tokens"]) == (30, 15)
    assert row["usd"] == pytest.approx(3 * EACH_USD, abs=1e-12)
    assert noted[0]["usage"]["price"] == PRICE


def test_a_budget_stops_an_agent_between_rounds_and_none_is_asked_again(
    tool: FunctionTool,
) -> None:
    flow = asking(budget={"tokens": 150})
    plans, model = plans_of(flow), Caller(THREE)
    ended = begin(plans, model)
    go(ended, plans)
    begun = len(model.requests)
    assert (ended.status, (ended.run.error or {})["code"]) == ("suspended", "budget_exceeded")
    assert 1 <= begun < 3
    resume(ended.deps, ended.run, launch, budget={"tokens": 5_000})
    go(ended, plans)
    assert (ended.status, len(model.requests), len(tool.uses)) == ("completed", 3, 2)
    ledger = ended.store.ledgers.get(ended.run.run_id, 2)
    assert ledger is not None
    assert ledger.spent.tokens == 45
    assert ended.run.usage["usd"] == pytest.approx(3 * EACH_USD, abs=1e-12)


def test_rounds_that_call_tools_may_say_the_same(tool: FunctionTool) -> None:
    rounds = [("Let me look.", [call("look", {"x": n}, f"c{n}")]) for n in range(6)]
    plans, model = plans_of(asking()), Caller([*rounds, "It is there."])
    ended = begin(plans, model)
    go(ended, plans)
    assert (ended.status, len(model.requests)) == ("completed", 7)


# -- estimates ---------------------------------------------------------------------------


def test_an_agent_counts_with_all_its_rounds_and_what_grows_in_its_prompts() -> None:
    plan = build_plan(asking())
    fees, node = Fees(plan, known_prices()), plan.by_id["a"]
    least, usual, most = (fees.of(node, case) for case in (LEAST, USUAL, MOST))
    assert least and usual and most
    assert (least.calls, usual.calls, most.calls) == (1, 3, 8)
    grown = 50 + TOOL_RESULT_TOKENS
    assert usual.input_tokens == 3 * least.input_tokens + 3 * grown
    assert most.input_tokens == 8 * least.input_tokens + 28 * grown
    assert usual.usd == pytest.approx((usual.input_tokens + 10 * 3 * 50) / 1e6)
    ended = begin({"wf/1": plan}, Caller(["done"]))
    estimate = ended.store.extra(ended.run.run_id)["estimate"]
    assert (estimate["model_calls"], estimate["input_tokens"]) == (3, usual.input_tokens)
    assert estimate["bound_tokens"] == most.bound_tokens
    report = compile_workflow(asking()).report
    assert (report.input_tokens.min, report.input_tokens.max) == (
        least.input_tokens, most.input_tokens,
    )  # fmt: skip


class Counting(Caller):
    """Uses as many tokens as its prompts have, about."""

    def stream(self, request: ModelRequest, context: CallContext) -> Iterator[Chunk]:
        for chunk in super().stream(request, context):
            used = Usage(estimate_prompt(request.messages), 50)
            yield replace(chunk, usage=used) if isinstance(chunk, Finished) else chunk


def test_all_rounds_of_an_agent_are_no_surge(tool: FunctionTool) -> None:
    tool.function = lambda use: "word " * 400
    rounds = [[call("look", {"x": n}, f"c{n}")] for n in range(7)]
    plans, model = plans_of(asking(breaker={"token_surge": 1})), Counting([*rounds, "done"])
    ended = begin(plans, model)
    go(ended, plans)
    assert (ended.status, len(model.requests)) == ("completed", 8)
    used = ended.run.usage["input_tokens"] + ended.run.usage["output_tokens"]
    estimate = ended.store.extra(ended.run.run_id)["estimate"]
    assert estimate["bound_tokens"] > used > 3 * (estimate["input_tokens"] + 150) / 2


def test_a_run_is_reckoned_with_the_models_of_its_stage() -> None:
    flow = workflow(
        ["start -> a -> end"],
        {"a": {"type": "llm", "prompt": "Well?", "model": {"use": "fast", "max_tokens": 100}}},
        models={
            "fast": {
                "stages": {
                    "prod": {"provider": "nobody", "name": "m", "price": PRICE},
                    "default": {"provider": "local", "name": "smollm2"},
                }
            }
        },
    )
    plan = build_plan(flow)
    found = {}
    for stage in (None, "dev", "prod"):
        deps = Deps(MemoryStore(), Listener(), Caller([]), background=False, stage=stage)
        run, _ = create_run(deps, plan, owner="me", workflow_id="wf", version=1, given={})
        found[stage] = deps.store.extra(run.run_id)["estimate"]
    assert (found[None]["usd"], found["dev"]["usd"]) == (0.0, 0.0)
    tokens = found["prod"]["input_tokens"]
    assert found["prod"]["usd"] == pytest.approx((tokens + 100 * 10) / 1e6)
    assert "unpriced" not in found["prod"]


# -- workflows as tools ------------------------------------------------------------------

ASK = {"type": "llm", "prompt": "Well?", "model": {**MODEL, "max_tokens": 200}}
"""A call may use 214 tokens: 14 of the prompt, and 200."""

BELOW = workflow(
    ["start -> first -> second -> end"],
    {"first": ASK, "second": ASK},
    name="below",
    outputs={"said": "{{ nodes.second.text }}"},
)


def above(**fields: Any) -> Any:
    flow = Workflow.model_validate(
        {
            "version": 1,
            "name": "above",
            "agents": {
                "one": {"persona": "You ask.", "tools": ["below"], "max_rounds": 4, "model": MODEL}
            },
            "tools": {"below": {"kind": "workflow", "workflow": "below", "description": "Asks."}},
            "nodes": {"a": {"type": "agent", "agent": "one", "prompt": "Ask."}},
            "edges": ["start -> a -> end"],
            "outputs": {"text": "{{ nodes.a.text }}"},
            **fields,
        }
    )
    return plans_of(flow, **{child_of_tool("below"): known(BELOW)})


def child_of(ended: Ended) -> RunRecord:
    [found] = [held.record for held in ended.store._runs.values() if held.record.parent]
    return found


def test_a_tool_s_run_takes_from_the_budget_and_goes_on_with_the_run_around_it() -> None:
    steps = [[call("below", {}, "c1")], "one", "two", "done"]
    # The first call below fits beside what the agent has used, the second one does not.
    plans, model = above(budget={"tokens": 214 + 2 * 15 - 1}), Caller(steps)
    ended = begin(plans, model)
    go(ended, plans)
    assert (ended.status, (ended.run.error or {})["code"]) == ("suspended", "budget_exceeded")
    child = child_of(ended)
    assert (child.status, (child.error or {})["code"]) == ("suspended", "suspended_around")
    assert ended.store.ledgers.get(child.run_id, 1) is None
    assert len(model.requests) == 2
    resume(ended.deps, ended.run, launch, budget={"tokens": 5_000})
    go(ended, plans)
    assert ended.status == "completed", ended.run.error
    child = child_of(ended)
    assert (child.status, child.incarnation, len(model.requests)) == ("completed", 2, 4)
    assert (child.usage["model_calls"], ended.run.usage["model_calls"]) == (2, 4)
    assert ended.run.usage["usd"] == pytest.approx(4 * EACH_USD, abs=1e-12)
    ledger = ended.store.ledgers.get(ended.run.run_id, 2)
    assert ledger is not None
    assert ledger.spent.tokens == 4 * 15


def test_what_a_tool_s_run_used_is_counted_once_though_the_worker_dies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Killed(BaseException):
        """The worker is gone."""

    steps = [[call("below", {}, "c1")], "one", "two", "done"]
    for kill_at in (1, 2, 3):
        plans, model = above(), Caller(steps)
        ended = begin(plans, model)
        put, noted = ended.store.put_journal, []

        def dying(*given: Any, put: Any = put, noted: Any = noted, at: int = kill_at) -> None:
            put(*given)
            noted.append(given[2])
            if len(noted) == at:
                raise Killed

        monkeypatch.setattr(ended.store, "put_journal", dying)
        for later in (0.0, LEASE_S + 5):
            now = time.time() + later
            deps = replace(ended.deps, clock=lambda now=now: now)
            run = ended.store.get_run(ended.run.run_id)
            try:
                run_task(
                    deps, plans["wf/1"], run, "a", "", deadline=time.monotonic() + INVOCATION_S
                )
            except Killed:
                assert later == 0.0
        [record] = ended.store.nodes(ended.run.run_id)
        assert (record.status, record.attempt, len(model.requests)) == ("completed", 2, 4)
        assert (record.usage["model_calls"], record.usage["input_tokens"]) == (4, 40)
        assert record.usage["usd"] == pytest.approx(4 * EACH_USD, abs=1e-12)
        assert model.numbers[0] == 1
        assert model.numbers[-1] == 2


def test_a_tool_s_run_trips_the_breaker_of_the_run_around_it() -> None:
    steps = [[call("below", {}, "c1")], "one", "two", "done"]
    plans, model = above(breaker={"wall_time": "1h", "velocity": 0.1}), Caller(steps)
    ended = begin(plans, model)
    go(ended, plans)
    assert ended.status == "suspended"
    while ended.status == "suspended":
        assert (ended.run.error or {})["code"] == "breaker_tripped"
        unlock(ended.deps, ended.run, launch, because="it is quick")
        go(ended, plans)
    assert (ended.status, len(model.requests)) == ("completed", 4)
    assert child_of(ended).status == "completed"


# -- models that stand in ------------------------------------------------------------------


class TwoModels:
    """One that takes no key, and one that answers."""

    def __init__(self) -> None:
        self.up = Caller(["yes"], name="up")

    def resolve(self, ref: Mapping[str, Any]) -> tuple[Any, str]:
        return (self.up if ref["provider"] == "up" else Shut()), str(ref["name"])


class Shut(Caller):
    """Refuses each call."""

    def __init__(self) -> None:
        super().__init__([], name="shut")

    def stream(self, request: ModelRequest, context: CallContext) -> Iterator[Chunk]:
        raise PermanentModelAuth("no such key")


def test_each_model_that_stands_in_is_a_call_of_its_own_at_its_own_price() -> None:
    dear = {"input": 1_000.0, "output": 1_000.0}
    other = {"provider": "up", "name": "m", "price": PRICE}
    first = {"provider": "shut", "name": "m", "max_tokens": 50, "price": dear, "fallback": [other]}
    flow = workflow(
        ["start -> a -> end"],
        {"a": {"type": "llm", "prompt": "Well?", "model": first}},
        budget={"usd": 1.0},
    )
    plans, model = plans_of(flow), TwoModels()
    ended = begin(plans, model)
    go(ended, plans)
    assert ended.status == "completed", ended.run.error
    rows = {row["provider"]: row for row in ended.run.usage["models"]}
    assert {name: row["model_calls"] for name, row in rows.items()} == {"shut": 1, "up": 1}
    assert (rows["shut"]["usd"], rows["shut"]["input_tokens"]) == (0.0, 0)
    assert rows["up"]["usd"] == pytest.approx(EACH_USD, abs=1e-12)
    ledger = ended.store.ledgers.get(ended.run.run_id, 1)
    assert ledger is not None
    assert (ledger.spent.tokens, ledger.held.tokens) == (15, 0)
