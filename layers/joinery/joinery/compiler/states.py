"""Task states: how a node's function is invoked, and when it is invoked again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from joinery import limits
from joinery.compiler.plan import PURE_TYPES, WAITING_TYPES, Plan
from joinery.compiler.times import Worst, is_pure, worst_of
from joinery.workflow.graph import START

if TYPE_CHECKING:
    from joinery.compiler.steps import Steps

RUN_NODE_PLACEHOLDER = "arn:aws:lambda:us-east-1:123456789012:function:joinery-run-node:live"
"""Stands for the function in a definition that is not yet published."""

NEVER_RETRIED = ("Permanent", "RunCancelled", "RunSuspended")
"""Error names that end a Task; see `NodeError.asl_name`.

Anything else is tried again: what a node raises as transient, and whatever Lambda and
its worker raise when the node's own code had no say in it, under names that are theirs
to add to. An error that a Catch around the Task waits for belongs here: Retry comes
first. https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
"""

WAIT_MARGIN_S = 10
"""A Task that waits is given up this much after its node: its clock starts before the node's."""

CALLBACK = "arn:aws:states:::lambda:invoke.waitForTaskToken"

CLAIM_RETRIES = 8
"""Beyond a node's own attempts: waits for a claim that a dead invocation left.

From 1 s, doubling to 30 s, with full jitter: about 100 s on average for a lease of 15 s.
"""

RETRY_DELAY_MAX_S = 30


@dataclass(frozen=True, slots=True)
class StateInfo:
    """What the price of a state depends on; kept beside the definition."""

    kind: str
    scope: tuple[str, ...]
    nodes: tuple[str, ...] = ()
    back: frozenset[str] = frozenset()
    walks: tuple[Steps, ...] = ()
    """For a Task of level 2 how it goes through its group; in a Map one for each branch."""
    ports: tuple[tuple[str, str], ...] = ()
    """Of a Choice: the ports of its node, each with the state that it leads to."""


def invoke(
    plan: Plan, arn: str, head: str, scope: tuple[str, ...], *, item: bool = False
) -> dict[str, Any]:
    """Returns the Task that runs a node, and those folded into it.

    Args:
        plan: The plan.
        arn: The function.
        head: The first node.
        scope: The loops around it; the innermost one's variable holds the path.
        item: The Task stands in a Map whose items are the nodes to run.
    """
    group = plan.group(head)
    state: dict[str, Any] = {"Type": "Task"}
    if len(group) > 1 and not item:
        state["Comment"] = "runs " + ", ".join(group)
    state.update(
        {
            **_calls(
                arn,
                _arguments(
                    "{% $states.input %}" if item else head,
                    "{% $path_" + scope[-1] + " %}" if scope else "",
                ),
                waits=plan.by_id[head].type in WAITING_TYPES,
            ),
            "TimeoutSeconds": _timeout(plan, group),
            "Retry": _retry(plan, group),
        }
    )
    return state


def invoke_all(plan: Plan, arn: str) -> dict[str, Any]:
    """Returns the Task that runs a whole plan inline."""
    nodes = [node.id for node in plan.nodes]
    worst = worst_of(plan, nodes, 0)
    backoff = max(1, round(min(node.backoff_s for node in plan.nodes)))
    return {
        "Type": "Task",
        "Comment": f"runs {len(nodes) - 1} nodes inline",
        **_calls(arn, _arguments(START, ""), waits=False),
        "TimeoutSeconds": int(min(worst.seconds + 30, limits.LAMBDA_TIMEOUT_S)),
        "Retry": retriers(backoff, worst.attempts, worst.short),
        "Output": {},
    }


def _calls(arn: str, payload: dict[str, str], *, waits: bool) -> dict[str, Any]:
    """Returns how a Task calls the function: at once, or until its token is sent."""
    if waits:
        payload["token"] = "{% $states.context.Task.Token %}"
        return {"Resource": CALLBACK, "Arguments": {"FunctionName": arn, "Payload": payload}}
    # By its ARN alone the result is what the function returns. Through `lambda:invoke`
    # each state would be 70 bytes larger, and 2,000 states have to fit into a definition.
    return {"Resource": arn, "Arguments": payload}


