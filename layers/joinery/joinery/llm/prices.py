"""What models cost, from `prices.json` beside this file and from what an installation adds.

Money is counted in whole picodollars (10^-12 of a US dollar): prices per million tokens
with up to six digits behind the point are then whole numbers for each token, so sums
over many calls are exact.

This module is imported where nodes run: standard library only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from joinery.llm.types import Usage
from joinery.model_errors import PermanentPricesInvalid

PRICES: Final = "JOINERY_PRICES"
"""Prices of an installation: `{"provider:model": {input, output, cached_input?}}` as JSON."""

PICO: Final = 10**12
"""Picodollars of a dollar."""

FILE: Final = Path(__file__).with_name("prices.json")

MOST_SHOWN: Final = 5
"""So many problems of a table stand in an error's message."""

_TOKENS: Final = 1_000_000
_FIELDS: Final = ("input", "output", "cached_input")
_SNAPSHOT: Final = re.compile(r"(?:-\d{4}-\d\d-\d\d|-\d{8}|-latest)$")


@dataclass(frozen=True, slots=True)
class Long:
    """The prices of a call whose prompt has more than `above` tokens."""

    above: int
    input: float
    output: float


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, in US dollars for a million tokens.

    Attributes:
        input: Tokens of the prompt.
        output: Tokens of the answer, reasoning included.
        cached_input: Tokens of the prompt from the provider's cache; as `input` when None.
        context_window: The model's window in tokens, where it is known.
        date: When the price was read, `YYYY-MM-DD`.
        source: Where it was read.
        long: Other prices for long prompts.
    """

    input: float
    output: float
    cached_input: float | None = None
    context_window: int | None = None
    date: str = ""
    source: str = ""
    long: Long | None = None

    @property
    def free(self) -> bool:
        """Whether nothing is to be paid, however much is used."""
        return not self.input and not self.output

    def pico(self, usage: Usage) -> int:
        """Returns what a call costs, in picodollars."""
        into, out, cached = self.input, self.output, self.cached_input
        if self.long is not None and usage.input_tokens > self.long.above:
            into, out, cached = self.long.input, self.long.output, None
        from_cache = min(usage.cached_tokens, usage.input_tokens) if cached is not None else 0
        return (
            (usage.input_tokens - from_cache) * _each(into)
            + from_cache * _each(cached or 0.0)
            + usage.output_tokens * _each(out)
        )

    @staticmethod
    def of(fields: Mapping[str, Any], source: str = "") -> Price:
        """Returns a price from `{input, output, cached_input?, …}`."""
        long = fields.get("long")
        return Price(
            float(fields["input"]),
            float(fields["output"]),
            None if fields.get("cached_input") is None else float(fields["cached_input"]),
            fields.get("context_window"),
            str(fields.get("date", "")),
            str(fields.get("source", source)),
            None if long is None else Long(**long),
        )


def _each(dollars: float) -> int:
    """Returns the picodollars of one token."""
    return round(dollars * PICO / _TOKENS)


def dollars(pico: int) -> float:
    """Returns picodollars as dollars."""
    return round(pico / PICO, 12)


def picodollars(usd: float) -> int:
    """Returns dollars as picodollars."""
    return round(usd * PICO)


class Prices:
    """Finds prices by provider and model.

    Args:
        rows: Prices by provider and model; the model `*` stands for all others of a provider.
        free_providers: Providers whose models cost nothing.
    """

    def __init__(
        self, rows: Mapping[tuple[str, str], Price], free_providers: frozenset[str] = frozenset()
    ) -> None:
        self._rows, self.free_providers = dict(rows), free_providers

    def find(self, provider: str, model: str, own: Mapping[str, Any] | None = None) -> Price | None:
        """Returns the price of a model; None where nobody knows it.

        A dated snapshot (`gpt-4o-2024-08-06`) costs what its model does.

        Args:
            provider: Who answers.
            model: The name there.
            own: The price that the workflow gives the model itself: `{input, output, …}`.
        """
        if own is not None:
            return Price.of(own, "the workflow")
        for name in (model, _SNAPSHOT.sub("", model), "*"):
            found = self._rows.get((provider, name))
            if found is not None:
                return found
        return Price(0.0, 0.0) if provider in self.free_providers else None

    def rows(self) -> Iterator[tuple[str, str, Price]]:
        """Yields `(provider, model, price)`, sorted."""
        for provider, model in sorted(self._rows):
            yield provider, model, self._rows[provider, model]

    def with_own(self, text: str) -> Prices:
        """Returns the prices with those of an installation, which come first.

        Raises:
            PermanentPricesInvalid: All that is wrong with them.
        """
        if not text.strip():
            return self
        try:
            given = json.loads(text)
        except ValueError as error:
            raise PermanentPricesInvalid(f"{PRICES} is not JSON: {error}") from None
        wrong = own_problems(given)
        if wrong:
            raise _invalid(PRICES, wrong)
        own = {_name(key): Price.of(row, PRICES) for key, row in given.items()}
        return Prices({**self._rows, **own}, self.free_providers)


@cache
def known_prices() -> Prices:
    """Returns the prices of `prices.json`. Raises: PermanentPricesInvalid."""
    return parse_table(FILE.read_text(encoding="utf-8"))


def parse_table(text: str) -> Prices:
    """Returns the prices of a table.

    Raises:
        PermanentPricesInvalid: All that is wrong with it: a price that is missing is not zero.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise PermanentPricesInvalid(f"{FILE.name} is not JSON: {error}") from None
    wrong = table_problems(data)
    if wrong:
        raise _invalid(FILE.name, wrong)
    rows = {(row["provider"], row["model"]): Price.of(row) for row in data["rows"]}
    return Prices(rows, frozenset(data["free_providers"]))


