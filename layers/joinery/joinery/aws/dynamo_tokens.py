"""Tokens of callers, in the catalog table: only their hashes are stored."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from joinery.aws.items import get_float, get_string, key, number, string
from joinery.aws.table import Table


class DynamoTokens:
    """Finds whose token it is.

    Args:
        client: DynamoDB client.
        table: Name of the catalog table.
        clock: Epoch seconds.
    """

    def __init__(self, client: Any, table: str, *, clock: Callable[[], float] = time.time) -> None:
        self._table, self._clock = Table(client, table), clock

    def owner_of_token(self, sha256: str) -> tuple[str, float] | None:
        """Returns `(owner, expires_at)` of a token, None when there is none or it has expired.

        Args:
            sha256: Hex digest of the token.
        """
        item = self._table.get(key(f"TOKEN#{sha256}", "TOKEN"))
        if item is None:
            return None
        expires_at = get_float(item, "expires_at")
        return (get_string(item, "owner"), expires_at) if expires_at > self._clock() else None

    def put_token(self, sha256: str, owner: str, expires_at: float) -> None:
        """Stores a token's hash; `expires_at` is in epoch seconds."""
        self._table.put(
            {
                **key(f"TOKEN#{sha256}", "TOKEN"),
                "owner": string(owner),
                "expires_at": number(expires_at),
                "ttl": number(int(expires_at)),
            }
        )

    def delete_token(self, sha256: str) -> bool:
        """Revokes a token; returns whether there was one."""
        return self._table.delete(key(f"TOKEN#{sha256}", "TOKEN"))
