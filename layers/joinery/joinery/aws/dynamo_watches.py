"""Which runs a WebSocket connection watches: an item each beside the connection."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from joinery import limits
from joinery.aws.items import get_string, key, live, number
from joinery.aws.table import Table

_RUNS: Final = "RUN#"


class DynamoWatches:
    """Keeps what connections watch, so that it can end when they close.

    Args:
        client: DynamoDB client.
        table: Name of the connections table.
        clock: Epoch seconds.
    """

    def __init__(self, client: Any, table: str, *, clock: Callable[[], float] = time.time) -> None:
        self._table, self._clock = Table(client, table), clock

    def add(self, connection_id: str, run_id: str) -> None:
        """Notes that a connection watches a run."""
        closes_at = int(self._clock()) + limits.WEBSOCKET_LIFETIME_S + 1
        self._table.put({**_key(connection_id, run_id), "ttl": number(closes_at)})

    def remove(self, connection_id: str, run_id: str) -> None:
        """Forgets that; what is not there is no error."""
        self._table.delete(_key(connection_id, run_id))

    def of(self, connection_id: str) -> list[str]:
        """Returns the runs that a connection watches."""
        now = self._clock()
        items = self._table.prefix(_pk(connection_id), _RUNS)
        return [get_string(i, "sk").removeprefix(_RUNS) for i in items if live(i, now)]


def _pk(connection_id: str) -> str:
    return f"CONN#{connection_id}"


def _key(connection_id: str, run_id: str) -> dict[str, Any]:
    return key(_pk(connection_id), f"{_RUNS}{run_id}")
