"""Child runs share the budget and the breaker of the run around them."""

from __future__ import annotations

from typing import Any

import pytest
from kit.children import known, plans_of
from kit.engines import Ended, Listener
from kit.models import Says
from kit.workflows import workflow

from joinery.errors import Conflict
from joinery.runs.control import resume, unlock
from joinery.runs.deps import Deps
from joinery.runs.inline_children import InlineChildRuns
from joinery.runs.interpreter import run_inline
from joinery.runs.lifecycle import close_ended
from joinery.runs.memory_store import MemoryStore
from joinery.runs.model import RunRecord
from joinery.runs.start import create_run

ASK = {"type": "llm", "prompt": "Well?", "model": {"max_tokens": 50}}
ONE = 64
"""What a call may use: 14 tokens of the prompt, and 50."""

TALK = workflow(
    ["start -> first -> second -> end"],
    {"first": ASK, "second": ASK},
    name="talk",
    outputs={"said": "{{ nodes.second.text }}"},
)


def plans(**fields: Any) -> Any:
    parent = workflow(
        ["start -> a -> b -> c -> end"],
        {"a": ASK, "b": {"type": "workflow", "workflow": "talk"}, "c": ASK},
        outputs={"said": "{{ nodes.b.output.said }}"},
        **fields,
    )
    return plans_of(parent, b=known(TALK))


def begin(found: Any, model: Any) -> Ended:
    store, listener = MemoryStore(), Listener()
    children = InlineChildRuns(found, sleep=lambda _: None)
    deps = Deps(store, listener, model, background=False, children=children)
    run, _ = create_run(deps, found["wf/1"], owner="me", workflow_id="wf", version=1, given={})
    return Ended(deps, store, run, listener)


def go(ended: Ended, found: Any) -> None:
    run_inline(ended.deps, found["wf/1"], ended.store.get_run(ended.run.run_id), sleep=_still)
    ended.run = ended.store.get_run(ended.run.run_id)


def _still(_: float) -> None:
    return


def child_of(ended: Ended) -> RunRecord:
    (found,) = [h.record for h in ended.store._runs.values() if h.record.parent]
    return found


def launching(ended: Ended, found: Any) -> Any:
    def launch(run: RunRecord) -> str:
        if run.parent:
            run_inline(ended.deps, found[run.plan_ref], run, sleep=_still)
        return "arn"

    return launch


def test_a_child_run_takes_from_the_budget_of_the_run_around_it_and_goes_on_with_it() -> None:
    found, model = plans(budget={"tokens": 2 * ONE + 10}), Says(lambda r, c: iter(["w"] * 40))
    ended = begin(found, model)
    go(ended, found)
    # The first node and the child's first one fit, its second one does not.
    assert (ended.status, len(model.calls)) == ("suspended", 2)
    assert (ended.run.error or {})["code"] == "budget_exceeded"
    child = child_of(ended)
    assert (child.status, (child.error or {})["code"]) == ("suspended", "suspended_around")
    assert close_ended(ended.deps, {"name": child.run_id, "status": "FAILED"}) == "suspended"
    with pytest.raises(Conflict, match="run around it"):
        resume(ended.deps, child, launching(ended, found))
    resume(ended.deps, ended.run, launching(ended, found), budget={"tokens": 9 * ONE})
    go(ended, found)
    assert (ended.status, child_of(ended).status) == ("completed", "completed")
    assert len(model.calls) == 4
    assert ended.run.usage["model_calls"] == 4
    ledger = ended.store.ledgers.get(ended.run.run_id, 2)
    assert ledger is not None
    used = ended.run.usage["input_tokens"] + ended.run.usage["output_tokens"]
    assert ledger.spent.tokens == used
    assert ended.store.ledgers.get(child.run_id, 1) is None


def test_a_child_run_trips_the_breaker_of_the_run_around_it() -> None:
    found, model = plans(breaker={"token_surge": 1}), Says(lambda r, c: iter(["w"] * 200))
    ended = begin(found, model)
    go(ended, found)
    assert (ended.status, len(model.calls)) == ("suspended", 2)
    names = [e["event"] for e in ended.store.events(ended.run.run_id, 0, 100)]
    assert names.count("breaker.tripped") == 1
    assert child_of(ended).status == "suspended"
    unlock(ended.deps, ended.run, launching(ended, found), because="the child is long")
    go(ended, found)
    assert (child_of(ended).status, len(model.calls)) == ("completed", 4)


def test_the_estimate_has_what_is_below() -> None:
    found = plans()
    ended = begin(found, Says(lambda r, c: "yes"))
    estimate = ended.store.extra(ended.run.run_id)["estimate"]
    assert (estimate["model_calls"], estimate["output_tokens"]) == (4, 200)
