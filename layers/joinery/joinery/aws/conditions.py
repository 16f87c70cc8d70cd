"""Named fragments of the conditions that guard node records and runs.

Each function returns parameters for a write: the condition with what it names.
"""

from __future__ import annotations

from typing import Any, Final

from joinery.aws.items import Attribute, boolean, number, string
from joinery.runs.model import NODE_TERMINAL, RUN_OPEN

Parameters = dict[str, Any]

NAMES: Final = {"#status": "status"}
"""`status` is a reserved word of DynamoDB."""


def _in(statuses: frozenset[str]) -> str:
    return f"#status IN ({', '.join(f':{status}' for status in sorted(statuses))})"


def _statuses(statuses: frozenset[str]) -> dict[str, Attribute]:
    return {f":{status}": string(status) for status in sorted(statuses)}


ABSENT: Final = "attribute_not_exists(pk)"
PRESENT: Final = "attribute_exists(pk)"
_UNENDED: Final = f"{PRESENT} AND attribute_not_exists(ended)"
NOT_TERMINAL: Final = f"(NOT {_in(NODE_TERMINAL)})"
UNCLAIMED: Final = "claim_until <= :now"
OWN_ATTEMPT: Final = "attempt = :attempt"
RUN_IS_OPEN: Final = _in(RUN_OPEN)
OWN_INCARNATION: Final = "incarnation = :incarnation"


def claimable(now: float) -> Parameters:
    """No record, or one that has not ended and that nobody holds."""
    return {
        "ConditionExpression": f"{ABSENT} OR ({NOT_TERMINAL} AND {UNCLAIMED})",
        "ExpressionAttributeNames": NAMES,
        "ExpressionAttributeValues": {**_statuses(NODE_TERMINAL), ":now": number(now)},
    }


def mine(attempt: int) -> Parameters:
    """The record of this attempt, which has neither ended nor been overtaken."""
    return {
        "ConditionExpression": f"{OWN_ATTEMPT} AND {NOT_TERMINAL}",
        "ExpressionAttributeNames": NAMES,
        "ExpressionAttributeValues": {**_statuses(NODE_TERMINAL), ":attempt": number(attempt)},
    }


def mine_as(attempt: int, status: str) -> Parameters:
    """The record of this attempt, as long as it has this status."""
    return {
        "ConditionExpression": f"{OWN_ATTEMPT} AND #status = :was",
        "ExpressionAttributeNames": NAMES,
        "ExpressionAttributeValues": {":attempt": number(attempt), ":was": string(status)},
    }


def not_issued_after(at: float) -> Parameters:
    """No token, or one that was issued before."""
    return {
        "ConditionExpression": f"{ABSENT} OR issued_at <= :at",
        "ExpressionAttributeValues": {":at": number(at)},
    }


def this_token(token: str) -> Parameters:
    """The token that was used, no later one."""
    return {
        "ConditionExpression": "#token = :token",
        "ExpressionAttributeNames": {"#token": "token"},
        "ExpressionAttributeValues": {":token": string(token)},
    }


def untaken() -> Parameters:
    """A message that nobody has taken."""
    return {"ConditionExpression": f"{PRESENT} AND attribute_not_exists(taken)"}


def has_room(pending_max: int, ever_max: int) -> Parameters:
    """A run whose inbox takes another message."""
    return {
        "ConditionExpression": f"{PRESENT} AND (attribute_not_exists(pending) OR pending < :most) "
        "AND (attribute_not_exists(inputs) OR inputs < :ever)",
        "ExpressionAttributeValues": {":most": number(pending_max), ":ever": number(ever_max)},
    }


def mine_ended(attempt: int, status: str) -> Parameters:
    """The record of this attempt, which has ended so."""
    return {
        "ConditionExpression": f"{OWN_ATTEMPT} AND #status = :status",
        "ExpressionAttributeNames": NAMES,
        "ExpressionAttributeValues": {":attempt": number(attempt), ":status": string(status)},
    }


def not_ended() -> Parameters:
    """No record, or one that has not ended."""
    return {
        "ConditionExpression": f"{ABSENT} OR {NOT_TERMINAL}",
        "ExpressionAttributeNames": NAMES,
        "ExpressionAttributeValues": _statuses(NODE_TERMINAL),
    }


def run_open(incarnation: int) -> Parameters:
    """A run that has not ended, in this incarnation."""
    return {
        "ConditionExpression": f"{RUN_IS_OPEN} AND {OWN_INCARNATION}",
        "ExpressionAttributeNames": NAMES,
        "ExpressionAttributeValues": {
            **_statuses(RUN_OPEN),
            ":incarnation": number(incarnation),
        },
    }


def absent() -> Parameters:
    """No such item."""
    return {"ConditionExpression": ABSENT}


def present() -> Parameters:
    """There is such an item."""
    return {"ConditionExpression": PRESENT}


def unended() -> Parameters:
    """The control item of a run that has not ended."""
    return {"ConditionExpression": _UNENDED}


def goes_on() -> Parameters:
    """The control item of a run that has not ended and is neither cancelled nor paused."""
    down = "(attribute_not_exists({0}) OR {0} = :down)"
    flags = " AND ".join(down.format(flag) for flag in ("cancel", "pause"))
    return {
        "ConditionExpression": f"{_UNENDED} AND {flags}",
        "ExpressionAttributeValues": {":down": boolean(False)},
    }


def updating(condition: Parameters, update: str, **more: Attribute) -> Parameters:
    """Returns parameters that update under a condition; `more` are values of the update."""
    held = condition.get("ExpressionAttributeValues", {})
    added = {f":{name}": value for name, value in more.items()}
    return {
        **condition,
        "UpdateExpression": update,
        "ExpressionAttributeValues": {**held, **added},
    }
