"""What the environment of a function says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from joinery.errors import JoineryError

PREFIX: Final = "JOINERY_"


class NotConfigured(JoineryError):
    """Environment variables are missing."""

    code = "not_configured"


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment, read once; the field `state_table` is `JOINERY_STATE_TABLE`.

    The first ones every function has; those with a default only the functions that
    need them, see `require`.
    """

    stage: str
    state_table: str
    catalog_table: str
    connections_table: str
    bucket: str
    websocket_endpoint: str
    memory_table: str = ""
    run_node_arn: str = ""
    run_code_arn: str = ""
    machine_role_arn: str = ""
    machine_prefix: str = ""
    publisher_function: str = ""
    retention_days: str = ""
    delta_ms: str = ""
    model_limits: str = ""
    breaker_failures: str = ""
    tool_secrets: str = ""
    tool_addresses: str = ""
    model_keys_secret: str = ""
    model_keys_path: str = ""

    @staticmethod
    def from_env(environ: Mapping[str, str]) -> Settings:
        """Returns the settings. Raises: NotConfigured, with all names that are missing."""
        found = {f.name: environ.get(PREFIX + f.name.upper(), "") for f in fields(Settings)}
        settings = Settings(**found)
        settings.require(*list(found)[:6])
        return settings

    def require(self, *names: str) -> Settings:
        """Returns the settings. Raises: NotConfigured, with all of these that are missing."""
        missing = [PREFIX + name.upper() for name in names if not getattr(self, name)]
        if missing:
            raise NotConfigured(f"environment variables are missing: {', '.join(missing)}")
        return self
