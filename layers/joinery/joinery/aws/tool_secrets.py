"""Secrets of tools in Secrets Manager, each with the hosts that it may be sent to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from joinery.aws.errors import code_of, is_busy
from joinery.tool_errors import PermanentToolSecret, TransientToolUnreachable
from joinery.tools.services import Secret

KEPT_S: Final = 60.0
"""How long secrets are used before they are read again."""

_FORM: Final = '{"notes": {"value": "Bearer …", "hosts": ["api.example.com"]}}'


class StoredSecrets:
    """Implements `Secrets` over one secret of Secrets Manager, a JSON object by name.

    Whoever may publish a workflow chooses where its tools lead, so a secret says itself
    where it may be sent.

    Args:
        client: Secrets Manager.
        secret_id: The secret's ARN or name.
        clock: Returns the time in seconds.
    """

    def __init__(
        self, client: Any, secret_id: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client, self._id, self._clock = client, secret_id, clock
        self._lock = threading.Lock()
        self._kept: Mapping[str, Secret] = {}
        self._until = 0.0

    def secret(self, name: str) -> Secret | None:
        """See `Secrets.secret`.

        Raises:
            TransientToolUnreachable: The secret could not be read in time.
            PermanentToolSecret: It cannot be read, or holds something else.
        """
        with self._lock:
            if self._clock() >= self._until:
                self._kept = self._read()
                self._until = self._clock() + KEPT_S
            return self._kept.get(name)

    def hint(self, name: str) -> str:
        """See `Secrets.hint`."""
        return f"put it under '{name}' into the secret of the template's parameter ToolSecrets"

    def _read(self) -> Mapping[str, Secret]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            text = self._client.get_secret_value(SecretId=self._id).get("SecretString") or ""
        except (BotoCoreError, ClientError) as error:
            code = code_of(error)
            kind = TransientToolUnreachable if is_busy(error) else PermanentToolSecret
            raise kind(f"the secrets of tools cannot be read ({code})", aws_code=code) from error
        try:
            return {str(name): _secret(row) for name, row in json.loads(text).items()}
        except (ValueError, AttributeError, KeyError, TypeError):
            # What it holds instead may be a secret, so nothing of it is said.
            raise PermanentToolSecret(
                f"the secrets of tools must be a JSON object such as {_FORM}"
            ) from None


def _secret(row: Any) -> Secret:
    value, hosts = row["value"], row["hosts"]
    if not (isinstance(value, str) and isinstance(hosts, list) and hosts):
        raise ValueError("a value and hosts")
    if not all(isinstance(host, str) and host for host in hosts):
        raise ValueError("hosts are text")
    return Secret(value, tuple(hosts))
