"""What API Gateway tells a page of another origin, with the template's own configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kit.people import Person

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack

PAGE = "https://app.example.com"


@pytest.mark.parametrize("path", ["/tickets", "/runs", "/runs/run_1/events", "/runs/run_1"])
def test_a_preflight_needs_no_token_and_names_what_the_clients_send(
    stack: LocalStack, path: str
) -> None:
    asks = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    answer = Person(stack, "ada").call("OPTIONS", path, headers=asks, bare=True)
    assert answer.status_code == 204
    allowed = answer.headers["Access-Control-Allow-Headers"].split(",")
    assert set(allowed) >= {"authorization", "content-type", "idempotency-key", "last-event-id"}
    assert set(answer.headers["Access-Control-Allow-Methods"].split(",")) == {
        "GET", "POST", "DELETE",
    }  # fmt: skip


def test_answers_may_be_read_and_cookies_may_not_be_used(stack: LocalStack) -> None:
    answer = Person(stack, "ada").call("POST", "/tickets", headers={"Origin": PAGE})
    assert answer.status_code == 201
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_a_page_needs_its_token_all_the_same(stack: LocalStack) -> None:
    answer = Person(stack, "ada").call("GET", "/runs", headers={"Origin": PAGE}, bare=True)
    assert answer.status_code == 401
