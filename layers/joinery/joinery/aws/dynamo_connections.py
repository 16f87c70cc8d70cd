"""Open WebSocket connections: who each belongs to, and until when its token is good."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from joinery import limits
from joinery.aws.items import get_float, get_string, key, live, number, string
from joinery.aws.table import Table


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection; `expires_at` is in epoch seconds."""

    connection_id: str
    owner: str
    expires_at: float


class DynamoConnections:
    """Keeps connections.

    Args:
        client: DynamoDB client.
        table: Name of the connections table.
        clock: Epoch seconds.
    """

    def __init__(self, client: Any, table: str, *, clock: Callable[[], float] = time.time) -> None:
        self._table, self._clock = Table(client, table), clock

    def put(self, connection_id: str, owner: str, expires_at: float) -> None:
        """Stores a connection whose token is good until `expires_at`.

        The item itself goes when API Gateway would have closed the connection.
        """
        closes_at = self._clock() + limits.WEBSOCKET_LIFETIME_S
        self._table.put(
            {
                **_key(connection_id),
                "owner": string(owner),
                "expires_at": number(expires_at),
                "ttl": number(int(closes_at) + 1),
            }
        )

    def get(self, connection_id: str) -> Connection | None:
        """Returns a connection, None when there is none or its token has expired."""
        item = self._table.get(_key(connection_id))
        now = self._clock()
        if item is None or not live(item, now) or get_float(item, "expires_at") <= now:
            return None
        return Connection(connection_id, get_string(item, "owner"), get_float(item, "expires_at"))

    def delete(self, connection_id: str) -> None:
        """Forgets a connection; one that is not there is no error."""
        self._table.delete(_key(connection_id))


def _key(connection_id: str) -> dict[str, Any]:
    return key(f"CONN#{connection_id}", "CONN")
