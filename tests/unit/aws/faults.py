"""DynamoDB clients that repeat, lose or refuse calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, ReadTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable


class Faulty:
    """Passes calls on, but for methods that a test has replaced."""

    def __init__(self, client: Any, **replaced: Callable[..., Any]) -> None:
        self._client, self._replaced = client, replaced
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        replaced = self._replaced.get(name)

        def call(**parameters: Any) -> Any:
            self.calls.append(name)
            return replaced(method, **parameters) if replaced else method(**parameters)

        return call


def twice(method: Any, **parameters: Any) -> Any:
    """What the SDK does when an answer is lost: the call is done, and then done again."""
    method(**parameters)
    return method(**parameters)


def answer_lost(method: Any, **parameters: Any) -> Any:
    """Does the call, and times out."""
    method(**parameters)
    raise ReadTimeoutError(endpoint_url="https://example.invalid")


def refusal(code: str, status: int = 400, **more: Any) -> ClientError:
    """Returns what a client raises."""
    response: Any = {
        "Error": {"Code": code, "Message": "arn:aws:dynamodb:x:0:table/secret"},
        "ResponseMetadata": {"HTTPStatusCode": status},
        **more,
    }
    return ClientError(response, "Operation")


def refused(code: str, status: int = 400, times: int = 10**6, **more: Any) -> Any:
    """Refuses a number of calls, then passes them on."""
    left = [times]

    def call(method: Any, **parameters: Any) -> Any:
        if left[0] > 0:
            left[0] -= 1
            raise refusal(code, status, **more)
        return method(**parameters)

    return call


def cancelled(*codes: str) -> dict[str, Any]:
    """Returns the reasons of a cancelled transaction."""
    return {"CancellationReasons": [{"Code": code} for code in codes]}
