"""What a run is held to: its budget, its breaker's rules, and its estimate.

They are settled when a run is made and pinned to it. A child run has those of the
outermost run around it, with which it shares one ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from joinery.compiler.plan import DEPTH_DEFAULT, Plan
from joinery.errors import InvalidRequest
from joinery.llm.prices import dollars, picodollars
from joinery.runs.ledger import Amount, Limit
from joinery.runs.model import RunRecord

WARN_SHARE: Final = 0.8
"""A budget warns when so much of it is used."""

CHECKS: Final = ("content", "cost", "risk")
"""What somebody confirms who unlocks a run without a reason: its content is as expected,
the extra cost is understood, the risk is accepted."""

WINDOW_S: Final = 10.0
"""The velocity is that of so many last seconds."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The breaker's rules; None for one that is switched off.

    Attributes:
        token_surge: So many times the estimate in tokens trips it.
        novelty: A mean novelty of the last 3 answers below this trips it.
        wall_s: So many seconds, without waits for people.
        velocity: So many tokens of answers a second, for each node that may run at once.
        depth: So many rounds of a loop.
    """

    token_surge: float | None = 3.0
    novelty: float | None = 0.1
    wall_s: float | None = 600.0
    velocity: float | None = 1_000.0
    depth: int | None = DEPTH_DEFAULT

    @staticmethod
    def of(said: Mapping[str, Any]) -> Rules | None:
        """Returns the rules of a plan; None where the breaker is off."""
        if said.get("off"):
            return None
        names = {"wall_time": "wall_s"}
        return Rules(
            **{
                names.get(rule, rule): None if most == "off" else most
                for rule, most in said.items()
            }
        )


@dataclass(frozen=True, slots=True)
class Terms:
    """What the calls of a run are held to.

    Attributes:
        ledger: Id of the run whose ledger it is.
        limit: The budget.
        rules: The breaker's rules; None for no breaker.
        estimate: Tokens that the outermost run is expected to use, its answers as long as
            they may be.
        width: How many nodes may run at once.
    """

    ledger: str
    limit: Limit
    rules: Rules | None
    estimate: int
    width: int

    @property
    def needed(self) -> bool:
        """Whether there is anything to hold calls to."""
        return self.limit != Limit() or self.rules is not None


def terms_of(plan: Plan, run: RunRecord, extra: Mapping[str, Any]) -> Terms:
    """Returns what a run is held to, from what it is pinned to."""
    around = extra.get("around")
    if around:
        return Terms(
            around["ledger"],
            limit_of(around["budget"]),
            Rules.of(around["breaker"]),
            around["estimate"],
            around["width"] * plan.width,
        )
    return Terms(
        run.run_id,
        limit_of(extra.get("budget", plan.budget)),
        Rules.of(plan.breaker),
        _tokens(extra),
        plan.width,
    )


def for_child(plan: Plan, run: RunRecord, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a child run of a run is pinned to."""
    around = extra.get("around") or {
        "ledger": run.run_id,
        "budget": dict(extra.get("budget", plan.budget)),
        "breaker": dict(plan.breaker),
        "estimate": _tokens(extra),
        "width": 1,
    }
    kept = {name: value for name, value in extra.items() if name not in OWN}
    return {**kept, "around": {**around, "width": around["width"] * plan.width}}


OWN: Final = ("budget", "estimate", "around")
"""What of `extra` belongs to one run alone."""


def _tokens(extra: Mapping[str, Any]) -> int:
    return int((extra.get("estimate") or {}).get("bound_tokens", 0))


# -- budgets -----------------------------------------------------------------------------


def checked_budget(given: Any) -> dict[str, Any]:
    """Returns a budget that somebody sent: `{tokens?, usd?}`. Raises: InvalidRequest."""
    wrong = "a budget is {tokens?, usd?}: a whole number from 1, and dollars above 0"
    if not isinstance(given, Mapping) or not given or set(given) - {"tokens", "usd"}:
        raise InvalidRequest(wrong)
    tokens, usd = given.get("tokens"), given.get("usd")
    if tokens is not None and (type(tokens) is not int or not 1 <= tokens < 10**15):
        raise InvalidRequest(wrong)
    good = isinstance(usd, int | float) and not isinstance(usd, bool) and 0 < usd < 10**9
    if usd is not None and not good:
        raise InvalidRequest(wrong)
    found = {name: value for name, value in given.items() if value is not None}
    if not found:
        raise InvalidRequest(wrong)
    return found


def limit_of(budget: Mapping[str, Any]) -> Limit:
    """Returns a budget as the ledger keeps it."""
    usd = budget.get("usd")
    return Limit(budget.get("tokens"), None if usd is None else picodollars(usd))


def shown_limit(limit: Limit) -> dict[str, Any]:
    """Returns a budget as people see it: `{tokens?, usd?}`."""
    shown: dict[str, Any] = {}
    if limit.tokens is not None:
        shown["tokens"] = limit.tokens
    if limit.pico is not None:
        shown["usd"] = dollars(limit.pico)
    return shown


def shown_amount(amount: Amount) -> dict[str, Any]:
    """Returns `{tokens, usd}`, not below nothing."""
    return {"tokens": max(0, amount.tokens), "usd": dollars(max(0, amount.pico))}
