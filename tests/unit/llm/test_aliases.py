"""Names of models: by stage, with settings of the place, and with fallbacks that are resolved."""

from __future__ import annotations

import json
from typing import Any

import pytest

from joinery.compiler.build import build_plan
from joinery.compiler.plan import Plan
from joinery.llm.aliases import resolve_layers
from joinery.llm.registry import ModelSettings, Registry
from joinery.workflow import WorkflowBuilder
from joinery.workflow.source import load
from joinery.workflow.validation import validate

MODELS = """
models:
  fast:
    temperature: 0.2
    stages:
      prod: {provider: openai, name: gpt-4.1-mini, fallback: [spare, {provider: gemini, name: g}]}
      default: {provider: local, name: smollm2}
  spare: {provider: anthropic, name: claude-haiku-4-5, fallback: [fast, last]}
  last: {provider: ollama, name: qwen3}
  only: {stages: {prod: last}}
"""


def plan_of(nodes: str, models: str = MODELS, more: str = "") -> Plan:
    text = f"version: 1\nname: x\n{models}\n{more}\nnodes:\n{nodes}\nedges: [start -> a -> end]\n"
    report = validate(load(text))
    assert report.workflow, report.problems
    # As it is stored with a version.
    return Plan.from_dict(json.loads(json.dumps(build_plan(report.workflow).to_dict())))


def model_of(nodes: str, stage: str, **more: str) -> Any:
    return plan_of(nodes, **more).for_stage(stage).by_id["a"].spec["model"]


def node(model: str) -> str:
    return f"  a: {{type: llm, prompt: hi, model: {model}}}"


def test_a_name_stands_for_the_model_of_the_stage() -> None:
    assert model_of(node("fast"), "dev") == {
        "provider": "local", "name": "smollm2", "temperature": 0.2,
    }  # fmt: skip
    found = model_of(node("{use: fast, temperature: 0.7, max_tokens: 9}"), "prod")
    fallback = found.pop("fallback")
    sampling = {"temperature": 0.7, "max_tokens": 9}
    assert found == {"provider": "openai", "name": "gpt-4.1-mini", **sampling}
    # A fallback's own ones come after it, and nobody is asked twice.
    assert fallback == [
        {"provider": "anthropic", "name": "claude-haiku-4-5", **sampling},
        {"provider": "ollama", "name": "qwen3", **sampling},
        {"provider": "gemini", "name": "g", **sampling},
    ]


def test_nearer_settings_win_and_a_name_brings_its_own_model() -> None:
    agents = "defaults: {model: last}\nagents: {x: {persona: p, model: {use: fast, seed: 3}}}"
    asks = "  a: {type: agent, agent: x, prompt: hi, model: {temperature: 0.9}}"
    assert model_of(asks, "dev", more=agents) == {
        "provider": "local", "name": "smollm2", "temperature": 0.9, "seed": 3,
    }  # fmt: skip
    elsewhere = node("{provider: openai, name: gpt-4o}")
    assert model_of(elsewhere, "dev", more="defaults: {model: fast}") == {
        "provider": "openai", "name": "gpt-4o", "temperature": 0.2,
    }  # fmt: skip


def test_a_price_goes_with_its_model_and_with_no_other() -> None:
    price = {"input": 1.0, "output": 2.0}
    aliases = {"ours": {"provider": "vllm", "name": "m", "price": price}}
    far = {"provider": "openai", "name": "a", "price": {"input": 9.0, "output": 9.0}}

    def price_of(*layers: Any) -> Any:
        return resolve_layers(layers, aliases, "prod").get("price")

    assert price_of("ours", {"temperature": 0.5}) == price
    assert price_of("ours", {"name": "other"}) is None
    assert price_of(far, "ours") == price
    assert price_of("ours", {"provider": "openai", "name": "a"}) is None
    assert price_of(far, {"name": "a", "top_p": 0.9}) == far["price"]
    assert price_of(far, {"name": "b", "price": price}) == price
    fallback = resolve_layers([{**far, "fallback": ["ours", "ours"]}], aliases, "prod")
    assert [ref["price"] for ref in fallback["fallback"]] == [price]
    chain = resolve_layers([{**far, "fallback": [{"name": "c"}]}], aliases, "prod")
    assert "price" not in chain["fallback"][0]


