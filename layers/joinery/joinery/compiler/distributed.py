"""Items as executions of their own: a distributed Map instead of an inline one.

An inline Map runs 40 items at once and writes them all into one history. Where either
is not enough, each item is a Standard execution of its own, whose input is all that it
sees: the run, the plan, and the item's path. Express executions would be cheaper, but
they know no task tokens, end after five minutes, and may run twice.

When an item fails such a Map ends with `EXCEEDED`, whatever the item's error was called.
The Map catches that and asks the function why: a state that costs nothing until then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from joinery import limits
from joinery.compiler.plan import Plan
from joinery.compiler.states import StateInfo, invoke, payload_of

if TYPE_CHECKING:
    from joinery.compiler.emit import _Emitter as Emitter

EXCEEDED: Final = "States.ExceedToleratedFailureThreshold"
"""How a distributed Map fails that tolerates no failure.

https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
"""

CHILD_PATH: Final = "$states.context.Execution.Input.path"
"""An item's path, inside its execution."""


def is_distributed(state: Mapping[str, Any]) -> bool:
    """Whether a state is a Map whose items are executions of their own."""
    config = state.get("ItemProcessor", {}).get("ProcessorConfig", {})
    return bool(config.get("Mode") == "DISTRIBUTED")


def child_fields() -> dict[str, Any]:
    """Returns what a distributed Map says beyond an inline one."""
    return {
        # An item's Tasks read their run from their execution's input, like all others.
        "ItemSelector": {
            "run_id": "{% $states.context.Execution.Input.run_id %}",
            "plan": "{% $states.context.Execution.Input.plan %}",
            "path": "{% $states.context.Map.Item.Value %}",
        },
    }


def why_state(
    emitter: Emitter, state: dict[str, Any], node_id: str, states: dict[str, Any]
) -> None:
    """Adds the Task that a failed Map leads to, which fails as the item did."""
    scope = emitter.plan.by_id[node_id].scope
    name = emitter.names.take(f"failed {node_id}")
    task = invoke(emitter.plan, emitter.arn, node_id, scope)
    payload_of(task)["failed"] = True
    states[name] = {"Comment": f"says why an item of {node_id} failed", **task, "End": True}
    emitter.info[name] = StateInfo("why", scope)
    state["Catch"] = [{"ErrorEquals": [EXCEEDED], "Output": {}, "Next": name}]


# -- which iterate nodes -------------------------------------------------------------------


def with_distributed(plan: Plan, arn: str) -> Plan:
    """Returns a plan that says of which iterate nodes the items are executions of their own.

    Those with more items at once than an inline Map runs; and, as long as a history
    would pass `SFN_HISTORY_WARN` of its limit, the one that takes most of it.
    """
    wide = {e.iterate for e in plan.iterates if e.at_once > limits.SFN_INLINE_MAP_WIDTH}
    plan = _distributed(plan, wide)
    while not all(each.distributed for each in plan.iterates):
        long = _too_long(plan, arn)
        if long is None:
            break
        plan = _distributed(plan, {long})
    return plan


def _distributed(plan: Plan, names: Iterable[str]) -> Plan:
    found = set(names)
    if not found:
        return plan
    iterates = tuple(
        replace(each, distributed=each.distributed or each.iterate in found)
        for each in plan.iterates
    )
    return replace(plan, iterates=iterates)


def _too_long(plan: Plan, arn: str) -> str | None:
    """Returns the iterate node that takes most of a history that is too long, if one is."""
    from joinery.compiler.emit import emit
    from joinery.compiler.headroom import inline_shares
    from joinery.compiler.walk import Walk
    from joinery.compiler.weights import histories

    emitted = emit(plan, arn)
    most = limits.SFN_HISTORY_EVENTS * limits.SFN_HISTORY_WARN
    for owner, events in histories(Walk(plan, emitted)).items():
        shares = inline_shares(plan, emitted, owner) if events.max > most else {}
        if shares:
            return max(shares, key=lambda name: (shares[name], name))
    return None
