"""Who watches a run: an item each beside the run, counted by the control item."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from joinery.aws.event_log import EventLog
from joinery.aws.items import (
    SUBSCRIBERS,
    get_float,
    get_string,
    key,
    number,
    run_pk,
    string,
    subscriber_sk,
)
from joinery.aws.table import Table
from joinery.errors import NotFound


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One connection that watches a run.

    Attributes:
        connection_id: Its connection.
        owner: Who it belongs to.
        expires_at: Epoch seconds from which nothing is sent to it.
    """

    connection_id: str
    owner: str
    expires_at: float


class SubscriberTable:
    """What a run store does with subscribers.

    Args:
        table: The state table.
        events: The runs' logs, which know the control items.
        clock: Epoch seconds.
    """

    def __init__(self, table: Table, events: EventLog, clock: Callable[[], float]) -> None:
        self._table, self._events, self._clock = table, events, clock

    def add(self, run_id: str, connection_id: str, owner: str, expires_at: float) -> None:
        """Adds a subscriber, or renews it; running nodes learn of it within a second.

        Raises:
            NotFound: There is no such run.
        """
        place = key(run_pk(run_id), subscriber_sk(connection_id))
        # The item first: whoever sees the new version must find it.
        self._table.put(
            {
                **place,
                "owner": string(owner),
                "expires_at": number(expires_at),
                "ttl": number(int(expires_at)),
            }
        )
        try:
            self._events.subscribers_changed(run_id)
        except NotFound:
            self._table.delete(place)
            raise

    def remove(self, run_id: str, connection_id: str) -> None:
        """Removes a subscriber; one that is not there is no error."""
        if self._table.delete(key(run_pk(run_id), subscriber_sk(connection_id))):
            self._events.subscribers_changed(run_id)

    def all(self, run_id: str) -> list[Subscriber]:
        """Returns who watches a run; what has expired is left out."""
        now = self._clock()
        found = [
            Subscriber(
                get_string(item, "sk").removeprefix(SUBSCRIBERS),
                get_string(item, "owner"),
                get_float(item, "expires_at"),
            )
            for item in self._table.prefix(run_pk(run_id), SUBSCRIBERS)
        ]
        return [subscriber for subscriber in found if subscriber.expires_at > now]
