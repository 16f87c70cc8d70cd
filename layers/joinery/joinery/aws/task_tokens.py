"""Tokens of Tasks that wait: `TaskTokens` over Step Functions."""

from __future__ import annotations

from typing import Any, Final

from joinery.aws.errors import aws_errors, refused_as
from joinery.errors import PermanentInternal, TransientStore

_OVER: Final = ("TaskDoesNotExist", "TaskTimedOut", "InvalidToken")
"""What is said of a token whose Task waits no more."""

_CAUSE_CHARS: Final = 32_768
_ERROR_CHARS: Final = 256
"""https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskFailure.html"""


class StepFunctionsTokens:
    """Implements `TaskTokens`.

    Args:
        client: Step Functions client.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def succeed(self, token: str, output: str) -> None:
        """See `TaskTokens.succeed`. Raises: TransientStore."""
        try:
            with aws_errors("SendTaskSuccess", TransientStore):
                self._client.send_task_success(taskToken=token, output=output)
        except PermanentInternal as error:
            if not refused_as(error, *_OVER):
                raise

    def fail(self, token: str, error: str, cause: str) -> None:
        """See `TaskTokens.fail`. Raises: TransientStore."""
        try:
            with aws_errors("SendTaskFailure", TransientStore):
                self._client.send_task_failure(
                    taskToken=token, error=error[:_ERROR_CHARS], cause=cause[:_CAUSE_CHARS]
                )
        except PermanentInternal as refused:
            if not refused_as(refused, *_OVER):
                raise
