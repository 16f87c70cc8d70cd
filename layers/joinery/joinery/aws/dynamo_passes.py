"""Passes to the events of a run, in the connections table: only their hashes are stored."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from joinery.aws.items import get_float, get_string, key, live, number, string
from joinery.aws.table import Table
from joinery.identity.passes import Pass
from joinery.identity.tokens import Caller


class DynamoPasses:
    """Keeps passes.

    Args:
        client: DynamoDB client.
        table: Name of the connections table.
        clock: Epoch seconds.
    """

    def __init__(self, client: Any, table: str, *, clock: Callable[[], float] = time.time) -> None:
        self._table, self._clock = Table(client, table), clock

    def put_pass(self, sha256: str, held: Pass) -> None:
        """See `Passes.put_pass`."""
        self._table.put(
            {
                **_key(sha256),
                "owner": string(held.caller.owner),
                "token_ends": number(held.caller.expires_at),
                "run_id": string(held.run_id),
                "ttl": number(int(held.expires_at)),
            }
        )

    def find_pass(self, sha256: str) -> Pass | None:
        """See `Passes.find_pass`."""
        item = self._table.get(_key(sha256))
        if item is None or not live(item, self._clock()):
            return None
        caller = Caller(get_string(item, "owner"), get_float(item, "token_ends"))
        return Pass(caller, get_string(item, "run_id"), get_float(item, "ttl"))


def _key(sha256: str) -> dict[str, Any]:
    return key(f"PASS#{sha256}", "PASS")
