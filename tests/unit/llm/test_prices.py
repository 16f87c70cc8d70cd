"""The table of prices: complete, dated, with sources; what it does not know is not free."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from joinery.llm.prices import FILE, known_prices, parse_table, prices_from, table_problems
from joinery.llm.types import Usage
from joinery.model_errors import PermanentPricesInvalid
from joinery.nodes.base import Meter
from joinery.runs.usage import added, spent, total

TABLE = json.loads(FILE.read_text(encoding="utf-8"))


def test_every_price_has_a_date_and_a_source_and_stands_once() -> None:
    assert table_problems(TABLE) == []
    assert len(TABLE["rows"]) > 40


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"output": None}, "'output' is no price: None"),
        ({"input": -1}, "'input' is no price: -1"),
        ({"input": True}, "'input' is no price: True"),
        ({"cached_input": 99}, "'cached_input' is above 'input'"),
        ({"source": ""}, "'source' is missing"),
        ({"source": "a friend"}, "the source is no address"),
        ({"date": "last week"}, "the date is not YYYY-MM-DD"),
        ({"context_window": 0}, "'context_window' is no number of tokens: 0"),
        ({"model": ""}, "'model' is missing"),
    ],
)
def test_a_hole_in_the_table_is_named_with_its_row(change: dict[str, Any], said: str) -> None:
    table = copy.deepcopy(TABLE)
    table["rows"][1] |= change
    found = table_problems(table)
    assert any(problem.startswith("row 2 (") and said in problem for problem in found), found


def test_a_field_that_is_left_out_and_a_row_that_repeats_are_named() -> None:
    table = copy.deepcopy(TABLE)
    del table["rows"][0]["cached_input"]
    table["rows"].append(table["rows"][3])
    found = table_problems(table)
    assert len(found) == 2
    assert "'cached_input' is missing" in found[0]
    assert found[1].endswith("it stands twice")


@pytest.mark.parametrize(
    ("long", "said"),
    [
        ({"above": 200_000, "input": 2.5}, "'long' is not {above, input, output}"),
        ({"above": 1e5, "input": 1, "output": 1}, "'long' has no whole number"),
        ({"above": 100, "input": 1, "output": None}, "or no prices"),
    ],
)
def test_a_hole_in_the_prices_of_long_prompts_is_named(long: Any, said: str) -> None:
    table = copy.deepcopy(TABLE)
    table["rows"][0]["long"] = long
    (problem,) = table_problems(table)
    assert said in problem


def test_a_table_with_a_hole_prices_nothing_and_says_which() -> None:
    table = copy.deepcopy(TABLE)
    row = table["rows"][7]
    row["output"] = None
    with pytest.raises(PermanentPricesInvalid) as refused:
        parse_table(json.dumps(table))
    assert f"row 8 ({row['provider']}:{row['model']}): 'output' is no price" in str(refused.value)
    assert refused.value.code == "prices_invalid"
    assert parse_table(json.dumps(TABLE)).find("openai", "gpt-4o") is not None


@pytest.mark.parametrize("text", ["{", "[]", '{"rows": {}}', '{"rows": [1], "free_providers": []}'])
def test_a_file_that_is_no_table_is_refused(text: str) -> None:
    with pytest.raises(PermanentPricesInvalid, match=r"prices\.json"):
        parse_table(text)


def test_many_holes_are_counted_and_not_all_recited() -> None:
    table = copy.deepcopy(TABLE)
    for row in table["rows"]:
        del row["input"]
    with pytest.raises(PermanentPricesInvalid, match=r"; and \d+ more$") as refused:
        parse_table(json.dumps(table))
    assert len(refused.value.message) < 1_000


def test_what_nobody_knows_has_no_price_and_what_runs_here_is_free() -> None:
    prices = known_prices()
    assert prices.find("openai", "gpt-99") is None
    assert prices.find("nobody", "m") is None
    for provider in ("local", "ollama", "scripted"):
        found = prices.find(provider, "anything")
        assert found is not None
        assert found.free


def test_a_dated_snapshot_costs_what_its_model_does() -> None:
    prices = known_prices()
    for name in ("gpt-4o-2024-08-06", "gpt-4o-20240806", "gpt-4o-latest"):
        assert prices.find("openai", name) == prices.find("openai", "gpt-4o")
    assert prices.find("openai", "gpt-4o-audio") is None


def test_money_is_counted_without_rounding() -> None:
    price = known_prices().find("openai", "gpt-4o-mini")
    assert price is not None
    # 0.15, 0.075 and 0.6 dollars for a million tokens.
    assert (
        price.pico(Usage(1_000, 10, cached_tokens=400)) == (600 * 150 + 400 * 75 + 10 * 600) * 1000
    )
    assert sum(price.pico(Usage(1, 1)) for _ in range(10**4)) == price.pico(Usage(10**4, 10**4))


def test_a_long_prompt_costs_more_where_the_provider_says_so() -> None:
    price = known_prices().find("gemini", "gemini-2.5-pro")
    assert price is not None
    assert price.pico(Usage(200_000, 0)) == 200_000 * 1_250_000
    assert price.pico(Usage(200_001, 1)) == 200_001 * 2_500_000 + 15_000_000


# -- an installation's own ---------------------------------------------------------------


def test_an_installation_adds_prices_and_changes_them() -> None:
    own = {"openai:gpt-4o": {"input": 1, "output": 2}, "vllm:*": {"input": 0, "output": 0.5}}
    prices = prices_from({"JOINERY_PRICES": json.dumps(own)})
    found = prices.find("openai", "gpt-4o")
    assert found is not None
    assert (found.input, found.output, found.source) == (1.0, 2.0, "JOINERY_PRICES")
    other = prices.find("vllm", "any/thing")
    assert other is not None
    assert other.output == 0.5
    assert prices_from({}) is known_prices()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "it is an object"),
        ('{"gpt": {"input": 1, "output": 1}}', "'gpt' is not provider:model"),
        ('{"a:b": {"input": 1}}', "a:b: 'output' is no price: None"),
        ('{"a:b": {"input": 1, "output": 1, "euro": 1}}', "a:b: there is no 'euro'"),
        ('{"a:b": 5}', "a:b: it is no object"),
        ('{"a:b": {"input": NaN, "output": 1}}', "a:b: 'input' is no price: nan"),
        ('{"a:b": {"input": "0", "output": 1}}', "a:b: 'input' is no price: '0'"),
    ],
)
def test_a_hole_in_them_is_an_error_that_names_it(text: str, said: str) -> None:
    with pytest.raises(PermanentPricesInvalid, match="JOINERY_PRICES") as refused:
        prices_from({"JOINERY_PRICES": text})
    assert said in refused.value.message


# -- usage -------------------------------------------------------------------------------


def test_usage_is_told_apart_by_model_and_priced_call_by_call() -> None:
    meter = Meter(model_calls=5)
    meter.add("openai", "gpt-4o", Usage(1_000, 100))
    meter.add("openai", "gpt-4o", Usage(0, 0, cached_tokens=0))
    meter.add("openai", "gpt-4o", Usage(10, 1), {"input": 0, "output": 1_000_000})
    meter.add("openai", "gpt-99", Usage(7, 3, estimated=True))
    found = spent(meter, known_prices())
    assert found["usd"] == pytest.approx(1_000 * 2.5e-6 + 100 * 10e-6 + 1.0)
    assert (found["model_calls"], found["input_tokens"], found["output_tokens"]) == (5, 1_017, 104)
    assert found["unpriced"] == ["openai:gpt-99"]
    assert found["estimated"] is True
    assert [(row["model"], row["model_calls"], "usd" in row) for row in found["models"]] == [
        ("gpt-4o", 3, True),
        ("gpt-99", 1, False),
    ]
    both = added(found, found)
    assert both["usd"] == pytest.approx(2 * found["usd"])
    assert both["model_calls"] == 10
    assert total([found, {}, found]) == both


def test_usage_that_was_stored_before_models_were_told_apart_still_counts() -> None:
    old = {"input_tokens": 30, "output_tokens": 4, "model_calls": 2, "estimated": False}
    meter = Meter(model_calls=1)
    meter.add("openai", "gpt-4o", Usage(10, 1))
    found = added(old, spent(meter, known_prices()))
    assert (found["input_tokens"], found["output_tokens"], found["model_calls"]) == (40, 5, 3)
    assert added({}, {}) == {}
