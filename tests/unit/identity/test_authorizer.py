"""Who may call: one answer for the HTTP API, another for the WebSocket API."""

from __future__ import annotations

from typing import Any

import pytest
from kit.tickets import Secrets, Tickets

from joinery.identity.authorizer import authorize
from joinery.identity.tokens import token_hash

TOKEN = "jn_a-token-of-some-length"
NOW = 1_764_000_000.0
METHOD = "arn:aws:execute-api:us-east-1:123456789012:abc123/dev/$connect"


class Tokens:
    def __init__(self, *rows: tuple[str, str, float]) -> None:
        self.rows = {token_hash(token): (owner, end) for token, owner, end in rows}
        self.asked: list[str] = []

    def owner_of_token(self, sha256: str) -> tuple[str, float] | None:
        self.asked.append(sha256)
        return self.rows.get(sha256)


TOKENS = Tokens((TOKEN, "ada", NOW + 60), ("jn_" + "e" * 20, "ada", NOW), ("x" * 20, "", NOW + 9))


def http(headers: dict[str, str] | None, **more: Any) -> dict[str, Any]:
    event = {"version": "2.0", "type": "REQUEST", "headers": headers, **more}
    return authorize(Secrets(TOKENS, Tickets(lambda: NOW)), event, NOW)


@pytest.mark.parametrize("name", ["authorization", "Authorization", "AUTHORIZATION"])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Bearer "])
def test_a_good_token_is_let_in(name: str, scheme: str) -> None:
    answer = http({name: f"{scheme} {TOKEN}"})
    assert answer == {
        "isAuthorized": True,
        "context": {"owner": "ada", "expires_at": int(NOW + 60)},
    }


BAD = [
    None,
    {},
    {"authorization": ""},
    {"authorization": TOKEN},
    {"authorization": f"Basic {TOKEN}"},
    {"authorization": "Bearer"},
    {"authorization": "Bearer short"},
    {"authorization": f"Bearer {TOKEN}x"},
    {"authorization": f"Bearer {TOKEN} {TOKEN}"},
    {"authorization": f"Bearer {TOKEN}\n"},
    {"authorization": "Bearer " + "x" * 600},
    {"authorization": "Bearer jn_" + "ü" * 20},
    {"authorization": "Bearer jn_" + "e" * 20},
    {"authorization": "Bearer " + "x" * 20},
    {"x-token": f"Bearer {TOKEN}"},
]


@pytest.mark.parametrize("headers", BAD)
def test_everything_else_is_kept_out(headers: dict[str, str] | None) -> None:
    assert http(headers) == {"isAuthorized": False}
    policy = http(headers, methodArn=METHOD)
    assert policy["policyDocument"]["Statement"][0]["Effect"] == "Deny"
    assert "context" not in policy


def test_a_token_in_the_query_is_not_looked_at() -> None:
    query = {"authorization": f"Bearer {TOKEN}", "token": TOKEN}
    assert http({}, queryStringParameters=query) == {"isAuthorized": False}


def test_a_malformed_token_costs_no_look_up() -> None:
    tokens = Tokens()
    authorize(Secrets(tokens), {"headers": {"authorization": "Bearer x"}}, NOW)
    assert not tokens.asked
    assert authorize(Secrets(tokens), {"headers": {}}, NOW) == {"isAuthorized": False}


def test_the_socket_gets_a_policy_for_its_stage() -> None:
    answer = http({"authorization": f"Bearer {TOKEN}"}, methodArn=METHOD)
    assert answer["principalId"] == "ada"
    assert answer["context"] == {"owner": "ada", "expires_at": int(NOW + 60)}
    [statement] = answer["policyDocument"]["Statement"]
    assert statement["Effect"] == "Allow"
    assert statement["Resource"] == METHOD.replace("$connect", "*")


def test_only_hashes_are_looked_up() -> None:
    tokens = Tokens()
    event = {"headers": {"authorization": f"Bearer {TOKEN}"}}
    authorize(Secrets(tokens), event, NOW)
    assert tokens.asked == [token_hash(TOKEN)]
    assert TOKEN not in str(tokens.asked)
