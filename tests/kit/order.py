"""What every log of a run has to keep to: a partial order of its events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from joinery.compiler.plan import Plan
from joinery.runs.model import address_of

Place = tuple[str, str]

ENDED = ("node.completed", "node.failed")


def check_order(plan: Plan, events: Sequence[Mapping[str, Any]]) -> None:
    """Asserts that each node started once an attempt, after all that it waited for.

    Args:
        plan: The plan that ran.
        events: All stored events of a run, in order.
    """
    seqs = [event["seq"] for event in events]
    assert seqs == list(range(1, len(seqs) + 1)), "a hole in the log"
    ended: dict[Place, int] = {}
    started: dict[Place, int] = {}
    for event in events:
        name, place = event["event"], (event.get("node_id", ""), event.get("path", ""))
        if name == "nodes.skipped":
            for row in event["data"]["nodes"]:
                ended.setdefault((row["node_id"], row["path"]), event["seq"])
        elif name == "node.started":
            started.setdefault(place, event["seq"])
        elif name in ENDED:
            assert place not in ended, f"{place} ended twice"
            assert place in started, f"{place} ended and never started"
            ended[place] = event["seq"]
    for place in started:
        assert place in ended, f"{place} started and never ended"
        _after_its_sources(plan, place, started[place], ended)


def _after_its_sources(plan: Plan, place: Place, seq: int, ended: Mapping[Place, int]) -> None:
    node = plan.by_id[place[0]]
    for link in node.incoming:
        if link.source not in plan.by_id:
            continue
        address = address_of(node, place[1], plan.by_id[link.source])
        if not address.last:
            at = ended.get((link.source, address.key.path))
            assert at is not None, f"{place} ran before {link.source} was decided"
            assert at < seq, f"{place} started before {link.source} had ended"
