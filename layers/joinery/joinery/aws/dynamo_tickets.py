"""Tickets, in the connections table: only their hashes are stored."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from joinery.aws.items import get_float, get_string, key, live, number, string
from joinery.aws.table import Table
from joinery.identity.tokens import Caller


class DynamoTickets:
    """Keeps tickets until they are used.

    Args:
        client: DynamoDB client.
        table: Name of the connections table.
        clock: Epoch seconds.
    """

    def __init__(self, client: Any, table: str, *, clock: Callable[[], float] = time.time) -> None:
        self._table, self._clock = Table(client, table), clock

    def put_ticket(self, sha256: str, caller: Caller, expires_at: float) -> None:
        """See `Tickets.put_ticket`."""
        self._table.put(
            {
                **_key(sha256),
                "owner": string(caller.owner),
                "token_ends": number(caller.expires_at),
                # Rounded down: a ticket never lasts longer than was said.
                "ttl": number(int(expires_at)),
            }
        )

    def take_ticket(self, sha256: str) -> Caller | None:
        """See `Tickets.take_ticket`."""
        item = self._table.take(_key(sha256))
        if item is None or not live(item, self._clock()):
            return None
        return Caller(get_string(item, "owner"), get_float(item, "token_ends"))


def _key(sha256: str) -> dict[str, Any]:
    return key(f"TICKET#{sha256}", "TICKET")
