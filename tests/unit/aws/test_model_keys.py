"""Keys in Secrets Manager and in SSM parameters."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from moto import mock_aws

from joinery.aws.clients import Clients
from joinery.aws.model_keys import parameter_reader, secret_reader
from joinery.bootstrap_models import model_keys
from joinery.model_errors import PermanentModelAuth, TransientModelUnavailable
from joinery.settings import Settings


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        yield Clients(region="us-east-1")


def test_a_secret_holds_all_keys(clients: Clients) -> None:
    keys = {"openai": "sk-1", "Claude": "sk-2"}
    arn = clients.secrets.create_secret(Name="keys", SecretString=json.dumps(keys))["ARN"]
    read = secret_reader(clients.secrets, arn)
    assert read() == {"openai": "sk-1", "anthropic": "sk-2"}
    clients.secrets.put_secret_value(SecretId=arn, SecretString='{"openai": "sk-3"}')
    assert read() == {"openai": "sk-3"}


@pytest.mark.parametrize("text", ["sk-not-json", '["sk-list"]', '{"openai": {"key": "sk-deep"}}'])
def test_a_secret_of_another_form_is_not_shown(clients: Clients, text: str) -> None:
    clients.secrets.create_secret(Name="keys", SecretString=text)
    with pytest.raises(PermanentModelAuth, match="JSON object") as refused:
        secret_reader(clients.secrets, "keys")()
    assert not {"sk-not-json", "sk-list", "sk-deep"} & set(
        str(refused.value).replace('"', " ").split()
    )
    assert refused.value.__cause__ is None


def test_a_secret_that_is_not_there(clients: Clients) -> None:
    with pytest.raises(PermanentModelAuth, match="ResourceNotFoundException"):
        secret_reader(clients.secrets, "none")()


def test_parameters_hold_a_key_each_on_all_pages(clients: Clients) -> None:
    names = [*(f"p{n:02}" for n in range(12)), "openai"]
    for name in names:
        clients.ssm.put_parameter(
            Name=f"/joinery/dev/models/{name}", Value=f"sk-{name}", Type="SecureString"
        )
    clients.ssm.put_parameter(Name="/joinery/prod/models/openai", Value="no", Type="String")
    found = parameter_reader(clients.ssm, "/joinery/dev/models/")()
    assert found == {name: f"sk-{name}" for name in names}
    assert parameter_reader(clients.ssm, "/nothing")() == {}


def test_places_that_cannot_be_read_are_named(clients: Clients) -> None:
    with pytest.raises(PermanentModelAuth, match="template's parameter ModelKeysSecret cannot be"):
        secret_reader(clients.secrets, "none")()


@pytest.mark.parametrize(
    ("stores", "places"),
    [
        ({}, ["ModelKeysSecret or ModelKeysPath"]),
        ({"model_keys_path": "/k"}, ["as the parameter /k/openai"]),
        ({"model_keys_secret": "arn"}, ["under 'openai' into the secret"]),
        (
            {"model_keys_path": "/k", "model_keys_secret": "arn"},
            ["under 'openai' into the secret", "as the parameter /k/openai"],
        ),
    ],
)
def test_each_place_of_a_key_is_told_in_the_order_in_which_they_count(
    clients: Clients, stores: dict[str, str], places: list[str]
) -> None:
    settings = Settings("s", "t", "c", "w", "b", "e", **stores)
    hint = model_keys(settings, clients).hint("openai")
    found = [hint.index(place) for place in [*places, "on a laptop set OPENAI_API_KEY"]]
    assert found == sorted(found)


def test_a_store_that_does_not_answer_is_tried_again_later() -> None:
    away = Clients(
        region="us-east-1", endpoint_url="http://127.0.0.1:9", aws_access_key_id="a",
        aws_secret_access_key="b",
    )  # fmt: skip
    for read in (secret_reader(away.secrets, "keys"), parameter_reader(away.ssm, "/p")):
        with pytest.raises(TransientModelUnavailable):
            read()
