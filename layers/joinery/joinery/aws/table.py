"""One DynamoDB table: calls with our errors, pages, batches, and patience with contention."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from joinery import limits
from joinery.aws.errors import (
    BUSY_CODES,
    CONDITION_CODE,
    CONTENDED_CODES,
    Contended,
    Item,
    TransactionCancelled,
    aws_errors,
)
from joinery.aws.items import Attribute, check_item, check_transaction
from joinery.errors import PermanentInternal, TransientStore

T = TypeVar("T")

TRIES: Final = 8
"""Tries of a call that meets other writers: with full jitter 1.6 s in the mean, 3.3 s at most."""

_BACKOFF_S: Final = 0.02
_BACKOFF_MAX_S: Final = 1.0


class Table:
    """A table behind a low-level client.

    Args:
        client: DynamoDB client.
        name: Name of the table.
        sleep: Waits a number of seconds.
    """

    def __init__(
        self, client: Any, name: str, *, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        self._client, self._name, self._sleep = client, name, sleep

    # -- reads -------------------------------------------------------------------------

    def get(self, key: Item) -> Item | None:
        """Returns an item, strongly consistent; None where there is none."""
        answer = self._call("get_item", Key=key, ConsistentRead=True)
        found: Item | None = answer.get("Item")
        return found

    def query(self, **parameters: Any) -> Iterator[Item]:
        """Yields the items of a query, page by page; a `Limit` is that of the first page."""
        start: Item | None = None
        while True:
            more = {"ExclusiveStartKey": start} if start else {}
            page = self._call("query", **parameters, **more)
            yield from page.get("Items", [])
            start = page.get("LastEvaluatedKey")
            if not start:
                return

    def prefix(self, pk: str, prefix: str, **parameters: Any) -> Iterator[Item]:
        """Yields the items of a partition whose sort key begins so, strongly consistent."""
        return self.query(
            KeyConditionExpression="pk = :pk AND begins_with(sk, :prefix)",
            ExpressionAttributeValues={":pk": {"S": pk}, ":prefix": {"S": prefix}},
            ConsistentRead=True,
            **parameters,
        )

    def batch_get(self, keys: Sequence[Item]) -> list[Item]:
        """Returns the items that exist, in no order, strongly consistent.

        Raises:
            TransientStore: The table kept leaving keys unprocessed.
        """
        found: list[Item] = []
        most = limits.DYNAMODB_BATCH_GET_ITEMS
        for first in range(0, len(keys), most):
            todo: Sequence[Item] = keys[first : first + most]
            for attempt in range(TRIES):
                answer = self._send(
                    "batch_get_item",
                    RequestItems={self._name: {"Keys": todo, "ConsistentRead": True}},
                )
                found.extend(answer.get("Responses", {}).get(self._name, []))
                todo = answer.get("UnprocessedKeys", {}).get(self._name, {}).get("Keys", [])
                if not todo:
                    break
                self._back_off(attempt)
            else:
                raise TransientStore("the table is throttled: it leaves keys unread")
        return found

    # -- writes ------------------------------------------------------------------------

    def put(self, item: Item, **condition: Any) -> None:
        """Stores an item. Raises: ConditionFailed, with what is stored."""
        check_item(item)
        self._call("put_item", Item=item, **_telling(condition))

    def update(self, key: Item, **parameters: Any) -> Item:
        """Changes an item; returns what `ReturnValues` asks for. Raises: ConditionFailed."""
        answer = self._call("update_item", Key=key, **_telling(parameters))
        changed: Item = answer.get("Attributes", {})
        return changed

    def delete(self, key: Item) -> bool:
        """Deletes an item; returns whether there was one."""
        return self.take(key) is not None

    def delete_if(self, key: Item, **condition: Any) -> None:
        """Deletes an item. Raises: ConditionFailed, with what is stored."""
        self._call("delete_item", Key=key, **_telling(condition))

    def take(self, key: Item) -> Item | None:
        """Deletes an item and returns it; of many who try, one gets it and the others None."""
        taken: Item | None = self._call("delete_item", Key=key, ReturnValues="ALL_OLD").get(
            "Attributes"
        )
        return taken

    def batch_delete(self, keys: Sequence[Item]) -> None:
        """Deletes items by their keys; those that do not exist are no error.

        Raises:
            TransientStore: The table kept leaving keys unprocessed.
        """
        most = limits.DYNAMODB_BATCH_WRITE_ITEMS
        for first in range(0, len(keys), most):
            todo = [{"DeleteRequest": {"Key": key}} for key in keys[first : first + most]]
            for attempt in range(TRIES):
                answer = self._send("batch_write_item", RequestItems={self._name: todo})
                todo = answer.get("UnprocessedItems", {}).get(self._name, [])
                if not todo:
                    break
                self._back_off(attempt)
            else:
                raise TransientStore("the table is throttled: it leaves keys undeleted")

    def transact(self, actions: Sequence[Mapping[str, Any]]) -> None:
        """Does all actions or none; names the table in each of them.

        Contention is waited out under the same token, so AWS does the actions once.

        Raises:
            TransactionCancelled: A condition did not hold; the reasons are in order.
            TransientStore: Contention or throttling did not end, or nobody knows the outcome.
            TooLarge: Too many actions or bytes.
        """
        check_transaction(actions)
        named = [
            {kind: {"TableName": self._name, **_telling(fields)}}
            for action in actions
            for kind, fields in action.items()
        ]
        token = uuid.uuid4().hex

        def send() -> None:
            try:
                self._send("transact_write_items", TransactItems=named, ClientRequestToken=token)
            except TransactionCancelled as cancelled:
                raise _sorted_out(cancelled) from None

        self._patiently(send)

    # -- calls -------------------------------------------------------------------------

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._patiently(lambda: self._send(method, TableName=self._name, **parameters))

    def _send(self, method: str, **parameters: Any) -> dict[str, Any]:
        with aws_errors("".join(word.title() for word in method.split("_"))):
            answer: dict[str, Any] = getattr(self._client, method)(**parameters)
        return answer

    def _patiently(self, send: Callable[[], T]) -> T:
        for attempt in range(TRIES):
            try:
                return send()
            except Contended:
                self._back_off(attempt)
        raise TransientStore("too many writers at one item")

    def _back_off(self, attempt: int) -> None:
        # Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        self._sleep(random.uniform(0, min(_BACKOFF_MAX_S, _BACKOFF_S * 2**attempt)))


def _telling(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Asks for the stored item where a condition fails, which saves reading it."""
    if "ConditionExpression" not in fields:
        return dict(fields)
    return {**fields, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}


def _sorted_out(cancelled: TransactionCancelled) -> Exception:
    """Returns what a cancelled transaction amounts to: conditions, contention or a defect."""
    codes = {reason.code for reason in cancelled.reasons} - {"None"}
    if CONDITION_CODE in codes:
        return cancelled
    if codes <= CONTENDED_CODES | BUSY_CODES:
        return Contended(", ".join(sorted(codes)))
    return PermanentInternal("AWS refused TransactWriteItems", aws_code=", ".join(sorted(codes)))


def values(**attributes: Attribute) -> dict[str, Attribute]:
    """Returns `ExpressionAttributeValues` with the colons added."""
    return {f":{name}": value for name, value in attributes.items()}
