"""Four nodes write at once while sockets are cut at every event, and messages go astray."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pytest
from kit.lab import FOUR, Lab, four
from kit.proxy import Bad, Proxy, proxy_of

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

pytestmark = [pytest.mark.stack, pytest.mark.faults]

EVENTS = 17
"""Of such a run: its own two, and start, usage and end of five nodes."""

DELTAS = 10
VIEWERS = 10
TRIES = 4

CUTS = [
    Bad(cut_seq=seq, cut_delta=delta, after=after, rough=(seq + delta) % 2 == 0)
    for after in (False, True)
    for seq, delta in [
        *((seq, -1) for seq in range(1, EVENTS + 1)),
        *((0, delta) for delta in range(DELTAS)),
    ]
]
CUT_AGAIN = [Bad(cut_seq=seq, after=seq % 2 == 0, cuts=3) for seq in range(1, EVENTS + 1, 4)]
ASTRAY = [
    Bad(drop=1.0),
    Bad(double=1.0),
    Bad(late=1.0),
    Bad(repeated=1.0),
    *(Bad(drop=0.2, double=0.2, late=0.3, repeated=0.3, seed=seed) for seed in range(8)),
    *(Bad(drop=0.3, lost=0.4, seed=seed) for seed in range(4)),
    *(Bad(drop=0.2, late=0.5, cut_delta=seed, cuts=4, seed=seed) for seed in range(4)),
]


@pytest.fixture(scope="module")
def proxy(stack: LocalStack) -> Iterator[Proxy]:
    with proxy_of(stack.websocket_url) as proxy:
        yield proxy


def follow_badly(lab: Lab, proxy: Proxy, bads: Sequence[Bad], *, words: int = 30) -> list[Bad]:
    """One run that many follow, each with faults of their own, every other in JavaScript.

    Each must show just what somebody shows whom nothing has happened to. Returns the cuts
    that did not happen: who is slow for a moment has such a message by HTTP.
    """
    entries, truth = four(words)
    workflow_id = lab.publish(FOUR)
    ways = [proxy.add(bad) for bad in bads]
    made = lab.make(workflow_id, cassette=entries)
    run_id = made.run_id
    uncut = lab.scene(run_id)
    scenes = [lab.scene(run_id, address) for address, _ in ways]
    with (
        lab.following(uncut, *scenes[::2]),
        lab.following_in_javascript(*scenes[1::2]),
    ):
        made.begin(viewers=1 + len(bads))
    ended = lab.ended(run_id).judge(truth, uncut.seen)
    assert not ended.voids, "nothing has happened to the run itself"
    problems, uncuts, returned = [], [], 0
    for bad, (_, way), scene in zip(bads, ways, scenes, strict=True):
        try:
            ended.judge_seen(scene.seen, truth)
        except AssertionError as error:
            problems.append(f"{bad}: {error}")
        returned += way.connections > max(1, way.cut)
        if bad.cuts_something and not way.cut:
            uncuts.append(bad)
    assert not problems, "\n\n".join(problems)
    # Who is cut near the end may have the rest by HTTP; not all of them.
    assert returned or len(bads) < VIEWERS / 2, "some came back by socket"
    return uncuts


def runs_of(lab: Lab, proxy: Proxy, bads: Sequence[Bad]) -> None:
    """Tries all, some in a run, and those again whose cut did not happen."""
    for _ in range(TRIES):
        count = -(-len(bads) // VIEWERS)
        groups = [bads[first::count] for first in range(count)]
        bads = [bad for group in groups for bad in follow_badly(lab, proxy, group)]
        if not bads:
            return
    pytest.fail(f"no cut: {bads}")


def test_cut_and_astray(lab: Lab, proxy: Proxy) -> None:
    some = [*CUTS[1:44:8], ASTRAY[0], *ASTRAY[4:6], ASTRAY[-1]]
    uncuts = follow_badly(lab, proxy, some, words=20)
    assert len(uncuts) <= len(some) / 2, "most were cut"


@pytest.mark.timeout(300)
def test_cut_at_every_event(lab: Lab, proxy: Proxy) -> None:
    runs_of(lab, proxy, [*CUTS, *CUT_AGAIN])


@pytest.mark.timeout(300)
def test_messages_go_astray(lab: Lab, proxy: Proxy) -> None:
    runs_of(lab, proxy, ASTRAY)
