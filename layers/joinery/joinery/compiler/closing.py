"""Loops that are left from several places at once, made into loops with one way out.

A branch that leaves a loop while another one stays in it cannot be emitted as it
is drawn: a box of Step Functions has one exit. By the rules of docs/semantics.md
an edge out of a loop is decided when the loop has ended, so the machine may walk
to the loop node first and to all that lies outside from there. Which of it really
runs is in the records, and a Task whose node is skipped is done at once.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from joinery.compiler.plan import Plan
from joinery.workflow.graph import Link


def closed(plan: Plan, loops: Collection[str]) -> Plan:
    """Returns the plan with some loops closed: its links say what the machine walks.

    Args:
        plan: The plan.
        loops: Loop nodes; all edges that leave their loops but not at them lead to
            the loop node instead, and from there to where they led.
    """
    links = list(plan.links)
    for loop in sorted(loops, key=lambda name: -len(plan.by_id[name].scope)):
        links = _close(plan, loop, links)
    incoming: dict[str, list[Link]] = {node.id: [] for node in plan.nodes}
    for link in links:
        incoming[link.target].append(link)
    nodes = tuple(replace(node, incoming=tuple(incoming[node.id])) for node in plan.nodes)
    fields = {name: getattr(plan, name) for name in Plan.__dataclass_fields__}
    return Plan(**{**fields, "nodes": nodes, "links": tuple(links)})


def _close(plan: Plan, loop: str, links: list[Link]) -> list[Link]:
    inside = set(plan.loop_of[loop].body)
    kept: dict[Link, None] = {}
    targets: dict[str, None] = {}
    for link in links:
        if link.source in inside and link.target not in inside and link.source != loop:
            targets[link.target] = None
            kept[Link(link.source, link.port, loop)] = None
        else:
            kept[link] = None
    ports = [port for port in plan.by_id[loop].ports if port != "repeat"]
    for port in ports:
        kept.update(dict.fromkeys(Link(loop, port, target) for target in targets))
    return list(kept)
