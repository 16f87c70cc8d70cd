"""State machines: made by the `publisher` function alone, asked for by everyone else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from joinery import limits
from joinery.aws.errors import aws_errors, refused_as
from joinery.catalog.ports import Machines
from joinery.errors import (
    InvalidRequest,
    JoineryError,
    PermanentInternal,
    TooLarge,
    Unavailable,
)

TAGS: Final = {"made-by": "joinery"}


class StepFunctionsMachines:
    """Implements `Machines` where machines may be made.

    Args:
        client: Step Functions client.
        role_arn: The one role of all machines.
    """

    def __init__(self, client: Any, role_arn: str) -> None:
        self._client, self._role_arn = client, role_arn

    def ensure(self, name: str, definition: str) -> str:
        """See `Machines.ensure`: the name is made from the definition, so equal is equal.

        Raises:
            TooLarge: The definition passes 1 MB.
            Unavailable: Step Functions is throttled or does not answer.
        """
        size = len(definition.encode())
        if size > limits.SFN_DEFINITION_BYTES:
            raise TooLarge(
                f"the state machine has {size} bytes",
                limit=limits.SFN_DEFINITION_BYTES,
                actual=size,
            )
        try:
            with aws_errors("CreateStateMachine", Unavailable):
                answer = self._client.create_state_machine(
                    name=name,
                    definition=definition,
                    roleArn=self._role_arn,
                    type="STANDARD",
                    tags=[{"key": key, "value": value} for key, value in TAGS.items()],
                )
        except PermanentInternal as error:
            if refused_as(error, "StateMachineAlreadyExists"):
                return self._arn(name)
            raise
        return str(answer["stateMachineArn"])

    def _arn(self, name: str) -> str:
        _, partition, _, _, account, _ = self._role_arn.split(":", 5)
        region = self._client.meta.region_name
        return f"arn:{partition}:states:{region}:{account}:stateMachine:{name}"


def answer_publisher(machines: Machines, event: Mapping[str, Any]) -> dict[str, Any]:
    """Does what `PublisherClient` asks for; the whole body of the `publisher` function.

    Args:
        machines: Makes the machines.
        event: `{name, definition}`.

    Returns:
        `{machine_arn}`, or `{error: {code, message, retryable, details?}}`.
    """
    name, definition = event.get("name"), event.get("definition")
    try:
        if not isinstance(name, str) or not isinstance(definition, str):
            raise InvalidRequest("name and definition of a state machine are needed")
        return {"machine_arn": machines.ensure(name, definition)}
    except JoineryError as error:
        return {"error": error.to_dict()}


class PublisherClient:
    """Implements `Machines` by asking the `publisher` function.

    Args:
        client: Lambda client.
        function: Name or ARN of the function.
    """

    def __init__(self, client: Any, function: str) -> None:
        self._client, self._function = client, function

    def ensure(self, name: str, definition: str) -> str:
        """See `Machines.ensure`.

        Raises:
            TooLarge: The definition passes 1 MB.
            Unavailable: The function or Step Functions does not answer.
            PermanentInternal: The function failed.
        """
        request = json.dumps({"name": name, "definition": definition})
        with aws_errors("Invoke", Unavailable):
            answer = self._client.invoke(FunctionName=self._function, Payload=request.encode())
            body = answer["Payload"].read()
        shown = json.loads(body)
        if "FunctionError" in answer:
            kind = str(shown.get("errorType", "unknown"))
            # A publisher that ran out of time was waiting for Step Functions.
            if "imeout" in kind or "Timedout" in kind:
                raise Unavailable("the state machine was not made in time")
            raise PermanentInternal("the publisher function failed", error_type=kind)
        if "error" in shown:
            raise _error(shown["error"])
        return str(shown["machine_arn"])


def _error(shown: Mapping[str, Any]) -> JoineryError:
    message, details = str(shown.get("message", "")), dict(shown.get("details") or {})
    for kind in (TooLarge, Unavailable, InvalidRequest):
        if shown.get("code") == kind.code:
            return kind(message, **details)
    return PermanentInternal(message, **details)
