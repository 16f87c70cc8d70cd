"""Ledgers as items: what the budget of a run holds, one conditional write a change.

    RUN#<run_id> / MONEY     limit_t limit_p left_t left_p holds warned stopped u<i> w<i>_<n>
    SESSION#<owner>#<id> / USAGE    a counter for each figure, by model

`u<i>` are the tokens that the breaker has counted in incarnation i, `w<i>_<n>` those of
answers in its n-th window of time: a new incarnation begins at nothing without a write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from joinery.aws.errors import ConditionFailed
from joinery.aws.items import (
    Attribute,
    Item,
    boolean,
    get_bool,
    get_int,
    key,
    number,
    run_pk,
)
from joinery.aws.table import Table, values
from joinery.errors import TransientStore
from joinery.llm.prices import dollars, picodollars
from joinery.runs.ledger import Amount, Count, Hold, Ledger, LedgerRefused, Limit, window_names
from joinery.runs.usage import total

MONEY: Final = "MONEY"
USAGE: Final = "USAGE"

LIMIT_TRIES: Final = 5

_WINDOW: Final = re.compile(r"w(\d+)_(\d+)")
_ENOUGH: Final = (
    "(attribute_not_exists(limit_t) OR left_t >= :needs_t)"
    " AND (attribute_not_exists(limit_p) OR left_p >= :needs_p)"
)
_GOES_ON: Final = "attribute_exists(holds) AND (attribute_not_exists(stopped) OR stopped < :now)"
_COUNTED: Final = (
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "model_calls",
)


class LedgerTable:
    """Implements `Ledgers`.

    Args:
        table: The state table.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    # -- budgets -----------------------------------------------------------------------

    def open(self, run_id: str, limit: Limit) -> None:
        """See `Ledgers.open`."""
        given: dict[str, Attribute] = {
            "holds": {"M": {}},
            "left_t": number(limit.tokens or 0),
            "left_p": number(limit.pico or 0),
        }
        if limit.tokens is not None:
            given["limit_t"] = number(limit.tokens)
        if limit.pico is not None:
            given["limit_p"] = number(limit.pico)
        try:
            self._table.update(
                _key(run_id),
                UpdateExpression=f"SET {', '.join(f'{name} = :{name}' for name in given)}",
                ConditionExpression="attribute_not_exists(holds)",
                ExpressionAttributeValues=values(**given),
            )
        except ConditionFailed:
            return

    def get(self, run_id: str, incarnation: int) -> Ledger | None:
        """See `Ledgers.get`."""
        item = self._table.get(_key(run_id))
        return ledger_of(item, incarnation) if item and "holds" in item else None

    def reserve(
        self, run_id: str, incarnation: int, key: str, hold: Hold, *, was: Hold | None = None
    ) -> Ledger:
        """See `Ledgers.reserve`."""
        wanted = hold.amount - (was.amount if was else Amount())
        given = {
            "hold": _hold(hold), "now": number(incarnation),
            "needs_t": number(wanted.tokens), "needs_p": number(wanted.pico),
            "less_t": number(-wanted.tokens), "less_p": number(-wanted.pico),
        }  # fmt: skip
        mine = "attribute_not_exists(holds.#k)"
        if was is not None:
            mine, given["was"] = "holds.#k = :was", _hold(was)
        try:
            item = self._table.update(
                _key(run_id),
                UpdateExpression="SET holds.#k = :hold ADD left_t :less_t, left_p :less_p",
                ConditionExpression=f"{_GOES_ON} AND {mine} AND {_ENOUGH}",
                ExpressionAttributeNames={"#k": key},
                ExpressionAttributeValues=values(**given),
                ReturnValues="ALL_NEW",
            )
        except ConditionFailed as failed:
            found = failed.item
            held = ledger_of(found, incarnation) if found and "holds" in found else None
            if held is not None and held.holds.get(key) == hold:
                return held  # the SDK sent it twice
            raise LedgerRefused(held) from None
        return ledger_of(item, incarnation)

    def settle(
        self,
        run_id: str,
        incarnation: int,
        key: str,
        hold: Hold,
        *,
        used: Amount,
        count: Count | None,
    ) -> Ledger | None:
        """See `Ledgers.settle`."""
        back = hold.amount - used
        try:
            return self._charge(
                run_id, incarnation, back, count,
                remove=["holds.#k"], condition="holds.#k = :hold",
                names={"#k": key}, given={"hold": _hold(hold)},
            )  # fmt: skip
        except ConditionFailed as failed:
            now = ledger_of(failed.item, incarnation) if failed.item else None
            if now is None or key not in now.holds:
                return None
        return self._charge(
            run_id, incarnation, Amount() - used, count, condition="attribute_exists(pk)"
        )

    def _charge(
        self,
        run_id: str,
        incarnation: int,
        back: Amount,
        count: Count | None,
        *,
        condition: str,
        remove: list[str] | None = None,
        names: Mapping[str, str] | None = None,
        given: Mapping[str, Attribute] | None = None,
    ) -> Ledger:
        adds, drops, more = _counting(incarnation, count)
        adds = ["left_t :back_t", "left_p :back_p", *adds]
        drops = [*(remove or ()), *drops]
        named = {"ExpressionAttributeNames": dict(names)} if names else {}
        item = self._table.update(
            _key(run_id),
            UpdateExpression=f"ADD {', '.join(adds)}"
            + (f" REMOVE {', '.join(drops)}" if drops else ""),
            ConditionExpression=condition,
            ExpressionAttributeValues={
                **values(back_t=number(back.tokens), back_p=number(back.pico), **(given or {})),
                **more,
            },
            ReturnValues="ALL_NEW",
            **named,
        )
        return ledger_of(item, incarnation)

    def forget(self, run_id: str, incarnation: int, key: str, hold: Hold) -> None:
        """See `Ledgers.forget`."""
        try:
            self._charge(
                run_id, incarnation, hold.amount, None,
                remove=["holds.#k"], condition="holds.#k = :hold",
                names={"#k": key}, given={"hold": _hold(hold)},
            )  # fmt: skip
        except ConditionFailed:
            return

    def mark_warned(self, run_id: str) -> bool:
        """See `Ledgers.mark_warned`."""
        try:
            self._table.update(
                _key(run_id),
                UpdateExpression="SET warned = :yes",
                ConditionExpression="attribute_exists(pk) AND attribute_not_exists(warned)",
                ExpressionAttributeValues=values(yes=boolean(True)),
            )
        except ConditionFailed:
            return False
        return True

    def set_limit(self, run_id: str, incarnation: int, limit: Limit) -> Ledger:
        """See `Ledgers.set_limit`."""
        wanted = {"t": limit.tokens, "p": limit.pico}
        changed = {unit: value for unit, value in wanted.items() if value is not None}
        for _ in range(LIMIT_TRIES):
            item = self._table.get(_key(run_id)) or {}
            sets, conditions = [], []
            given: dict[str, Attribute] = {}
            adds = []
            for unit, value in changed.items():
                sets.append(f"limit_{unit} = :new_{unit}")
                adds.append(f"left_{unit} :more_{unit}")
                given[f":new_{unit}"] = number(value)
                given[f":more_{unit}"] = number(value - get_int(item, f"limit_{unit}"))
                if f"limit_{unit}" in item:
                    conditions.append(f"limit_{unit} = :old_{unit}")
                    given[f":old_{unit}"] = item[f"limit_{unit}"]
                else:
                    conditions.append(f"attribute_not_exists(limit_{unit})")
            if "holds" not in item:
                sets.append("holds = :none")
                given[":none"] = {"M": {}}
                conditions.append("attribute_not_exists(holds)")
            try:
                changed_item = self._table.update(
                    _key(run_id),
                    UpdateExpression=f"SET {', '.join(sets)} ADD {', '.join(adds)} REMOVE warned",
                    ConditionExpression=" AND ".join(conditions),
                    ExpressionAttributeValues=given,
                    ReturnValues="ALL_NEW",
                )
            except ConditionFailed:
                continue
            return ledger_of(changed_item, incarnation)
        raise TransientStore("the budget kept being changed")

    # -- sessions ----------------------------------------------------------------------

    def session(self, owner: str, session_id: str) -> dict[str, Any] | None:
        """See `Ledgers.session`."""
        item = self._table.get(_session_key(owner, session_id))
        if item is None:
            return None
        rows: dict[tuple[str, str], dict[str, Any]] = {}
        lost = 0
        for column in item:
            if not column.startswith("["):
                continue
            provider, model, field = json.loads(column)
            value = get_int(item, column)
            if not provider:
                lost = value
                continue
            row = rows.setdefault((provider, model), {"provider": provider, "model": model})
            row[field] = value
        models = [_shown(row) for row in rows.values()]
        return total(
            [{"models": models, "model_calls": lost + sum(r["model_calls"] for r in models)}]
        )


