"""Buckets and breakers of models, in the catalog table: an item each, gone when not needed."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from joinery.aws.errors import ConditionFailed
from joinery.aws.items import get_float, get_int, get_string, key, number, string
from joinery.aws.table import Table, values
from joinery.errors import TransientStore
from joinery.llm.breaker import BreakerState
from joinery.llm.rates import Cost, LimitReached

_TRIES: Final = 12
_NAME_CHARS: Final = 300
_KEPT_S: Final = 3_600
"""How long an item stays after it means anything."""


class DynamoRates:
    """Implements `Rates`: one conditional update for a call, whoever else is calling.

    A bucket that is busy is moved on by addition, which never meets other writers. Only
    one that was idle is set, under the condition that it still is.
    """

    def __init__(self, client: Any, table: str) -> None:
        self._table = Table(client, table)
        self._seen: dict[str, float] = {}

    def take(self, name: str, cost: Cost, now: float, latest: float) -> float:
        """See `Rates.take`."""
        moment = self._seen.get(name, 0.0)
        for _ in range(_TRIES):
            begins = cost.begins(moment, now)
            try:
                if moment <= now:
                    if begins > latest:
                        raise LimitReached(begins)
                    self._set(name, now, now + cost.step)
                    self._seen[name] = now + cost.step
                    return begins
                moment = self._add(name, cost, now, latest)
                self._seen[name] = moment
                return cost.begins(moment - cost.step, now)
            except ConditionFailed as failed:
                moment = get_float(failed.item or {}, "moment")
                self._seen[name] = moment
                if (begins := cost.begins(moment, now)) > latest:
                    raise LimitReached(begins) from None
        raise TransientStore("too many calls at one limit")

    def block(self, name: str, cost: Cost, until: float) -> None:
        """See `Rates.block`."""
        try:
            self._set(name, until + cost.ahead, until + cost.ahead)
        except ConditionFailed:
            return  # it is blocked for longer already

    def _set(self, name: str, idle_at: float, moment: float) -> None:
        self._table.update(
            _key(name, "RATE"),
            UpdateExpression="SET moment = :moment, #ttl = :ttl",
            ConditionExpression="attribute_not_exists(moment) OR moment <= :idle_at",
            ExpressionAttributeNames={"#ttl": "ttl"},
            ExpressionAttributeValues=values(
                moment=number(moment), idle_at=number(idle_at), ttl=_ttl(moment)
            ),
        )

    def _add(self, name: str, cost: Cost, now: float, latest: float) -> float:
        """Moves a busy bucket on; returns its moment."""
        changed = self._table.update(
            _key(name, "RATE"),
            UpdateExpression="SET moment = moment + :step, #ttl = :ttl",
            ConditionExpression="moment > :now AND moment <= :last",
            ExpressionAttributeNames={"#ttl": "ttl"},
            ExpressionAttributeValues=values(
                step=number(cost.step),
                now=number(now),
                last=number(latest - cost.span + cost.ahead),
                ttl=_ttl(latest + cost.step + cost.ahead),
            ),
            ReturnValues="UPDATED_NEW",
        )
        return get_float(changed, "moment")


class DynamoBreakers:
    """Implements `Breakers`: a closed breaker has no item."""

    def __init__(self, client: Any, table: str) -> None:
        self._table = Table(client, table)

    def read(self, name: str, now: float) -> BreakerState | None:
        """See `Breakers.read`."""
        item = self._table.get(_key(name, "BREAKER"))
        if item is None or now > get_float(item, "ends"):
            return None
        return BreakerState(
            get_string(item, "opened"),
            get_float(item, "until"),
            get_int(item, "times"),
            get_string(item, "probe"),
            get_float(item, "probe_until"),
        )

    def change(
        self, name: str, before: BreakerState | None, after: BreakerState | None, now: float
    ) -> bool:
        """See `Breakers.change`."""
        if before is None and after is None:
            return True
        same: dict[str, Any] = {
            "ConditionExpression": "attribute_not_exists(pk) OR ends < :now",
            "ExpressionAttributeValues": values(now=number(now)),
        }
        if before is not None:
            same = {
                "ConditionExpression": "opened = :opened AND probe = :probe AND ends >= :now",
                "ExpressionAttributeValues": values(
                    opened=string(before.opened), probe=string(before.probe), now=number(now)
                ),
            }
        try:
            if after is None:
                self._table.delete_if(_key(name, "BREAKER"), **same)
            else:
                self._table.put(_item(name, after), **same)
        except ConditionFailed:
            return False
        return True


def _item(name: str, state: BreakerState) -> dict[str, Any]:
    return {
        **_key(name, "BREAKER"),
        "opened": string(state.opened),
        "until": number(state.until),
        "times": number(state.times),
        "probe": string(state.probe),
        "probe_until": number(state.probe_until),
        "ends": number(state.ends),
        "ttl": number(int(state.ends) + 1),
    }


def _key(name: str, kind: str) -> dict[str, Any]:
    if len(name) > _NAME_CHARS:
        name = hashlib.sha256(name.encode()).hexdigest()
    return key(f"LIMIT#{name}", kind)


def _ttl(at: float) -> dict[str, Any]:
    return number(int(at) + _KEPT_S)
