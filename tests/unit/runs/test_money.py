"""Budgets: shared by all branches, held before each call, and a run that goes on with more."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from kit.engines import Ended, Listener, NoModels
from kit.workflows import workflow

from joinery.compiler.compile import compile_workflow
from joinery.compiler.plan import Plan
from joinery.errors import Conflict, InvalidInput, InvalidRequest
from joinery.llm.types import CallContext, Chunk, Finished, ModelRequest, TextChunk, Usage
from joinery.llm.window import estimate_prompt
from joinery.runs.control import pause, resume
from joinery.runs.deps import Deps
from joinery.runs.fork import fork
from joinery.runs.interpreter import run_inline
from joinery.runs.ledger import Amount
from joinery.runs.memory_store import MemoryStore
from joinery.runs.start import create_run
from joinery.runs.terms import checked_budget

PRICE = {"input": 1.0, "output": 10.0}
MAX_TOKENS = 100


@dataclass
class Exact:
    """A model that uses just what a call of it may use at most."""

    share: float = 1.0
    name: str = "exact"
    gate: threading.Barrier | None = None
    calls: list[str] = field(default_factory=list)

    def resolve(self, ref: Mapping[str, Any]) -> tuple[Exact, str]:
        return self, str(ref.get("name", "m"))

    def context_window(self, model: str) -> int | None:
        return None

    def stream(self, request: ModelRequest, call: CallContext) -> Iterator[Chunk]:
        self.calls.append(f"{call.node_id}@{call.path}")
        if self.gate is not None:
            self.gate.wait(10)
        yield TextChunk(f"{call.path} says {request.messages[-1].content}")
        most = estimate_prompt(request.messages), request.max_tokens or 1_024
        yield Finished(Usage(*(int(tokens * self.share) for tokens in most)))


def asks(prompt: str = "Say it", **model: Any) -> dict[str, Any]:
    said = {"provider": "exact", "name": "m", "max_tokens": MAX_TOKENS, "price": PRICE, **model}
    return {"type": "llm", "prompt": prompt, "model": said}


def wide(**fields: Any) -> Plan:
    """Forty branches that each ask once."""
    return compile_workflow(
        workflow(
            ["start -> each", "each.item -> ask", "each.done -> end"],
            {
                "each": {
                    "type": "iterate", "items": list(range(40)), "max_items": 40, "concurrency": 40,
                },
                "ask": asks(),
            },
            **fields,
        )
    ).plan  # fmt: skip


PROMPT = 14
ONE = PROMPT + MAX_TOKENS
"""What a call of `wide` may use: its prompt, about, and the longest answer."""


def begin(plan: Plan, models: Any = None, **extra: Any) -> Ended:
    store, listener = MemoryStore(), Listener()
    deps = Deps(store, listener, models or NoModels(), background=False)
    run, _ = create_run(
        deps, plan, owner="me", workflow_id="wf", version=1, given={}, session_id="s", extra=extra
    )
    return Ended(deps, store, run, listener)


def go(ended: Ended, plan: Plan) -> Ended:
    run_inline(ended.deps, plan, ended.store.get_run(ended.run.run_id), sleep=lambda _: None)
    ended.run = ended.store.get_run(ended.run.run_id)
    return ended


def told(ended: Ended, name: str) -> list[Any]:
    found = ended.store.events(ended.run.run_id, 0, 1_000)
    return [event["data"] for event in found if event["event"] == name]


def statuses(ended: Ended, node_id: str) -> list[str]:
    return [r.status for r in ended.store.nodes(ended.run.run_id) if r.node_id == node_id]


def launch(run: Any) -> str:
    return "arn"


def watched(ended: Ended) -> list[Amount]:
    """Returns a list that grows with what was committed after each write of the ledger."""
    seen: list[Amount] = []
    ledgers = ended.store.ledgers
    for name in ("reserve", "settle"):
        write = getattr(ledgers, name)

        def noting(*args: Any, write: Any = write, **named: Any) -> Any:
            ledger = write(*args, **named)
            if ledger is not None:
                seen.append(ledger.committed)
            return ledger

        setattr(ledgers, name, noting)
    return seen


# -- forty branches ----------------------------------------------------------------------


def test_forty_branches_on_a_budget_for_ten_make_ten_calls_and_go_on_with_more() -> None:
    assert estimate_prompt_of_wide() == PROMPT
    plan, model = wide(budget={"tokens": 10 * ONE}), Exact()
    ended = begin(plan, model)
    seen = watched(ended)
    go(ended, plan)
    assert ended.status == "suspended"
    assert (ended.run.error or {})["code"] == "budget_exceeded"
    assert len(model.calls) == 10
    assert max(amount.tokens for amount in seen) == 10 * ONE
    # Each of the forty is done, was given back, or has not begun.
    found = statuses(ended, "ask")
    assert found.count("completed") == 10
    assert set(found) <= {"completed", "pending"}
    assert len(told(ended, "budget.exceeded")) == 1
    assert len(told(ended, "budget.warning")) == 1
    ledger = ended.store.ledgers.get(ended.run.run_id, 1)
    assert ledger is not None
    assert (ledger.left, ledger.holds) == (Amount(0, -10 * (PROMPT + 1_000) * 10**6), {})

    run = resume(ended.deps, ended.run, launch, budget={"tokens": 40 * ONE})
    assert (run.status, run.incarnation) == ("running", 2)
    go(ended, plan)
    assert ended.status == "completed"
    assert len(model.calls) == 40
    assert sorted(model.calls) == sorted(set(model.calls))  # nothing was asked for twice
    assert statuses(ended, "ask") == ["completed"] * 40
    assert max(amount.tokens for amount in seen) == 40 * ONE
    assert ended.run.usage["model_calls"] == 40
    assert ended.run.usage["usd"] == pytest.approx(40 * (PROMPT * 1.0 + 100 * 10.0) / 10**6)


def estimate_prompt_of_wide() -> int:
    from joinery.llm.types import Message

    return estimate_prompt([Message("user", "Say it")])


def test_a_budget_in_dollars_is_held_alike() -> None:
    each = (PROMPT * 1.0 + 100 * 10.0) / 10**6
    plan, model = wide(budget={"usd": round(10.5 * each, 9)}), Exact()
    ended = begin(plan, model)
    seen = watched(ended)
    go(ended, plan)
    assert (ended.status, len(model.calls)) == ("suspended", 10)
    assert max(amount.pico for amount in seen) == round(10 * each * 10**12)
    (event,) = told(ended, "budget.exceeded")
    assert event["budget"] == {"usd": round(10.5 * each, 9)}
    assert event["wanted"]["usd"] == pytest.approx(each)


def test_calls_that_need_less_make_room_for_others() -> None:
    """Four estimates fit at once, yet all forty calls fit, as each uses a tenth of its own."""
    plan, model = wide(budget={"tokens": 5 * ONE}), Exact(share=0.1)
    ended = go(begin(plan, model), plan)
    assert (ended.status, len(model.calls)) == ("completed", 40)


def test_without_a_budget_and_without_a_breaker_nothing_is_held() -> None:
    plan = wide(breaker="off")
    ended = go(begin(plan, Exact()), plan)
    assert ended.status == "completed"
    assert ended.store.ledgers.get(ended.run.run_id, 1) is None


# -- what is given -----------------------------------------------------------------------


def chain(**fields: Any) -> Plan:
    return compile_workflow(
        workflow(["start -> a -> b -> c -> end"], {n: asks() for n in "abc"}, **fields)
    ).plan


def test_a_budget_of_the_start_comes_before_the_workflow_s() -> None:
    plan, model = chain(budget={"tokens": 100 * ONE}), Exact()
    ended = go(begin(plan, model, budget={"tokens": 2 * ONE}), plan)
    assert (ended.status, len(model.calls)) == ("suspended", 2)
    assert told(ended, "budget.exceeded")[0]["budget"] == {"tokens": 2 * ONE}
    assert (told(ended, "budget.exceeded")[0]["node_id"], ended.run.error) == (
        "c", {**(ended.run.error or {}), "retryable": True},
    )  # fmt: skip


def test_a_warning_comes_once_at_four_fifths() -> None:
    plan = chain(budget={"tokens": int(2 * ONE / 0.8)})
    ended = go(begin(plan, Exact()), plan)
    assert [data["used"]["tokens"] for data in told(ended, "budget.warning")] == [2 * ONE]
    plan = chain(budget={"tokens": int(3 * ONE / 0.8) + 2})
    ended = go(begin(plan, Exact()), plan)
    assert (ended.status, told(ended, "budget.warning")) == ("completed", [])


def test_a_run_out_of_budget_needs_a_larger_one() -> None:
    plan = chain(budget={"tokens": 2 * ONE})
    ended = go(begin(plan, Exact()), plan)
    with pytest.raises(Conflict, match="larger"):
        resume(ended.deps, ended.run, launch)
    with pytest.raises(InvalidRequest, match="no more than what the run has used"):
        resume(ended.deps, ended.run, launch, budget={"tokens": 2 * ONE})
    assert ended.store.get_run(ended.run.run_id).status == "suspended"
    resume(ended.deps, ended.run, launch, budget={"tokens": 3 * ONE})
    go(ended, plan)
    assert ended.status == "completed"
    assert {r.node_id: r.tries for r in ended.store.nodes(ended.run.run_id)} == {
        "a": 1, "b": 1, "c": 1,
    }  # fmt: skip


def test_a_paused_run_may_be_given_another_budget() -> None:
    plan = chain(budget={"tokens": 2 * ONE, "usd": 9.0})
    ended = begin(plan, Exact())
    pause(ended.deps, ended.run, lambda arn, cause: None)
    run = ended.store.get_run(ended.run.run_id)
    resume(ended.deps, run, launch, budget={"tokens": 3 * ONE})
    go(ended, plan)
    ledger = ended.store.ledgers.get(ended.run.run_id, 2)
    assert ended.status == "completed"
    assert ledger is not None
    assert (ledger.limit.tokens, ledger.limit.pico) == (3 * ONE, 9 * 10**12)


def test_a_fork_has_the_budget_anew() -> None:
    plan = chain(budget={"tokens": 2 * ONE})
    ended = go(begin(plan, Exact()), plan)
    made, _ = fork(ended.deps, plan, ended.run, node_id="c", path=None, inputs={})
    run_inline(ended.deps, plan, made, sleep=lambda _: None)
    assert ended.store.get_run(made.run_id).status == "completed"


def test_dollars_cannot_hold_a_model_without_a_price_but_tokens_can() -> None:
    nodes = {"a": asks(price=None)}
    plan = compile_workflow(workflow(["start -> a -> end"], nodes, budget={"usd": 1.0})).plan
    model = Exact()
    ended = go(begin(plan, model), plan)
    error = ended.run.error or {}
    assert (ended.status, error["code"]) == ("failed", "model_unpriced")
    assert error["details"] == {"model": "exact:m"}
    assert model.calls == []
    plan = compile_workflow(workflow(["start -> a -> end"], nodes, budget={"tokens": 500})).plan
    ended = go(begin(plan, Exact()), plan)
    assert ended.status == "completed"
    assert ended.run.usage["unpriced"] == ["exact:m"]
    assert ended.run.usage["usd"] == 0.0
    assert "usd" not in ended.run.usage["models"][0]


@pytest.mark.parametrize(
    "given",
    [{}, {"tokens": 0}, {"tokens": 1.5}, {"tokens": True}, {"usd": 0}, {"usd": "1"}, {"eur": 1},
     {"tokens": None}, {"usd": float("nan")}, {"usd": float("inf")}, 5, None],
)  # fmt: skip
def test_what_is_no_budget_is_refused(given: Any) -> None:
    with pytest.raises(InvalidRequest):
        checked_budget(given)


def test_a_session_has_what_its_runs_used() -> None:
    plan = chain()
    ended = go(begin(plan, Exact()), plan)
    found = ended.store.ledgers.session("me", "s")
    assert found == ended.run.usage
    assert (found["model_calls"], found["models"][0]["model"]) == (3, "m")


# -- the estimate ------------------------------------------------------------------------


def test_a_run_knows_what_it_was_expected_to_use() -> None:
    store = MemoryStore()
    deps = Deps(store, Listener(), NoModels(), background=False)
    plan = compile_workflow(
        workflow(
            ["start -> a -> b -> l", "l.repeat -> a", "l.done -> end"],
            {
                "a": asks("{{ inputs.text }}"),
                "b": asks("{{ nodes.a.text }}", name="dear", price={"input": 0.0, "output": 100.0}),
                "l": {"type": "loop", "max_rounds": 3},
            },
            inputs={"text": {"type": "string", "required": True}},
        )
    ).plan
    with pytest.raises(InvalidInput):
        create_run(deps, plan, owner="me", workflow_id="wf", version=1, given={})
    run, _ = create_run(
        deps, plan, owner="me", workflow_id="wf", version=1, given={"text": "word " * 400}
    )
    estimate = store.extra(run.run_id)["estimate"]
    # Three rounds; `a` reads 2,000 characters, `b` what `a` says: 100 tokens.
    assert estimate["model_calls"] == 6
    assert estimate["input_tokens"] == 3 * (500 + 12) + 3 * (100 + 12)
    assert estimate["output_tokens"] == 6 * 100
    usd = 3 * (512 * 1.0 + 100 * 10.0) / 10**6 + 3 * 100 * 100.0 / 10**6
    assert estimate["usd"] == pytest.approx(usd)
    assert "unpriced" not in estimate
