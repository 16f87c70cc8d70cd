"""The Map behind an iterate node: its body once for each item.

The Task of the iterate node returns the paths of the items. A Map runs the body for each
of them; inside, an item's path is the input of the first state and from there on the
variable `$path_<iterate node>`. Nothing else travels: what the body's nodes give is in
the table, under each item's path. In a distributed Map each item is an execution of
its own, which sees no variables from outside: the path is in its input
(distributed.py).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from joinery import limits
from joinery.compiler.distributed import CHILD_PATH, child_fields, why_state
from joinery.compiler.plan import Plan
from joinery.compiler.regions import Outside
from joinery.compiler.states import StateInfo, payload_of

if TYPE_CHECKING:
    from joinery.compiler.emit import _Emitter as Emitter
    from joinery.compiler.emit import _Scope as ScopeStates
    from joinery.compiler.levels import Unit


def iterate_behind(plan: Plan, head: str) -> str | None:
    """Returns the iterate node that the Task of a node ends with, if it does."""
    last = plan.group(head)[-1]
    return last if last in plan.iterate_of else None


def place_map(emitter: Emitter, scope: ScopeStates, node_id: str) -> str:
    """Emits the Map of an iterate node and what `done` leads to; returns the Map's name."""
    name, state = items_map(emitter, node_id, scope.states)
    around = emitter.plan.by_id[node_id].scope
    emitter.follow(scope, state, emitter.regions.port_targets(node_id, "done"), around)
    return name


def states_behind(
    emitter: Emitter, unit: Unit, task: dict[str, Any], states: dict[str, Any]
) -> dict[str, Any]:
    """Adds what a unit of a region has behind its Task; returns the state that leads on."""
    node_id = None if unit.is_loop else iterate_behind(emitter.plan, unit.name)
    if node_id is None:
        return task
    name, state = items_map(emitter, node_id, states)
    task["Next"] = name
    return state


def items_map(emitter: Emitter, node_id: str, states: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Adds the Map of an iterate node to states; returns its name and it.

    Where it leads is left open.
    """
    plan = emitter.plan
    each = plan.iterate_of[node_id]
    scope = plan.by_id[node_id].scope
    name = emitter.names.take(f"each {node_id}")
    emitter.info[name] = StateInfo("iterate", scope, (node_id,))
    body = emitter.scope(each.entries, stop=Outside(each.body), around=(*scope, node_id))
    config, item = {"Mode": "INLINE"}, "$states.input"
    at_once = min(each.concurrency, limits.SFN_INLINE_MAP_WIDTH)
    if each.distributed:
        at_once = each.concurrency
        config, item = {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, CHILD_PATH
    state = states[name] = {
        "Type": "Map",
        "Items": "{% $states.input.items %}",
        **(child_fields() if each.distributed else {}),
        "MaxConcurrency": at_once,
        "ItemProcessor": {
            "ProcessorConfig": config,
            **_with_path(emitter, body, node_id, item),
        },
        "Output": {},
    }
    if each.distributed:
        why_state(emitter, state, node_id, states)
    return name, state


def _with_path(emitter: Emitter, body: dict[str, Any], node_id: str, item: str) -> dict[str, Any]:
    """Returns a body whose first state keeps the item's path, which `item` stands for."""
    given = "{% " + item + " %}"
    states: dict[str, Any] = body["States"]
    first = body["StartAt"]
    state = states[first]
    # A state that is entered a second time has another input then: the first of a loop,
    # which therefore always has a Pass before it.
    if state["Type"] == "Task":
        payload_of(state)["path"] = given
    elif state["Type"] != "Pass":
        entered = emitter.names.take(f"enter {node_id}")
        around = (*emitter.plan.by_id[node_id].scope, node_id)
        emitter.info[entered] = StateInfo("pass", around)
        states = {entered: {"Type": "Pass", "Next": first}, **states}
        first, state = entered, states[entered]
    variable = re.compile(rf"\$path_{node_id}\b")
    # What one Assign sets is not there yet for the others in it.
    assign = {key: variable.sub(item, text) for key, text in _assigned(state).items()}
    if len(states) > 1:
        state["Assign"] = {f"path_{node_id}": given, **assign}
    return {"StartAt": first, "States": states}


def _assigned(state: dict[str, Any]) -> dict[str, str]:
    assigned: dict[str, str] = state.get("Assign", {})
    return assigned
