"""Keys of the environment in the parameters of the local stack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from joinery.aws.model_keys import parameter_reader
from joinery_cli.local.model_keys import KEYS_PATH, put_keys


class Stack:
    def client(self, service: str) -> Any:
        return boto3.client(service, region_name="us-east-1")  # type: ignore[call-overload]


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        yield Stack()


def test_keys_come_and_go_with_the_environment(stack: Any) -> None:
    read = parameter_reader(stack.client("ssm"), KEYS_PATH)
    first = {"OPENAI_API_KEY": "sk-1", "GOOGLE_API_KEY": "g", "JOINERY_MODEL_API_KEY": "own"}
    assert put_keys(stack, first) == ["openai", "gemini"]
    assert read() == {"openai": "sk-1", "gemini": "g"}
    assert put_keys(stack, {"OPENAI_API_KEY": "sk-2"}) == ["openai"]
    assert read() == {"openai": "sk-2"}
    assert put_keys(stack, {}) == []
    assert read() == {}