def payload_of(task: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a Task calls the function with."""
    arguments: dict[str, Any] = task["Arguments"]
    payload: dict[str, Any] = arguments.get("Payload", arguments)
    return payload


def _arguments(node: str, path: str) -> dict[str, str]:
    return {
        "run_id": "{% $states.context.Execution.Input.run_id %}",
        "plan": "{% $states.context.Execution.Input.plan %}",
        "node": node,
        "path": path,
    }


def likeness(plan: Plan, head: str) -> tuple[Any, ...]:
    """What must be equal for branches to share one Task state."""
    group = plan.group(head)
    walked = _walked(plan, group)
    return (
        plan.task_scope(head),
        plan.by_id[head].type in WAITING_TYPES,
        _attempts(plan, group),
        _backoff(plan, group),
        _timeout(plan, group),
        walked.short if walked else 0,
    )


def _walked(plan: Plan, group: tuple[str, ...]) -> Worst | None:
    """Returns the worst case of a group that is walked; None for Tasks of levels 0 and 1."""
    if plan.opt < 2 or len(group) < 2:
        return None
    return worst_of(plan, group, len(plan.task_scope(group[0])))


def _attempts(plan: Plan, group: tuple[str, ...]) -> int:
    if walked := _walked(plan, group):
        return walked.attempts
    return max(plan.by_id[name].attempts for name in group)


def _timeout(plan: Plan, group: tuple[str, ...]) -> int:
    """Seconds after which Step Functions gives an invocation up: the nodes' own, and a margin."""
    if walked := _walked(plan, group):
        return int(min(walked.seconds + 30, limits.LAMBDA_TIMEOUT_S))
    nodes = [plan.by_id[name] for name in group]
    if nodes[0].type in WAITING_TYPES:
        # The function that this wakes must find the node's own time over.
        return math.ceil(nodes[0].timeout_s) + WAIT_MARGIN_S
    # A pure node is done at once; its own timeout is only its bound inside the invocation.
    total = sum(node.timeout_s for node in nodes if node.type not in PURE_TYPES) + 30
    return int(min(total, limits.LAMBDA_TIMEOUT_S))


def _retry(plan: Plan, group: tuple[str, ...]) -> list[dict[str, Any]]:
    """Returns the Retriers of a Task; what they leave out is the language's default.

    Attempts are counted in the table, where a crash counts too; the bound here only
    has to be wider, and ends what can no longer even be counted.
    """
    walked = _walked(plan, group)
    return retriers(_backoff(plan, group), _attempts(plan, group), walked.short if walked else 0)


def _backoff(plan: Plan, group: tuple[str, ...]) -> int:
    """Seconds before a new attempt of whichever of the nodes waits longest."""
    nodes = [plan.by_id[name] for name in group]
    # What only computes fails for good or not at all.
    waits = [node.backoff_s for node in nodes if not is_pure(node)]
    return max(1, round(max(waits, default=nodes[0].backoff_s)))


def retriers(backoff: int, attempts: int, short: int) -> list[dict[str, Any]]:
    """Returns the Retriers of a Task.

    Args:
        backoff: Seconds before the first new attempt.
        attempts: Attempts that its nodes may make in all.
        short: How often an invocation may run short of time and ask for another one.
    """
    found: list[dict[str, Any]] = [{"ErrorEquals": list(NEVER_RETRIED), "MaxAttempts": 0}]
    if short:
        asks = {"ErrorEquals": ["DeadlineNear"], "BackoffRate": 1.0, "MaxAttempts": short}
        found.append(asks)
    return [
        *found,
        {
            "ErrorEquals": ["States.ALL"],
            **({"IntervalSeconds": backoff} if backoff > 1 else {}),
            "MaxDelaySeconds": max(RETRY_DELAY_MAX_S, backoff + 1),
            "MaxAttempts": attempts + CLAIM_RETRIES,
            "JitterStrategy": "FULL",
        },
    ]