def _invalid(where: str, wrong: list[str]) -> PermanentPricesInvalid:
    more = f"; and {len(wrong) - MOST_SHOWN} more" if len(wrong) > MOST_SHOWN else ""
    return PermanentPricesInvalid(f"{where}: {'; '.join(wrong[:MOST_SHOWN])}{more}", errors=wrong)


def prices_from(environ: Mapping[str, str]) -> Prices:
    """Returns the known prices with those of the environment. Raises: PermanentPricesInvalid."""
    return known_prices().with_own(environ.get(PRICES, ""))


def _name(key: str) -> tuple[str, str]:
    provider, _, model = key.partition(":")
    return provider, model


# -- checks ------------------------------------------------------------------------------


def own_problems(given: Any) -> list[str]:
    """Returns all that is wrong with the prices of an installation."""
    if not isinstance(given, dict):
        return ['it is an object: {"provider:model": {"input": …, "output": …}}']
    found: list[str] = []
    for key, row in given.items():
        if not all(_name(key)):
            found.append(f"'{key}' is not provider:model")
        if not isinstance(row, dict):
            found.append(f"{key}: it is no object")
            continue
        unknown = sorted(set(row) - {*_FIELDS, "context_window", "date", "source"})
        found.extend(f"{key}: there is no '{name}'" for name in unknown)
        found.extend(f"{key}: {text}" for text in _wrong_numbers(row))
    return found


def table_problems(data: Any) -> list[str]:
    """Returns all that is wrong with a price table: holes, negative prices, rows that repeat."""
    rows = data.get("rows") if isinstance(data, dict) else None
    if not isinstance(rows, list) or not isinstance(data.get("free_providers"), list):
        return ["it is an object with the lists 'rows' and 'free_providers'"]
    found: list[str] = []
    seen: set[tuple[str, str]] = set()
    for place, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            found.append(f"row {place}: it is no object")
            continue
        name = f"row {place} ({row.get('provider')}:{row.get('model')})"
        holes = [f for f in ("provider", "model", "date", "source") if not row.get(f)]
        found.extend(f"{name}: '{field}' is missing" for field in holes)
        found.extend(
            f"{name}: '{f}' is missing" for f in (*_FIELDS, "context_window") if f not in row
        )
        found.extend(f"{name}: {text}" for text in _wrong_numbers(row))
        found.extend(f"{name}: {text}" for text in _wrong_long(row.get("long")))
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", str(row.get("date", ""))):
            found.append(f"{name}: the date is not YYYY-MM-DD")
        if not str(row.get("source", "")).startswith("https://"):
            found.append(f"{name}: the source is no address")
        key = (str(row.get("provider")), str(row.get("model")))
        if key in seen:
            found.append(f"{name}: it stands twice")
        seen.add(key)
    return found


def _wrong_numbers(row: Mapping[str, Any]) -> Iterator[str]:
    for field in ("input", "output"):
        if not _is_price(row.get(field)):
            yield f"'{field}' is no price: {row.get(field)!r}"
    cached = row.get("cached_input")
    if cached is not None and not _is_price(cached):
        yield f"'cached_input' is no price: {cached!r}"
    elif cached is not None and _is_price(row.get("input")) and cached > row["input"]:
        yield "'cached_input' is above 'input'"
    window = row.get("context_window")
    if window is not None and (type(window) is not int or window <= 0):
        yield f"'context_window' is no number of tokens: {window!r}"


def _wrong_long(long: Any) -> Iterator[str]:
    if long is None:
        return
    if not isinstance(long, dict) or set(long) != {"above", "input", "output"}:
        yield "'long' is not {above, input, output}"
    elif not (type(long["above"]) is int and all(map(_is_price, (long["input"], long["output"])))):
        yield "'long' has no whole number of tokens or no prices"


def _is_price(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e6
