"""Task states: how a node's function is invoked, and when it is invoked again."""

from __future__ import annotations

import math
from typing import Any

from joinery import limits
from joinery.compiler.plan import PURE_TYPES, WAITING_TYPES, Plan
from joinery.errors import transient_names

RUN_NODE_PLACEHOLDER = "${RunNodeArn}"
"""Stands for the function in a definition that is not yet published."""

INFRASTRUCTURE_ERRORS = (
    # What Lambda and its worker raise when the node's own code had no say in it.
    # https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.ServiceException",
    "Lambda.TooManyRequestsException",
    "Lambda.Unknown",
    "Runtime.ExitError",
    "Runtime.Unknown",
    "Sandbox.Timedout",
    "States.Timeout",
)

WAIT_MARGIN_S = 10
"""A Task that waits is given up this much after its node: its clock starts before the node's."""

CLAIM_RETRIES = 12
"""Waits for another invocation's claim: 2 s growing to 10 s, well past the longest lease."""


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
    waits = plan.by_id[head].type in WAITING_TYPES
    state: dict[str, Any] = {"Type": "Task"}
    if len(group) > 1 and not item:
        state["Comment"] = "runs " + ", ".join(group)
    state.update(
        {
            "Resource": f"arn:aws:states:::lambda:invoke{'.waitForTaskToken' if waits else ''}",
            "Arguments": {
                "FunctionName": arn,
                "Payload": {
                    "run_id": "{% $states.context.Execution.Input.run_id %}",
                    "plan": "{% $states.context.Execution.Input.plan %}",
                    "node": "{% $states.input %}" if item else head,
                    "path": "{% $path_" + scope[-1] + " %}" if scope else "",
                    **({"token": "{% $states.context.Task.Token %}"} if waits else {}),
                },
            },
            "TimeoutSeconds": _timeout(plan, group),
            "Retry": _retry(plan, group),
            "Output": {},
        }
    )
    return state


def result_of(plan: Plan, name: str) -> str:
    """Returns where a Choice finds what the Task of a node gave: what was sent with its token."""
    waits = plan.by_id[name].type in WAITING_TYPES
    return "{% $states.result %}" if waits else "{% $states.result.Payload %}"


def likeness(plan: Plan, head: str) -> tuple[Any, ...]:
    """What must be equal for branches to share one Task state."""
    group = plan.group(head)
    return (
        plan.by_id[head].scope,
        plan.by_id[head].type in WAITING_TYPES,
        _attempts(plan, group),
        plan.by_id[head].backoff_s,
        _timeout(plan, group),
    )


def _attempts(plan: Plan, group: tuple[str, ...]) -> int:
    return max(plan.by_id[name].attempts for name in group)


def _timeout(plan: Plan, group: tuple[str, ...]) -> int:
    """Seconds after which Step Functions gives an invocation up: the nodes' own, and a margin."""
    nodes = [plan.by_id[name] for name in group]
    if nodes[0].type in WAITING_TYPES:
        # The function that this wakes must find the node's own time over.
        return math.ceil(nodes[0].timeout_s) + WAIT_MARGIN_S
    # A pure node is done at once; its own timeout is only its bound inside the invocation.
    total = sum(node.timeout_s for node in nodes if node.type not in PURE_TYPES) + 30
    return int(min(total, limits.LAMBDA_TIMEOUT_S))


def _retry(plan: Plan, group: tuple[str, ...]) -> list[dict[str, Any]]:
    """Returns the Retriers of a Task.

    Attempts are counted in the table, where a crash counts too; the bounds here
    only have to be wider, and end what can no longer even be counted.
    """
    names = [name for name in transient_names() if name != "TransientClaimed"]
    backoff = max(1, round(min(plan.by_id[name].backoff_s for name in group)))
    return [
        {
            "ErrorEquals": ["TransientClaimed"],
            "IntervalSeconds": 2,
            "BackoffRate": 1.5,
            "MaxDelaySeconds": 10,
            "MaxAttempts": CLAIM_RETRIES,
            "JitterStrategy": "FULL",
        },
        {
            "ErrorEquals": [*names, *INFRASTRUCTURE_ERRORS],
            "IntervalSeconds": backoff,
            "BackoffRate": 2.0,
            "MaxDelaySeconds": max(30, backoff + 1),
            "MaxAttempts": _attempts(plan, group) + 2,
            "JitterStrategy": "FULL",
        },
    ]
