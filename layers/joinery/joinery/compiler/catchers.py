"""Early cancel: the state that holds what a decided join has no need of is left at once.

The Task that decides a join raises an error named after it, `Quorum_<join>`. Each
state beside the join that runs nothing but nodes of its region catches that, goes on
at the join, and Step Functions stops what else runs in the state. It costs no
transition. Where there is no such state, as for a join inside a level of a rigid
region, its Tasks raise nothing, and the join is reached when all before it has ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from joinery.compiler.plan import Plan, joins_around
from joinery.compiler.states import payload_of
from joinery.errors import QUORUM_PREFIX


def regions_of(plan: Plan) -> dict[str, frozenset[str]]:
    """Returns the nodes in the region of each join that does not wait for all."""
    found: dict[str, set[str]] = {node.id: set() for node in plan.nodes if node.join}
    for node in plan.nodes if found else ():
        for join in joins_around(plan, node):
            found[join.id].add(node.id)
    return {join: frozenset(nodes) for join, nodes in found.items()}


def error_name(join: str) -> str:
    """Returns the name of the error that a decided join's parents raise."""
    return QUORUM_PREFIX + join


def catch(state: dict[str, Any], join: str, target: str, assign: Mapping[str, str]) -> None:
    """Lets a state go on at a join once that is decided, and its Tasks say so."""
    catcher: dict[str, Any] = {"ErrorEquals": [error_name(join)]}
    if assign:
        catcher["Assign"] = dict(assign)
    state.setdefault("Catch", []).append({**catcher, "Output": {}, "Next": target})
    for task in tasks_in(state):
        payload_of(task).setdefault("quorum", []).append(join)
        # Retry comes before Catch, and tries all again that it does not know.
        task["Retry"][0]["ErrorEquals"].append(error_name(join))


def tasks_in(state: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the Tasks of a state, at every depth."""
    if state["Type"] == "Task":
        yield state  # type: ignore[misc]  # states are dictionaries; callers change them
    for scope in scopes_in(state):
        for inner in scope["States"].values():
            yield from tasks_in(inner)


def scopes_in(state: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yields the scopes inside a Parallel or a Map."""
    yield from state.get("Branches", ())
    if "ItemProcessor" in state:
        yield state["ItemProcessor"]


def nodes_in(plan: Plan, state: Mapping[str, Any]) -> set[str]:
    """Returns all nodes that a state runs."""
    found: set[str] = set()
    items = state.get("Items")
    for item in items if isinstance(items, list) else ():
        found.update(plan.group(item))
    for task in tasks_in(state):
        head = payload_of(task)["node"]
        if head in plan.by_id:
            found.update(plan.group(head))
    return found
