"""Secrets of tools in Secrets Manager."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from moto import mock_aws

from joinery.aws.clients import Clients
from joinery.aws.tool_secrets import KEPT_S, StoredSecrets
from joinery.tool_errors import PermanentToolSecret
from joinery.tools.services import Secret


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        yield Clients(region="us-east-1")


def test_each_secret_names_its_hosts_and_is_read_again_after_a_while(clients: Clients) -> None:
    now = [0.0]
    rows = {"notes": {"value": "Bearer 1", "hosts": ["api.example.com", "*.example.org"]}}
    arn = clients.secrets.create_secret(Name="s", SecretString=json.dumps(rows))["ARN"]
    stored = StoredSecrets(clients.secrets, arn, lambda: now[0])
    assert stored.secret("notes") == Secret("Bearer 1", ("api.example.com", "*.example.org"))
    assert stored.secret("other") is None
    rows["notes"]["value"] = "Bearer 2"
    clients.secrets.put_secret_value(SecretId=arn, SecretString=json.dumps(rows))
    now[0] = KEPT_S - 1
    assert stored.secret("notes") == Secret("Bearer 1", ("api.example.com", "*.example.org"))
    now[0] = KEPT_S
    found = stored.secret("notes")
    assert found is not None
    assert found.value == "Bearer 2"


@pytest.mark.parametrize(
    "text",
    [
        "s3cret-not-json",
        '["s3cret-list"]',
        '{"notes": "s3cret-text"}',
        '{"notes": {"value": "s3cret-without-hosts"}}',
        '{"notes": {"value": "s3cret", "hosts": []}}',
        '{"notes": {"value": "s3cret", "hosts": "api.example.com"}}',
    ],
)
def test_what_has_another_form_is_not_shown(clients: Clients, text: str) -> None:
    clients.secrets.create_secret(Name="s", SecretString=text)
    with pytest.raises(PermanentToolSecret, match="JSON object") as found:
        StoredSecrets(clients.secrets, "s").secret("notes")
    assert "s3cret" not in str(found.value)
    assert found.value.__cause__ is None


def test_a_secret_that_is_not_there(clients: Clients) -> None:
    with pytest.raises(PermanentToolSecret, match="ResourceNotFoundException"):
        StoredSecrets(clients.secrets, "none").secret("notes")