def test_a_stage_without_an_entry_fails_where_the_node_asks() -> None:
    found = model_of(node("only"), "dev")
    assert "no entry for the stage 'dev'" in found["missing"]
    assert model_of(node("only"), "prod") == {"provider": "ollama", "name": "qwen3"}


def test_fallbacks_need_no_names() -> None:
    ref = "{provider: vllm, name: m, fallback: [{provider: ollama, name: m}]}"
    plan = plan_of(node(ref), models="")
    assert plan.by_id["a"].spec["model"]["fallback"] == [{"provider": "ollama", "name": "m"}]
    assert plan.for_stage("dev") is plan
    assert "models" not in plan.to_dict()


def test_every_ref_of_a_chain_can_be_resolved_on_its_own() -> None:
    registry = Registry(ModelSettings(base_url="http://127.0.0.1:1/v1"))
    found = model_of(node("fast"), "prod")
    named = [registry.resolve(ref) for ref in (found, *found["fallback"])]
    assert [(p.name, n) for p, n in named][:2] == [
        ("openai", "gpt-4.1-mini"), ("anthropic", "claude-haiku-4-5"),
    ]  # fmt: skip


def test_a_plan_from_before_names_is_read() -> None:
    data = plan_of(node("{provider: vllm, name: m}"), models="").to_dict()
    data.pop("models", None)
    assert Plan.from_dict(data).for_stage("x").by_id["a"].spec["model"]["name"] == "m"


@pytest.mark.parametrize(
    ("models", "model", "code", "place"),
    [
        (MODELS, "fasst", "reference.unknown_model", "/nodes/a/model"),
        (MODELS, "{use: fasst}", "reference.unknown_model", "/nodes/a/model/use"),
        (MODELS, "{name: x, fallback: [nope]}", "reference.unknown_model",
         "/nodes/a/model/fallback/0"),
        ("models: {one: {stages: {dev: two}}}", "one", "reference.unknown_model",
         "/models/one/stages/dev"),
        ("models: {one: {use: two}, two: {stages: {dev: one}}}", "one", "model.circle",
         "/models/one"),
        ("", "{provider: x, api_key: sk-1}", "schema.unknown_key", "/nodes/a/model/api_key"),
        ("", "{reasoning: much}", "schema.value", "/nodes/a/model/reasoning"),
        ("", "3", "schema.type", "/nodes/a/model"),
        ("models: {one: {stages: {dev: 3}}}", "one", "schema.type", "/models/one/stages/dev"),
        ("models: {one: {fallback: [{namee: x}]}}", "one", "schema.unknown_key",
         "/models/one/fallback/0/namee"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(
    models: str, model: str, code: str, place: str
) -> None:
    nodes = f"nodes:\n{node(model)}\nedges: [start -> a -> end]\n"
    report = validate(load(f"version: 1\nname: x\n{models}\n{nodes}"))
    assert (code, place) in [(p.code, p.pointer) for p in report.problems], report.problems
    assert "sk-1" not in str(report.problems)


def test_the_builder_names_models_too() -> None:
    flow = WorkflowBuilder("x")
    fast = flow.model("fast", provider="openai", model="gpt-4o", stages={"dev": {"name": "mini"}})
    asks = flow.node.llm("a", prompt="hi", use=fast, reasoning="low")
    flow.edge(flow.start, asks)
    flow.edge(asks, flow.end)
    workflow = flow.build()
    assert workflow.models["fast"].name == "gpt-4o"
    spec = build_plan(workflow).for_stage("dev").by_id["a"].spec["model"]
    assert spec == {"provider": "openai", "name": "mini", "reasoning": "low"}


def test_an_alias_that_leads_to_itself_ends() -> None:
    circle = {"one": {"use": "two"}, "two": {"use": "one"}}
    assert "leads back" in resolve_layers(["one"], circle, "dev")["missing"]
