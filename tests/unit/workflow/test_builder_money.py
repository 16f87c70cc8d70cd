"""Budgets and the breaker from Python: the same workflow that a file gives."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from joinery.compiler.build import build_plan
from joinery.compiler.plan import Plan
from joinery.workflow import WorkflowBuilder
from joinery.workflow.money import Breaker, Budget


def test_a_budget_and_rules_reach_the_plan() -> None:
    flow = WorkflowBuilder("asks")
    flow.budget(tokens=5_000, usd=0.5)
    flow.breaker(depth=20, wall_time=timedelta(minutes=30), novelty="off")
    ask = flow.node.llm("ask", prompt="Well?", model="m", price={"input": 1, "output": 2})
    flow.edge(flow.start, ask, flow.end)
    plan = build_plan(flow.build())
    assert plan.budget == {"tokens": 5_000, "usd": 0.5}
    assert plan.breaker == {"depth": 20, "wall_time": 1_800.0, "novelty": "off"}
    assert plan.by_id["ask"].spec["model"]["price"] == {"input": 1.0, "output": 2.0}
    again = Plan.from_dict(plan.to_dict())
    assert (again.budget, again.breaker) == (plan.budget, plan.breaker)


def test_a_plan_says_nothing_of_money_where_the_workflow_does_not() -> None:
    flow = WorkflowBuilder("asks")
    flow.edge(flow.start, flow.node.llm("ask", prompt="Well?"), flow.end)
    shown = build_plan(flow.build()).to_dict()
    assert "budget" not in shown
    assert "breaker" not in shown


@pytest.mark.parametrize("said", [{}, {"tokens": 0}, {"usd": -1}, {"tokens": 1.5}, {"eur": 1}])
def test_what_is_no_budget_is_refused(said: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Budget.model_validate(said)


@pytest.mark.parametrize(
    "said", [{"depth": 0}, {"novelty": 2}, {"wall_time": "soon"}, {"velocity": 0}, {"speed": 1}]
)
def test_what_is_no_rule_is_refused(said: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Breaker.model_validate(said)


def test_another_model_has_another_price() -> None:
    flow = WorkflowBuilder("asks")
    flow.defaults(provider="vllm", model="m", price={"input": 1, "output": 2})
    same, other = (
        flow.node.llm("same", prompt="Well?"),
        flow.node.llm("other", prompt="Well?", model="n"),
    )
    flow.edge(flow.start, [same, other], flow.end)
    plan = build_plan(flow.build())
    assert "price" in plan.by_id["same"].spec["model"]
    assert "price" not in plan.by_id["other"].spec["model"]
