"""Keys of model providers for the local stack: from the environment into its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from joinery.llm.keys import VARIABLES, EnvironmentKeys

if TYPE_CHECKING:
    from joinery_cli.local.state import LocalStack

KEYS_PATH: Final = "/joinery/local/models"
"""Where the function that runs nodes finds them; one parameter for each provider."""


def put_keys(stack: LocalStack, environ: Mapping[str, str]) -> list[str]:
    """Stores the keys that are in the environment, and forgets those that are not.

    Returns:
        The providers that have one.
    """
    ssm = stack.client("ssm")
    keys = EnvironmentKeys(environ)
    # The key of the default model is a parameter of the template.
    found = {
        provider: key
        for provider in VARIABLES
        if provider not in ("local", "openai-compatible") and (key := keys.key(provider))
    }
    for provider, key in found.items():
        ssm.put_parameter(
            Name=f"{KEYS_PATH}/{provider}", Value=key, Type="SecureString", Overwrite=True
        )
    gone = [f"{KEYS_PATH}/{provider}" for provider in VARIABLES if provider not in found]
    for start in range(0, len(gone), 10):
        ssm.delete_parameters(Names=gone[start : start + 10])
    return list(found)
