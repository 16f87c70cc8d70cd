"""Task tokens on ministack, mended where they differ from AWS.

Part of `joinery_cli.local.serve`; each change has a test in
tests/integration/test_local_stack_callbacks.py.
"""

from __future__ import annotations

import contextvars
import threading
import time
import uuid
from typing import Any, Final

CALLBACK: Final = ".waitForTaskToken"

STOPPED: Final = "the execution was stopped"

LOOK_S: Final = 0.2
"""A stopped execution leaves its wait this much later."""

_execution: contextvars.ContextVar[dict[str, Any]] = contextvars.ContextVar("execution")
"""The execution whose Task is run."""

_machines: dict[str, str] = {}
"""State machines by the tokens of their Tasks, which a token on AWS says of itself."""


def mend_task_tokens() -> None:
    """A retried Task gets a new token, its function's error fails it, and a stop ends its wait."""
    from ministack.services import stepfunctions

    task, arguments = stepfunctions._execute_task, stepfunctions._apply_jsonata_arguments

    def task_of(state: Any, given: Any, execution: dict[str, Any], context: Any) -> Any:
        _execution.set(execution)
        return task(state, given, execution, context)

    def with_new_token(state: dict[str, Any], given: Any, context: Any = None) -> Any:
        if CALLBACK in state.get("Resource", ""):
            token = context["Task"]["Token"] = str(uuid.uuid4())
            _machines[token] = _execution.get()["stateMachineArn"]
        return arguments(state, given, context)

    def invoke(resource: str, given: Any, token: str, state: dict[str, Any]) -> Any:
        return _invoke(resource, given, token, float(state.get("TimeoutSeconds", 99_999_999)))

    stepfunctions._execute_task = task_of
    stepfunctions._apply_jsonata_arguments = with_new_token
    stepfunctions._invoke_with_callback = invoke
    _say_whose_a_token_is()


def _invoke(resource: str, given: Any, token: str, timeout_s: float) -> Any:
    """Invokes a function and waits for its token; what the function raises ends the wait."""
    from ministack.services import stepfunctions

    execution = _execution.get()
    if execution["status"] != "RUNNING":
        # It would be tried again: with a token that takes the place of the next execution's.
        raise stepfunctions._ExecutionError("States.Runtime", STOPPED)
    answered, deadline = threading.Event(), time.monotonic() + timeout_s
    held: dict[str, Any] = {"event": answered, "result": None, "error": None, "heartbeat": None}
    stepfunctions._task_tokens[token] = held
    try:
        try:
            stepfunctions._invoke_resource(resource.replace(CALLBACK, ""), given)
        except stepfunctions._ExecutionError:
            if not answered.is_set():
                raise
        while not answered.wait(LOOK_S):
            if execution["status"] != "RUNNING":
                raise stepfunctions._ExecutionError("States.Runtime", STOPPED)
            if time.monotonic() > deadline:
                raise stepfunctions._ExecutionError("States.Timeout", "nobody sent the token")
    finally:
        stepfunctions._task_tokens.pop(token, None)
    if held["error"]:
        raise stepfunctions._ExecutionError(held["error"]["Error"], held["error"]["Cause"])
    return stepfunctions.json.loads(held["result"])


def _say_whose_a_token_is() -> None:
    """AWS allows `SendTaskSuccess` and `SendTaskFailure` by the token's state machine."""
    from ministack.core import iam_actions

    resource = iam_actions.extract_resource_arn

    def resource_of(service: str, *request: Any) -> Any:
        found = resource(service, *request)
        if service == "states" and found == "*":
            token = iam_actions._safe_json_field(request[3], "taskToken")
            return _machines.get(token, found)
        return found

    iam_actions.extract_resource_arn = resource_of
