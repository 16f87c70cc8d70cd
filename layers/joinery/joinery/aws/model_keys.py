"""Keys of model providers in Secrets Manager or in SSM parameters."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from joinery.aws.errors import code_of, is_busy
from joinery.llm.registry import provider_name
from joinery.model_errors import PermanentModelAuth, TransientModelUnavailable


def secret_reader(client: Any, secret_id: str) -> Callable[[], Mapping[str, str]]:
    """Returns what reads all keys from one secret: a JSON object of keys by provider.

    Args:
        client: Secrets Manager.
        secret_id: The secret's ARN or name.
    """

    def read() -> Mapping[str, str]:
        with _reading("the secret of the template's parameter ModelKeysSecret"):
            text = client.get_secret_value(SecretId=secret_id).get("SecretString") or ""
        try:
            told = json.loads(text)
        except ValueError:
            told = None
        if not isinstance(told, dict) or not all(isinstance(v, str) for v in told.values()):
            # What it holds instead may be a key.
            raise PermanentModelAuth(
                "the secret with the model keys must be a JSON object such as "
                '{"openai": "sk-…", "anthropic": "sk-ant-…"}'
            ) from None
        return {provider_name(name): key for name, key in told.items()}

    return read


def parameter_reader(client: Any, path: str) -> Callable[[], Mapping[str, str]]:
    """Returns what reads all keys from SSM: the parameter `<path>/openai` is OpenAI's.

    Args:
        client: SSM.
        path: Such as `/joinery/prod/models`.
    """
    path = "/" + path.strip("/")

    def read() -> Mapping[str, str]:
        found: dict[str, str] = {}
        more: dict[str, str] = {}
        while True:
            with _reading(f"the parameters below {path} (ModelKeysPath)"):
                page = client.get_parameters_by_path(Path=path, WithDecryption=True, **more)
            for row in page["Parameters"]:
                found[provider_name(row["Name"].rsplit("/", 1)[1])] = row["Value"]
            if not page.get("NextToken"):
                return found
            more = {"NextToken": page["NextToken"]}

    return read


@contextmanager
def _reading(what: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        code = code_of(error)
        if is_busy(error):
            raise TransientModelUnavailable(
                f"{what} could not be read in time ({code})", aws_code=code
            ) from error
        raise PermanentModelAuth(f"{what} cannot be read ({code})", aws_code=code) from error
