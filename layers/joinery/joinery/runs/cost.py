"""What a run has cost, from what was counted while it ran.

Measured: transitions (the execution's history), AWS calls, units of DynamoDB, invocations
and their time (what each invocation of a node logs), tokens and model calls. Derived: the
price. While no invocation has logged its time, that is the time of the nodes plus a
constant. Model fees are not in it, nor what the two APIs themselves did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from joinery import limits
from joinery.runs.model import NodeRecord, RunRecord
from joinery.runs.usage import total_usage

INVOCATION: Final = "lambda.Invoke"
"""Under this name each invocation of a node counts itself among the calls."""

INVOCATION_MS: Final = "lambda.Milliseconds"
"""Under this name the time of the invocations is handed over beside the calls."""

READ_UNITS: Final = "dynamodb.ReadUnits"
WRITE_UNITS: Final = "dynamodb.WriteUnits"
"""Under these names the units that DynamoDB took are handed over beside the calls."""

RUN_CODE: Final = "run_code.Invoke"
"""Under this name calls of the function that runs users' code stand among the calls."""

INVOCATION_OVERHEAD_S: Final = 0.05
"""Time of an invocation before its first node starts and after its last has ended."""

REQUEST_PRICES: Final[Mapping[str, float]] = {
    "apigatewaymanagementapi.PostToConnection": limits.WEBSOCKET_USD_PER_MESSAGE,
    "s3.PutObject": limits.S3_USD_PER_PUT,
    "s3.GetObject": limits.S3_USD_PER_GET,
}

_NO_CALLS: Final = frozenset({INVOCATION_MS, READ_UNITS, WRITE_UNITS})
_DIGITS: Final = 8


def run_cost(
    run: RunRecord,
    records: Sequence[NodeRecord],
    transitions: int,
    calls: Mapping[str, float],
    *,
    predicted: int,
    exact: bool = True,
    estimate: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns what `GET /runs/{run_id}/cost` answers.

    Args:
        run: The run.
        records: All its node records.
        transitions: State transitions of its execution so far.
        calls: AWS calls of its invocations by `service.Operation`, with their time and units.
        predicted: Transitions of its machine for the way that its nodes took.
        exact: Whether the transitions were counted, and not foretold.
        estimate: What it was expected to use, as it was pinned.

    Returns:
        `{run_id, status, transitions, transitions_predicted, transitions_counted, aws_calls,
        dynamodb_units, tokens, models, model_calls, price_usd, price_by_service}`, prices in US
        dollars; those of models stand in `models` alone.
    """
    reads, writes = units_of(calls)
    usage = total_usage(records)
    prices = {
        "states": transitions * limits.SFN_USD_PER_TRANSITION,
        "lambda": _lambda(records, calls),
        "dynamodb": reads * limits.DYNAMODB_USD_PER_READ_UNIT
        + writes * limits.DYNAMODB_USD_PER_WRITE_UNIT,
        "apigateway": _requests(calls, "apigatewaymanagementapi."),
        "s3": _requests(calls, "s3."),
    }
    return {
        "run_id": run.run_id,
        "status": run.status,
        "transitions": transitions,
        "transitions_predicted": predicted,
        "transitions_counted": exact,
        "aws_calls": {name: int(n) for name, n in calls.items() if name not in _NO_CALLS},
        "dynamodb_units": {"read": reads, "write": writes},
        "model_calls": usage["model_calls"],
        "tokens": {
            "input_tokens": usage["input_tokens"],
            "output_tokens": usage["output_tokens"],
            "estimated": usage["estimated"],
        },
        "models": {
            "usd": usage["usd"],
            **({"expected_usd": estimate["usd"]} if estimate else {}),
            **({"unpriced": usage["unpriced"]} if usage.get("unpriced") else {}),
        },
        "price_usd": round(sum(prices.values()), _DIGITS),
        "price_by_service": {name: round(price, _DIGITS) for name, price in prices.items()},
    }


def units_of(calls: Mapping[str, float]) -> tuple[float, float]:
    """Returns the read and the write units of DynamoDB that calls took."""
    if WRITE_UNITS in calls:
        return calls.get(READ_UNITS, 0.0), calls[WRITE_UNITS]
    reads = sum(units * calls.get(name, 0) for name, units in limits.ASSUMED_READ_UNITS.items())
    return reads, sum(
        units * calls.get(name, 0) for name, units in limits.ASSUMED_WRITE_UNITS.items()
    )


def _lambda(records: Sequence[NodeRecord], calls: Mapping[str, float]) -> float:
    # A run whose log lines have not appeared yet made one for each attempt, or fewer.
    begun = sum(record.attempt for record in records)
    invocations = calls.get(INVOCATION, begun)
    seconds = calls.get(INVOCATION_MS, 0) / 1000
    if not seconds:
        seconds = _node_seconds(records) + invocations * INVOCATION_OVERHEAD_S
    # How long users' code ran is not counted apart from the node that waited for it.
    code = calls.get(RUN_CODE, 0) * (
        limits.LAMBDA_USD_PER_REQUEST
        + limits.ASSUMED_CODE_S * limits.RUN_CODE_MEMORY_GB * limits.LAMBDA_USD_PER_GB_S
    )
    return (
        code
        + invocations * limits.LAMBDA_USD_PER_REQUEST
        + seconds * limits.RUN_NODE_MEMORY_GB * limits.LAMBDA_USD_PER_GB_S
    )


def _node_seconds(records: Sequence[NodeRecord]) -> float:
    return sum(
        record.ended_at - record.started_at
        for record in records
        # No invocation goes on while a node waits.
        if record.started_at
        and record.ended_at > record.started_at
        and not (record.child or record.wait)
    )


def _requests(calls: Mapping[str, float], service: str) -> float:
    return sum(
        price * calls.get(name, 0)
        for name, price in REQUEST_PRICES.items()
        if name.startswith(service)
    )
