"""What streaming costs and how late it is, on the local stack with real calls counted.

Compared with the plain way, one write and one post for each token, whose figures are
the number of tokens and the same prices.
"""

from __future__ import annotations

import statistics

from bench import shapes
from bench.followers import real_viewers
from bench.stamps import Age, run_watched, stamping_stack
from bench.viewers import crowds, made_up_viewers
from joinery import limits
from joinery.compiler.opt import DEFAULT_OPT
from joinery_cli import local

TOKENS = 1_000
RATE = 50
RUN_TOKENS = 2_000
AIM_USD = 700e-6
POST = "apigatewaymanagementapi.PostToConnection"


def main() -> None:
    """Starts a stack of its own with a model that stamps its tokens, and prints the tables."""
    with stamping_stack() as stack:
        _per_thousand(stack)
        _whole_runs(stack)
        real_viewers(stack)
    made_up_viewers()
    crowds()


# -- per thousand tokens ------------------------------------------------------------------


def _per_thousand(stack: local.LocalStack) -> None:
    short = run_watched(stack, shapes.chain(1, 1, RATE))
    whole = run_watched(stack, shapes.chain(1, TOKENS, RATE))
    before = short.cost["aws_calls"]
    calls = {name: count - before.get(name, 0) for name, count in whole.cost["aws_calls"].items()}
    taken, base = whole.cost["dynamodb_units"], short.cost["dynamodb_units"]
    reads, writes = (taken[kind] - base[kind] for kind in ("read", "write"))
    price = _price(reads, writes, calls[POST])
    plain = _price(0, TOKENS, TOKENS)
    print(f"{TOKENS:,} tokens at {RATE} a second, one viewer")
    print(f"{'':12}{'reads':>8}{'writes':>8}{'posts':>8}{'price':>12}")
    print(f"{'coalesced':12}{reads:8.0f}{writes:8.0f}{calls[POST]:8}{price * 1e6:9.0f} µ$")
    print(f"{'one by one':12}{0:8}{TOKENS:8}{TOKENS:8}{plain * 1e6:9.0f} µ$")
    print(f"one by one costs {plain / price:.1f} times as much\n")
    _delay(whole.ages)


def _delay(ages: list[Age]) -> None:
    fresh = [age.seconds for age in ages if age.at < limits.DELTA_FRESH_S]
    settled = [age.seconds for age in ages if age.at >= limits.DELTA_FRESH_S]
    print("from the model to the client, the aim being the interval and 50 ms for 95 of 100")
    print(f"{'':20}{'tokens':>8}{'interval':>10}{'p50':>8}{'p95':>8}{'of the aim':>12}")
    for name, found, factor in (
        ("first half second", fresh, 1),
        ("afterwards", settled, limits.DELTA_SETTLED),
    ):
        ordered, interval = sorted(found), limits.DELTA_INTERVAL_S * factor
        half, most = statistics.median(ordered), ordered[int(len(ordered) * 0.95)]
        print(
            f"{name:20}{len(ordered):8}{interval * 1e3:7.0f} ms{half * 1e3:5.0f} ms"
            f"{most * 1e3:5.0f} ms{most / (interval + 0.05):12.2f}"
        )
    print()


def _price(reads: float, writes: float, posts: int) -> float:
    return (
        reads * limits.DYNAMODB_USD_PER_READ_UNIT
        + writes * limits.DYNAMODB_USD_PER_WRITE_UNIT
        + posts * limits.WEBSOCKET_USD_PER_MESSAGE
    )


# -- whole runs ----------------------------------------------------------------------------

SHAPES: dict[str, tuple[str, int]] = {
    "10 in a row": (shapes.chain(10, RUN_TOKENS, RATE), DEFAULT_OPT),
    "10 in a row, 100/s": (shapes.chain(10, RUN_TOKENS, 2 * RATE), DEFAULT_OPT),
    "10 in a row, level 1": (shapes.chain(10, RUN_TOKENS, RATE), 1),
    "10 in a row, auto": (shapes.chain(10, RUN_TOKENS, RATE, run_on="auto"), DEFAULT_OPT),
    "5 and 5 templates": (shapes.chain(5, RUN_TOKENS, RATE, templates=5), DEFAULT_OPT),
    "5 and 5, auto": (shapes.chain(5, RUN_TOKENS, RATE, templates=5, run_on="auto"), DEFAULT_OPT),
    "two rounds of 3": (shapes.rounds(RUN_TOKENS, RATE), DEFAULT_OPT),
    "two rounds, auto": (shapes.rounds(RUN_TOKENS, RATE, run_on="auto"), DEFAULT_OPT),
    "10 at once": (shapes.fork(RUN_TOKENS, RATE), DEFAULT_OPT),
    "10 at once, auto": (shapes.fork(RUN_TOKENS, RATE, run_on="auto"), DEFAULT_OPT),
}
"""Workflows of ten nodes, and the level at which they are compiled."""


def _whole_runs(stack: local.LocalStack) -> None:
    print(
        f"a run of 10 nodes and {RUN_TOKENS:,} tokens at {RATE} a second with one viewer, in µ$; "
        f"the aim is {AIM_USD * 1e6:.0f}"
    )
    print(
        f"{'':20}{'seconds':>8}{'writes':>8}{'posts':>7}{'states':>9}{'lambda':>8}"
        f"{'dynamodb':>10}{'sockets':>9}{'sum':>7}{'of the aim':>12}"
    )
    for name, (source, opt) in SHAPES.items():
        ran = run_watched(stack, source, opt=opt)
        calls = ran.cost["aws_calls"]
        shares = {n: value * 1e6 for n, value in ran.cost["price_by_service"].items()}
        print(
            f"{name:20}{ran.seconds:8.1f}{ran.cost['dynamodb_units']['write']:8.0f}{calls[POST]:7}"
            f"{shares['states']:9.0f}{shares['lambda']:8.0f}{shares['dynamodb']:10.0f}"
            f"{shares['apigateway']:9.0f}{ran.cost['price_usd'] * 1e6:7.0f}"
            f"{ran.cost['price_usd'] / AIM_USD:12.2f}"
        )
    print()
