"""Puts into a plan what its quorum joins may stop, and what they may read."""

from __future__ import annotations

from dataclasses import replace

from joinery.compiler.plan import Plan, PlanIterate, PlanNode
from joinery.compiler.regions import Regions
from joinery.workflow.bodies import DONE
from joinery.workflow.graph import START
from joinery.workflow.races import Body, Shape, find_races, through_bodies


def with_races(plan: Plan) -> Plan:
    """Returns the plan with `contained` and `hides` set."""
    joins = {node.id for node in plan.nodes if node.join}
    if not joins:
        return plan
    regions = Regions(plan)
    races = find_races(
        Shape(
            order=[START, *(node.id for node in plan.nodes)],
            followers=through_bodies(regions.followers, [_body(plan, b) for b in plan.iterates]),
            scopes={node.id: node.scope for node in plan.nodes},
            entries={loop.loop: loop.entries for loop in plan.loops},
            joins=joins,
        )
    )
    nodes = tuple(
        replace(
            node,
            contained=_innermost(plan, node, races.around.get(node.id, "")),
            hides=tuple(p for p in races.unsure.get(node.id, ()) if p != START),
        )
        for node in plan.nodes
    )
    return replace(plan, nodes=nodes)


def _body(plan: Plan, each: PlanIterate) -> Body:
    after = [link.target for link in plan.outgoing[each.iterate][DONE]]
    return Body(each.iterate, each.body, each.entries, after)


def _innermost(plan: Plan, node: PlanNode, join: str) -> str:
    """Returns what contains a node's failure: a join, or what is around it inside the region."""
    around = plan.by_id[join].scope if join else ()
    if join and node.contained and node.contained not in around:
        return node.contained
    return join or node.contained