def session_update(owner: str, session_id: str, usage: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the action of a transaction that adds to a session; None for no usage."""
    names: dict[str, str] = {}
    given: dict[str, Attribute] = {}
    adds = []
    for row in (*usage.get("models", ()), _lost(usage)):
        for field, value in _figures(row):
            place = len(names)
            names[f"#c{place}"] = _column(row, field)
            given[f":c{place}"] = number(value)
            adds.append(f"#c{place} :c{place}")
    if not adds:
        return None
    return {
        "Key": _session_key(owner, session_id),
        "UpdateExpression": f"ADD {', '.join(adds)}",
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": given,
    }


def stop_update(run_id: str, incarnation: int) -> dict[str, Any]:
    """Returns the action of a transaction that lets no further call of a run begin."""
    return {
        "Key": _key(run_id),
        "UpdateExpression": "SET stopped = :now",
        "ExpressionAttributeValues": values(now=number(incarnation)),
    }


def ledger_of(item: Mapping[str, Any], incarnation: int) -> Ledger:
    """Returns the ledger that an item holds."""
    windows = {}
    for name in item:
        match = _WINDOW.fullmatch(name)
        if match and int(match[1]) == incarnation:
            windows[int(match[2])] = get_int(item, name)
    return Ledger(
        limit=Limit(
            get_int(item, "limit_t") if "limit_t" in item else None,
            get_int(item, "limit_p") if "limit_p" in item else None,
        ),
        left=Amount(get_int(item, "left_t"), get_int(item, "left_p")),
        holds={name: _hold_of(held["M"]) for name, held in _map(item, "holds").items()},
        warned=get_bool(item, "warned"),
        stopped=get_int(item, "stopped"),
        used=get_int(item, f"u{incarnation}"),
        windows=windows,
    )


def _map(item: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = item[name]["M"] if name in item else {}
    return found


def _key(run_id: str) -> Item:
    return key(run_pk(run_id), MONEY)


def _session_key(owner: str, session_id: str) -> Item:
    # The owner's name stands in JSON: no other pair of names gives the same key.
    return key(f"SESSION#{json.dumps([owner, session_id])}", USAGE)


def _hold(hold: Hold) -> Attribute:
    amount = hold.amount
    return {
        "M": {
            "t": number(amount.tokens), "p": number(amount.pico), "a": number(hold.attempt),
            "c": number(hold.call), "u": number(int(hold.until)),
        }
    }  # fmt: skip


def _hold_of(held: Mapping[str, Any]) -> Hold:
    amount = Amount(get_int(held, "t"), get_int(held, "p"))
    return Hold(amount, get_int(held, "a"), get_int(held, "c"), float(get_int(held, "u")))


def _counting(
    incarnation: int, count: Count | None
) -> tuple[list[str], list[str], dict[str, Attribute]]:
    """Returns what an update adds and removes to count a call, with its values."""
    if count is None:
        return [], [], {}
    now, before = window_names(count.window)
    adds = [f"u{incarnation} :tokens", f"w{incarnation}_{now} :output"]
    drops = [f"w{incarnation}_{before - 1}"]
    return adds, drops, values(tokens=number(count.tokens), output=number(count.output))


def _lost(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the calls that no model answered, as a row."""
    known = sum(int(row["model_calls"]) for row in usage.get("models", ()))
    return {"provider": "", "model": "", "model_calls": int(usage.get("model_calls", 0)) - known}


def _figures(row: Mapping[str, Any]) -> list[tuple[str, int]]:
    figures = {name: int(row.get(name, 0)) for name in _COUNTED}
    if "usd" in row:
        figures["pico"] = picodollars(row["usd"])
    elif row["provider"]:
        figures["unpriced"] = int(row["model_calls"])
    figures["estimated"] = int(bool(row.get("estimated")))
    return [(name, value) for name, value in figures.items() if value]


def _column(row: Mapping[str, Any], field: str) -> str:
    return json.dumps([row["provider"], row["model"], field], ensure_ascii=False)


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    shown = {
        "provider": row["provider"],
        "model": row["model"],
        **{name: row.get(name, 0) for name in ("model_calls", "input_tokens", "output_tokens")},
        "estimated": bool(row.get("estimated")),
    }
    shown |= {name: row[name] for name in ("cached_tokens", "reasoning_tokens") if name in row}
    if not row.get("unpriced"):
        shown["usd"] = dollars(row.get("pico", 0))
    return shown
