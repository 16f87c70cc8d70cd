"""What models were used for and what that cost: of an attempt, a node, a run.

The shape everywhere is `{input_tokens, output_tokens, model_calls, estimated, usd,
cached_tokens?, reasoning_tokens?, unpriced?, models?}`; `models` has a row for each
provider and model, and `unpriced` names those whose price nobody knows, which `usd`
leaves out. A price is that of the moment of the call, and stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from joinery.llm.prices import dollars, picodollars

if TYPE_CHECKING:
    from joinery.llm.prices import Prices
    from joinery.nodes.base import Meter
    from joinery.runs.model import NodeRecord

COUNTS: Final = ("input_tokens", "output_tokens", "model_calls")
RARE: Final = ("cached_tokens", "reasoning_tokens")

NOTHING: Final[Mapping[str, Any]] = {
    "input_tokens": 0, "output_tokens": 0, "model_calls": 0, "estimated": False, "usd": 0.0,
}  # fmt: skip


def spent(meter: Meter, prices: Prices) -> dict[str, Any]:
    """Returns the usage of an attempt; empty where it called no model."""
    if not meter.model_calls:
        return {}
    rows = []
    for spend in meter.by_model.values():
        usage = spend.usage
        row: dict[str, Any] = {
            "provider": spend.provider,
            "model": spend.model,
            "model_calls": spend.calls,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "estimated": usage.estimated,
        }
        row |= {name: getattr(usage, name) for name in RARE if getattr(usage, name)}
        priced = all(prices.find(spend.provider, spend.model, own) for own, _ in spend.each)
        if priced:
            found = ((prices.find(spend.provider, spend.model, o), u) for o, u in spend.each)
            row["usd"] = dollars(sum(price.pico(used) for price, used in found if price))
        rows.append(row)
    # Calls that ended before anybody answered belong to no model.
    lost = meter.model_calls - sum(row["model_calls"] for row in rows)
    return _summed(rows, more_calls=max(0, lost))


def used(before: Mapping[str, Any], meter: Meter, prices: Prices) -> dict[str, Any]:
    """Returns the usage of a node after an attempt, with that of the runs its tools began."""
    usage = added(before, spent(meter, prices))
    for below in meter.below:
        usage = added(usage, below)
    return usage


def total(usages: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the sum of usages; that of nothing is all zeros."""
    rows: list[Mapping[str, Any]] = []
    more_calls = 0
    for usage in usages:
        models: Sequence[Mapping[str, Any]] = usage.get("models", ())
        rows.extend(models)
        # What was stored before models were told apart has the sums alone.
        more_calls += int(usage.get("model_calls", 0)) - sum(
            int(row["model_calls"]) for row in models
        )
        if not models and (usage.get("input_tokens") or usage.get("output_tokens")):
            row = {name: usage.get(name, 0) for name in (*COUNTS, "estimated")}
            rows.append({"provider": "", "model": "", **row})
            more_calls -= int(usage.get("model_calls", 0))
    return _summed(rows, more_calls=more_calls)


def added(before: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the sum of two usages; empty where no model was called."""
    if not before.get("model_calls") and not more.get("model_calls"):
        return {}
    return total([before, more])


def beyond(now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a usage has that an earlier one of the same run had not."""
    if not before:
        return dict(now)
    earlier = {(row["provider"], row["model"]): row for row in before.get("models", ())}
    rows = []
    for row in now.get("models", ()):
        was = earlier.get((row["provider"], row["model"]), {})
        more = {**row, **{name: int(row[name]) - int(was.get(name, 0)) for name in COUNTS}}
        more |= {name: int(row[name]) - int(was.get(name, 0)) for name in RARE if name in row}
        if "usd" in row:
            more["usd"] = dollars(picodollars(row["usd"]) - picodollars(was.get("usd", 0.0)))
        if any(more[name] for name in COUNTS):
            rows.append(more)
    lost = int(now.get("model_calls", 0)) - int(before.get("model_calls", 0))
    return _summed(rows, more_calls=max(0, lost - sum(row["model_calls"] for row in rows)))


def total_usage(records: Sequence[NodeRecord]) -> dict[str, Any]:
    """Returns the usage of a run: the sum over its nodes and rounds."""
    return total(record.usage for record in records if record.usage)


def _summed(rows: Iterable[Mapping[str, Any]], *, more_calls: int = 0) -> dict[str, Any]:
    models: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        key = (str(row["provider"]), str(row["model"]))
        models[key] = _both(models[key], row) if key in models else dict(row)
    found = [models[key] for key in sorted(models)]
    summed: dict[str, Any] = dict(NOTHING)
    for name in COUNTS:
        summed[name] = sum(int(row[name]) for row in found)
    summed["model_calls"] += more_calls
    summed["estimated"] = any(bool(row["estimated"]) for row in found)
    summed["usd"] = dollars(sum(picodollars(row.get("usd", 0.0)) for row in found))
    for name in RARE:
        count = sum(int(row.get(name, 0)) for row in found)
        if count:
            summed[name] = count
    named = [row for row in found if row["provider"]]
    unpriced = [f"{row['provider']}:{row['model']}" for row in named if "usd" not in row]
    if unpriced:
        summed["unpriced"] = unpriced
    if named:
        summed["models"] = named
    return summed


def _both(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    both = {**a, **{name: int(a[name]) + int(b[name]) for name in COUNTS}}
    both["estimated"] = bool(a["estimated"]) or bool(b["estimated"])
    for name in RARE:
        if a.get(name) or b.get(name):
            both[name] = int(a.get(name, 0)) + int(b.get(name, 0))
    if "usd" in a and "usd" in b:
        both["usd"] = dollars(picodollars(a["usd"]) + picodollars(b["usd"]))
    else:
        both.pop("usd", None)
    return both
