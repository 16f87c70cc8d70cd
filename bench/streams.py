"""What streaming costs and how late it is, on the local stack with real calls counted.

Compared with the plain way, one write and one post for each token, whose figures are
the number of tokens and the same prices.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import connect

from bench.stamps import Viewer, stamping_model
from bench.viewers import slow_viewers
from joinery import limits
from joinery.runs.cost import READ_UNITS, WRITE_UNITS
from joinery_cli import local

TOKENS = 1_000
RATE = 50
RUN_TOKENS = 2_000
AIM_USD = 700e-6
POST = "apigatewaymanagementapi.PostToConnection"


def main() -> None:
    """Starts a stack of its own with a model that stamps its tokens, and prints three tables."""
    with _stack() as stack:
        _per_thousand(stack)
        for interval_ms in (100, 250):
            _set_interval(stack, interval_ms)
            _whole_runs(stack, interval_ms)
    slow_viewers()


@contextmanager
def _stack() -> Iterator[local.LocalStack]:
    with stamping_model() as url, tempfile.TemporaryDirectory() as home:
        before = {name: os.environ.get(name) for name in (_URL, _NAME)}
        os.environ.update({_URL: url, _NAME: "stamps"})
        try:
            yield local.up(lambda _step, _detail: None, model=False, home=Path(home))
        finally:
            local.down(home=Path(home))
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


_URL, _NAME = "JOINERY_MODEL_BASE_URL", "JOINERY_MODEL_NAME"


# -- per thousand tokens ------------------------------------------------------------------


def _per_thousand(stack: local.LocalStack) -> None:
    short, _ = _run(stack, chain(1, 1, RATE), watched=True)
    whole, ages = _run(stack, chain(1, TOKENS, RATE), watched=True)
    calls = {
        name: count - short["aws_calls"].get(name, 0) for name, count in whole["aws_calls"].items()
    }
    reads, writes = _units(calls, READ_UNITS), _units(calls, WRITE_UNITS)
    price = _price(reads, writes, calls[POST])
    plain = _price(0, TOKENS, TOKENS)
    print(f"{TOKENS:,} tokens at {RATE} a second, one viewer")
    print(f"{'':12}{'reads':>8}{'writes':>8}{'posts':>8}{'price':>12}")
    print(f"{'coalesced':12}{reads:8.0f}{writes:8.0f}{calls[POST]:8}{price * 1e6:9.0f} µ$")
    print(f"{'one by one':12}{0:8}{TOKENS:8}{TOKENS:8}{plain * 1e6:9.0f} µ$")
    print(f"one by one costs {plain / price:.1f} times as much")
    _delay(ages)


def _delay(ages: list[float]) -> None:
    ordered = sorted(ages)
    half, most = statistics.median(ordered), ordered[int(len(ordered) * 0.95)]
    aim = limits.DELTA_INTERVAL_S + 0.05
    print(
        f"from the model to the client: p50 {half * 1e3:.0f} ms, p95 {most * 1e3:.0f} ms "
        f"({most / aim:.2f} of the aim, the interval and 50 ms), {len(ages):,} tokens\n"
    )


def _units(calls: Mapping[str, int], units: Mapping[str, float]) -> float:
    return sum(each * calls.get(name, 0) for name, each in units.items())


def _price(reads: float, writes: float, posts: int) -> float:
    return (
        reads * limits.DYNAMODB_USD_PER_READ_UNIT
        + writes * limits.DYNAMODB_USD_PER_WRITE_UNIT
        + posts * limits.WEBSOCKET_USD_PER_MESSAGE
    )


# -- whole runs ----------------------------------------------------------------------------


def chain(talking: int, tokens: int, rate: int, others: int = 0) -> str:
    """Returns a workflow of nodes that talk, one after the other, and templates between them."""
    names = [f"talk{number}" for number in range(talking)]
    nodes = [f'  {name}: {{type: llm, prompt: "{tokens // talking} {rate}"}}' for name in names]
    order = list(names)
    for number in range(others):
        order.insert(2 * number + 1, f"note{number}")
        nodes.append(f'  note{number}: {{type: template, template: "note {number}"}}')
    lines = ["version: 1", f"name: stream_{uuid.uuid4().hex[:8]}", "nodes:", *nodes, "edges:"]
    return "\n".join([*lines, f"  - start -> {' -> '.join(order)} -> end"]) + "\n"


SHAPES = {"10 talk": (10, 0), "5 talk, 5 templates": (5, 5)}


def _set_interval(stack: local.LocalStack, milliseconds: int) -> None:
    """Does what deploying with another `DeltaMilliseconds` does."""
    functions, (name, alias) = stack.client("lambda"), _function(stack)
    found = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    changed = {**found, "JOINERY_DELTA_MS": str(milliseconds)}
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": changed})
    version = functions.publish_version(FunctionName=name)["Version"]
    functions.update_alias(FunctionName=name, Name=alias, FunctionVersion=version)


def _function(stack: local.LocalStack) -> tuple[str, str]:
    name, _, alias = stack.outputs["RunNodeArn"].rpartition(":")
    return name, alias


def _whole_runs(stack: local.LocalStack, interval_ms: int) -> None:
    print(
        f"a run of 10 nodes and {RUN_TOKENS:,} tokens with one viewer, a delta every "
        f"{interval_ms} ms, by service in µ$"
    )
    print(
        f"{'nodes':22}{'tokens/s':>9}{'posts':>7}{'states':>8}{'lambda':>8}"
        f"{'dynamodb':>10}{'sockets':>9}{'sum':>7}{'of the aim':>12}"
    )
    for name, (talking, others) in SHAPES.items():
        for rate in (RATE, 2 * RATE):
            cost, _ = _run(stack, chain(talking, RUN_TOKENS, rate, others), watched=True)
            shares = {n: value * 1e6 for n, value in cost["price_by_service"].items()}
            print(
                f"{name:22}{rate:9}{cost['aws_calls'][POST]:7}{shares['states']:8.0f}"
                f"{shares['lambda']:8.0f}{shares['dynamodb']:10.0f}{shares['apigateway']:9.0f}"
                f"{cost['price_usd'] * 1e6:7.0f}{cost['price_usd'] / AIM_USD:12.2f}"
            )
    print()


def _run(
    stack: local.LocalStack, source: str, *, watched: bool
) -> tuple[dict[str, Any], list[float]]:
    """Runs a workflow to its end; returns what it cost and the ages of its tokens."""
    headers = {"Authorization": f"Bearer {stack.token}"}
    with httpx.Client(
        base_url=stack.http_api_url, headers=headers, timeout=30, trust_env=False
    ) as http:
        workflow = http.post("/workflows", json={"source": source}).json()["workflow_id"]
        with connect(stack.websocket_url, additional_headers=headers, proxy=None) as connection:
            viewer = Viewer(connection)
            run_id = http.post("/runs", json={"workflow_id": workflow}).json()["run_id"]
            watching = threading.Thread(target=viewer.watch, args=(run_id,))
            watching.start()
            watching.join()
        # The line that counts the calls of the last invocation comes after its end.
        time.sleep(1)
        return http.get(f"/runs/{run_id}/cost").json(), viewer.ages
