"""The one place where errors of the AWS SDK become ours.

Messages name the operation and AWS's code, never a table, a bucket or an ARN.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from joinery.errors import JoineryError, PermanentInternal, TransientStore

BUSY_CODES: Final = frozenset(
    {
        "InternalFailure",
        "InternalServerError",
        "LimitExceededException",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "SlowDown",
        "StateMachineDeleting",
        "Throttling",
        "ThrottlingError",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
"""Codes that a later call may not meet, besides every 5xx and 429."""

CONTENDED_CODES: Final = frozenset(
    {"TransactionConflict", "TransactionConflictException", "TransactionInProgressException"}
)
"""Codes of two writers at one item: over within milliseconds."""

CONDITION_CODE: Final = "ConditionalCheckFailed"

Item = dict[str, Any]
"""A DynamoDB item in its wire form: `{name: {"S": …}}`."""


class ConditionFailed(Exception):
    """A conditional write was refused; `item` is what is stored, None where nothing is."""

    def __init__(self, item: Item | None) -> None:
        super().__init__(CONDITION_CODE)
        self.item = item


class Contended(Exception):
    """Another writer was at the same item; the same call again will do."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one action of a transaction was refused; code `None` when it was not."""

    code: str
    item: Item | None

    @property
    def condition_failed(self) -> bool:
        """Whether it was this action's condition."""
        return self.code == CONDITION_CODE


class TransactionCancelled(Exception):
    """A transaction was refused; `reasons` are in the order of its actions."""

    def __init__(self, reasons: list[Reason]) -> None:
        super().__init__([reason.code for reason in reasons])
        self.reasons = reasons


def code_of(error: BaseException) -> str:
    """Returns AWS's error code, or the class name where the SDK itself raised."""
    response: Mapping[str, Any] = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code") or type(error).__name__)


def status_of(error: BaseException) -> int:
    """Returns the HTTP status of an AWS error, 0 where there was no answer."""
    response: Mapping[str, Any] = getattr(error, "response", None) or {}
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)


def is_busy(error: BaseException) -> bool:
    """Whether an error of the SDK is throttling, a timeout or a fault on AWS's side."""
    from botocore.exceptions import ConnectionError as NoConnection
    from botocore.exceptions import HTTPClientError, IncompleteReadError

    if isinstance(error, NoConnection | HTTPClientError | IncompleteReadError):
        return True
    status = status_of(error)
    return code_of(error) in BUSY_CODES or status >= 500 or status == 429


def refused_as(error: PermanentInternal, *codes: str) -> bool:
    """Whether an error that `aws_errors` made has one of these codes of AWS."""
    return error.details.get("aws_code") in codes


@contextmanager
def aws_errors(operation: str, busy: type[JoineryError] = TransientStore) -> Iterator[None]:
    """Turns errors of the AWS SDK inside the block into ours.

    Args:
        operation: What was asked for, such as `UpdateItem`.
        busy: What throttling, timeouts and faults of AWS become.

    Raises:
        ConditionFailed: A condition did not hold.
        Contended: Another writer was there; call again.
        TransactionCancelled: A transaction did not go through.
        JoineryError: `busy`, or PermanentInternal with AWS's code in its details.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise _translate(error, operation, busy) from error


def _translate(error: Exception, operation: str, busy: type[JoineryError]) -> Exception:
    code = code_of(error)
    if code == "ConditionalCheckFailedException":
        return ConditionFailed(getattr(error, "response", {}).get("Item"))
    if code == "TransactionCanceledException":
        rows = getattr(error, "response", {}).get("CancellationReasons", [])
        return TransactionCancelled(
            [Reason(str(row.get("Code") or "None"), row.get("Item")) for row in rows]
        )
    if code in CONTENDED_CODES:
        return Contended(code)
    if is_busy(error):
        return busy(f"AWS did not answer {operation} in time", aws_code=code)
    return PermanentInternal(f"AWS refused {operation}", aws_code=code)
