"""Executions of state machines: `Executions` over Step Functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from joinery import limits
from joinery.aws.errors import aws_errors, refused_as
from joinery.aws.items import dump
from joinery.errors import PermanentInternal, TooLarge, Unavailable

CANCELLED: Final = "RunCancelled"
"""The `error` of an execution that was stopped: the class name that nodes raise too."""

_CAUSE_CHARS: Final = 32_768
"""https://docs.aws.amazon.com/step-functions/latest/apireference/API_StopExecution.html"""

_PAGE: Final = 1000

_ITEMS_COUNTED: Final = 100
"""More items than these are not asked for their histories: an account may ask 20 times a second.

https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
"""

_AT_ONCE: Final = 8

_ATTEMPTS: Final = frozenset({"ActivityScheduled", "LambdaFunctionScheduled", "TaskScheduled"})
"""History events of one attempt of a Task."""


class StepFunctionsExecutions:
    """Implements `Executions`.

    Args:
        client: Step Functions client.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def start(self, machine_arn: str, name: str, payload: Mapping[str, Any]) -> str:
        """See `Executions.start`.

        Raises:
            TooLarge: The payload passes 256 KiB.
            Unavailable: Step Functions is throttled or does not answer.
        """
        text = dump(payload)
        size = len(text.encode())
        if size > limits.SFN_PAYLOAD_BYTES:
            raise TooLarge(
                f"the input of an execution has {size} bytes",
                limit=limits.SFN_PAYLOAD_BYTES,
                actual=size,
            )
        try:
            with aws_errors("StartExecution", Unavailable):
                answer = self._client.start_execution(
                    stateMachineArn=machine_arn, name=name, input=text
                )
        except PermanentInternal as error:
            if refused_as(error, "ExecutionAlreadyExists"):
                return execution_arn(machine_arn, name)
            raise
        return str(answer["executionArn"])

    def stop(self, execution_arn: str, cause: str) -> None:
        """See `Executions.stop`. Raises: Unavailable."""
        try:
            with aws_errors("StopExecution", Unavailable):
                self._client.stop_execution(
                    executionArn=execution_arn, error=CANCELLED, cause=cause[:_CAUSE_CHARS]
                )
        except PermanentInternal as error:
            # The second is what an emulator says of an execution that has ended.
            if not refused_as(error, "ExecutionDoesNotExist", "ValidationException"):
                raise

    def describe(self, execution_arn: str) -> Mapping[str, Any] | None:
        """Returns `{name, status, error?, cause?}`, None where there is no such execution.

        DescribeExecution is throttled to 15 a second: for repairs, never for waiting.
        Raises: Unavailable.
        """
        try:
            with aws_errors("DescribeExecution", Unavailable):
                found = self._client.describe_execution(executionArn=execution_arn)
        except PermanentInternal as error:
            if refused_as(error, "ExecutionDoesNotExist"):
                return None
            raise
        return {name: found[name] for name in ("name", "status", "error", "cause") if name in found}

    def transitions(self, execution_arn: str) -> int | None:
        """See `Executions.transitions`.

        Counts as AWS bills: a Task by its attempts, since each retry is a transition,
        every other state by being entered, and one for each item's execution that was
        started. Raises: Unavailable.
        """
        total, items = self._counted(execution_arn)
        left = _ITEMS_COUNTED
        while items:
            left -= len(items)
            if left < 0:
                return None
            with ThreadPoolExecutor(min(_AT_ONCE, len(items))) as pool:
                counted = list(pool.map(self._counted, items))
            total += len(items) * limits.SFN_TRANSITIONS_CHILD_START
            total += sum(own for own, _ in counted)
            items = [arn for _, inner in counted for arn in inner]
        return total

    def _counted(self, execution_arn: str) -> tuple[int, list[str]]:
        """Returns an execution's own transitions, and the executions of its items."""
        total, items = 0, list[str]()
        for event in self._history(execution_arn):
            total += _is_transition(event["type"])
            if event["type"] == "MapRunStarted":
                items.extend(self._items(event["mapRunStartedEventDetails"]["mapRunArn"]))
        return total, items

    def _items(self, map_run_arn: str) -> Iterator[str]:
        more: dict[str, Any] = {}
        while True:
            with aws_errors("ListExecutions", Unavailable):
                page = self._client.list_executions(mapRunArn=map_run_arn, maxResults=_PAGE, **more)
            for execution in page["executions"]:
                yield execution["executionArn"]
            if not page.get("nextToken"):
                return
            more = {"nextToken": page["nextToken"]}

    def _history(self, execution_arn: str) -> Iterator[Mapping[str, Any]]:
        more: dict[str, Any] = {}
        while True:
            with aws_errors("GetExecutionHistory", Unavailable):
                page = self._client.get_execution_history(
                    executionArn=execution_arn,
                    maxResults=_PAGE,
                    includeExecutionData=False,
                    **more,
                )
            yield from page["events"]
            if not page.get("nextToken"):
                return
            more = {"nextToken": page["nextToken"]}


def _is_transition(event_type: str) -> bool:
    if event_type in _ATTEMPTS:
        return True
    return event_type.endswith("StateEntered") and event_type != "TaskStateEntered"


def execution_arn(machine_arn: str, name: str) -> str:
    """Returns the ARN of a machine's execution of this name."""
    return f"{machine_arn.replace(':stateMachine:', ':execution:', 1)}:{name}"
