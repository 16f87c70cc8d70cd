"""Makes what nodes use outside of an installation: models with their keys and limits, and tools."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from joinery.aws.clients import Clients
    from joinery.llm.calls import Calls
    from joinery.llm.keys import Keys
    from joinery.llm.types import Provider
    from joinery.nodes.base import Models
    from joinery.settings import Settings
    from joinery.tools.services import ToolServices


def calls(settings: Settings, clients: Clients) -> Calls:
    """Returns limits and breakers that all functions of the installation share."""
    from joinery.aws.dynamo_limits import DynamoBreakers, DynamoRates
    from joinery.llm.breaker import FAILURES, Breaker
    from joinery.llm.calls import Calls
    from joinery.llm.rates import parse_limits

    client, table = clients.dynamodb, settings.catalog_table
    failures = int(settings.breaker_failures or FAILURES)
    breaker = Breaker(DynamoBreakers(client, table), failures=failures, clock=time.time)
    return Calls(DynamoRates(client, table), breaker, parse_limits(settings.model_limits))


def tool_services(settings: Settings, clients: Clients) -> ToolServices:
    """Returns what tools may use; no secret is read yet."""
    from joinery.tools.services import EnvironmentSecrets, Secrets, ToolServices

    secrets: Secrets = EnvironmentSecrets(os.environ)
    if settings.tool_secrets:
        from joinery.aws.tool_secrets import StoredSecrets

        secrets = StoredSecrets(clients.secrets, settings.tool_secrets)
    return ToolServices(secrets, private_addresses=settings.tool_addresses == "any")


def scripted(cassette: Any) -> Models:
    """Returns models whose answers are those of a cassette.

    Raises:
        InvalidRequest: It is none.
    """
    from joinery.llm.registry import ModelSettings, Registry
    from joinery.llm.scripted import Cassette

    read = Cassette.from_data(cassette)
    return Registry(ModelSettings.from_env(os.environ), cassette=read)


def registry(clients: Clients, keys: Keys, flag: str) -> Models:
    """Returns all models, or with a flag the one that stands in for every other.

    Raises:
        PermanentModelUnknown: The flag names no provider.
    """
    from joinery.llm.registry import ModelSettings, Registry, parse_model_flag

    def bedrock() -> Provider:
        from joinery.aws.bedrock import Bedrock

        return Bedrock(clients.bedrock)

    return Registry(
        ModelSettings.from_env(os.environ),
        override=parse_model_flag(flag) if flag else None,
        keys=keys,
        makers={"bedrock": bedrock},
    )


def model_keys(settings: Settings, clients: Clients) -> Keys:
    """Returns where the keys of providers are; nothing is read yet."""
    from joinery.llm.keys import EnvironmentKeys, StoredKeys

    hint = "on a laptop set {names} before `joinery local up`"
    if not (settings.model_keys_path or settings.model_keys_secret):
        hint = (
            f"name its place by the template's parameter ModelKeysSecret or ModelKeysPath; {hint}"
        )
    keys: Keys = EnvironmentKeys(os.environ, hint=hint)
    if settings.model_keys_path:
        from joinery.aws.model_keys import parameter_reader

        path = settings.model_keys_path
        where = f"put it as the parameter {path}/{{provider}}"
        keys = StoredKeys(parameter_reader(clients.ssm, path), where=where, fallback=keys)
    if settings.model_keys_secret:
        from joinery.aws.model_keys import secret_reader

        secret = settings.model_keys_secret
        where = (
            "put it under '{provider}' into the secret of the template's parameter ModelKeysSecret"
        )
        keys = StoredKeys(secret_reader(clients.secrets, secret), where=where, fallback=keys)
    return keys
