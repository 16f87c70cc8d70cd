"""Task states: how a node's function is invoked, and when it is invoked again."""

from __future__ import annotations

from typing import Any

from joinery import limits
from joinery.compiler.plan import PURE_TYPES, Plan
from joinery.compiler.times import Worst, worst_of
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
    state: dict[str, Any] = {"Type": "Task"}
    if len(group) > 1 and not item:
        state["Comment"] = "runs " + ", ".join(group)
    state.update(
        {
            "Resource": "arn:aws:states:::lambda:invoke",
            "Arguments": {
                "FunctionName": arn,
                "Payload": {
                    "run_id": "{% $states.context.Execution.Input.run_id %}",
                    "plan": "{% $states.context.Execution.Input.plan %}",
                    "node": "{% $states.input %}" if item else head,
                    "path": "{% $path_" + scope[-1] + " %}" if scope else "",
                },
            },
            "TimeoutSeconds": _timeout(plan, group),
            "Retry": _retry(plan, group),
            "Output": {},
        }
    )
    return state


def likeness(plan: Plan, head: str) -> tuple[Any, ...]:
    """What must be equal for branches to share one Task state."""
    group = plan.group(head)
    walked = _walked(plan, group)
    return (
        plan.task_scope(head),
        _attempts(plan, group),
        plan.by_id[head].backoff_s,
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
    # A pure node is done at once; its own timeout is only its bound inside the invocation.
    total = sum(node.timeout_s for node in nodes if node.type not in PURE_TYPES) + 30
    return int(min(total, limits.LAMBDA_TIMEOUT_S))


def _retry(plan: Plan, group: tuple[str, ...]) -> list[dict[str, Any]]:
    """Returns the Retriers of a Task.

    Attempts are counted in the table, where a crash counts too; the bounds here
    only have to be wider, and end what can no longer even be counted.
    """
    backoff = max(1, round(min(plan.by_id[name].backoff_s for name in group)))
    walked = _walked(plan, group)
    return retriers(backoff, _attempts(plan, group), walked.short if walked else 0)


def retriers(backoff: int, attempts: int, short: int) -> list[dict[str, Any]]:
    """Returns the Retriers of a Task.

    Args:
        backoff: Seconds before the first new attempt.
        attempts: Attempts that its nodes may make in all.
        short: How often an invocation may run short of time and ask for another one.
    """
    names = [name for name in transient_names() if name != "TransientClaimed"]
    found: list[dict[str, Any]] = [
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
            "MaxAttempts": attempts + 2,
            "JitterStrategy": "FULL",
        },
    ]
    if short:
        found.append(
            {
                "ErrorEquals": ["DeadlineNear"],
                "IntervalSeconds": 1,
                "BackoffRate": 1.0,
                "MaxAttempts": short,
            }
        )
    return found
