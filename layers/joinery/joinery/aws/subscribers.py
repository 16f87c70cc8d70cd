"""Who watches a run: an item each beside the run, counted by the control item."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from joinery import limits
from joinery.aws.conditions import present, updating
from joinery.aws.errors import ConditionFailed
from joinery.aws.event_log import EventLog
from joinery.aws.items import (
    SUBSCRIBERS,
    boolean,
    get_bool,
    get_float,
    get_string,
    key,
    number,
    run_pk,
    string,
    subscriber_sk,
)
from joinery.aws.table import Table, values
from joinery.errors import NotFound


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One connection that watches a run.

    Attributes:
        connection_id: Its connection.
        owner: Who it belongs to.
        expires_at: Epoch seconds from which nothing is sent to it.
        since: When it subscribed first; the first ones are live.
        lagging: Whether it could not follow; until it subscribes again it is told to pull.
    """

    connection_id: str
    owner: str
    expires_at: float
    since: float = 0.0
    lagging: bool = False


class SubscriberTable:
    """What a run store does with subscribers.

    Args:
        table: The state table.
        events: The runs' logs, which know the control items.
        clock: Epoch seconds.
    """

    def __init__(self, table: Table, events: EventLog, clock: Callable[[], float]) -> None:
        self._table, self._events, self._clock = table, events, clock

    def add(self, run_id: str, connection_id: str, owner: str, expires_at: float) -> bool:
        """Adds a subscriber, or renews it; running nodes learn of it within a second.

        Returns:
            Whether it is one of the first, who get everything live.

        Raises:
            NotFound: There is no such run.
        """
        place = key(run_pk(run_id), subscriber_sk(connection_id))
        # The item first: whoever sees the new version must find it.
        self._table.update(
            place,
            UpdateExpression=(
                "SET #owner = :owner, expires_at = :until, #ttl = :ttl, "
                "since = if_not_exists(since, :now) REMOVE lagging"
            ),
            ExpressionAttributeNames={"#owner": "owner", "#ttl": "ttl"},
            ExpressionAttributeValues=values(
                owner=string(owner),
                until=number(expires_at),
                ttl=number(int(expires_at)),
                now=number(self._clock()),
            ),
        )
        try:
            changes = self._events.subscribers_changed(run_id)
        except NotFound:
            self._table.delete(place)
            raise
        # Each of them was one change: only where there were many is there need to look.
        if changes <= limits.LIVE_VIEWERS:
            return True
        live, _ = by_room(self.all(run_id))
        return connection_id in {subscriber.connection_id for subscriber in live}

    def lag(self, run_id: str, connection_id: str) -> None:
        """Notes that a subscriber could not follow; one that is not there is no error."""
        place = key(run_pk(run_id), subscriber_sk(connection_id))
        with suppress(ConditionFailed):
            self._table.update(
                place, **updating(present(), "SET lagging = :yes", yes=boolean(True))
            )
            self._events.subscribers_changed(run_id)

    def remove(self, run_id: str, connection_id: str) -> None:
        """Removes a subscriber; one that is not there is no error."""
        if self._table.delete(key(run_pk(run_id), subscriber_sk(connection_id))):
            self._events.subscribers_changed(run_id)

    def all(self, run_id: str) -> list[Subscriber]:
        """Returns who watches a run, the first ones first; what has expired is left out."""
        now = self._clock()
        found = [
            Subscriber(
                get_string(item, "sk").removeprefix(SUBSCRIBERS),
                get_string(item, "owner"),
                get_float(item, "expires_at"),
                get_float(item, "since"),
                get_bool(item, "lagging"),
            )
            for item in self._table.prefix(run_pk(run_id), SUBSCRIBERS)
        ]
        watching = (subscriber for subscriber in found if subscriber.expires_at > now)
        return sorted(watching, key=lambda subscriber: (subscriber.since, subscriber.connection_id))


def by_room(watching: Sequence[Subscriber]) -> tuple[list[Subscriber], list[Subscriber]]:
    """Returns who gets everything live, and who is told to pull.

    Every process that posts for a run divides its subscribers alike.
    """
    able = [subscriber for subscriber in watching if not subscriber.lagging]
    live = able[: limits.LIVE_VIEWERS]
    return live, [s for s in watching if s.lagging] + able[limits.LIVE_VIEWERS :]
