"""Tickets are good once, for half a minute, for opening a stream and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from kit.tickets import Passes, Secrets, Tickets

from joinery.errors import Unauthorized
from joinery.identity.authorizer import VIEW_ROUTE, authorize
from joinery.identity.tickets import TICKET_S, issue_ticket, redeem_ticket
from joinery.identity.tokens import Caller, token_hash

ADA = Caller("ada", 1_764_003_600.0)
METHOD = "arn:aws:execute-api:us-east-1:123456789012:abc123/dev/$connect"


class Clock:
    now = 1_764_000_000.0

    def __call__(self) -> float:
        return self.now


class NoTokens:
    def owner_of_token(self, sha256: str) -> tuple[str, float] | None:
        return None


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tickets(clock: Clock) -> Tickets:
    return Tickets(clock)


def redeem(tickets: Tickets, ticket: str) -> Caller:
    return redeem_ticket(lambda: tickets, ticket, tickets.clock())


def test_a_ticket_is_good_once(tickets: Tickets, clock: Clock) -> None:
    issued = issue_ticket(tickets, ADA, clock())
    assert issued.expires_at == clock() + TICKET_S
    assert redeem(tickets, issued.ticket) == ADA
    with pytest.raises(Unauthorized):
        redeem(tickets, issued.ticket)


def test_only_its_hash_is_kept(tickets: Tickets, clock: Clock) -> None:
    issued = issue_ticket(tickets, ADA, clock())
    assert list(tickets.rows) == [token_hash(issued.ticket)]
    assert issue_ticket(tickets, ADA, clock()).ticket != issued.ticket


def test_it_ends_after_half_a_minute(tickets: Tickets, clock: Clock) -> None:
    issued = issue_ticket(tickets, ADA, clock())
    clock.now += TICKET_S
    with pytest.raises(Unauthorized):
        redeem(tickets, issued.ticket)


def test_it_does_not_outlive_its_token(tickets: Tickets, clock: Clock) -> None:
    issued = issue_ticket(tickets, Caller("ada", clock() + 5), clock())
    assert issued.expires_at == clock() + 5


def test_every_refusal_has_the_same_words_and_nonsense_costs_no_look_up(
    tickets: Tickets, clock: Clock
) -> None:
    used = issue_ticket(tickets, ADA, clock()).ticket
    redeem(tickets, used)
    words = set()
    tickets.asked.clear()
    forged = "jt_" + "A" * 43
    for ticket in (used, forged, "", "jt_", "x" * 46, forged + "A", f"{used},{used}"):
        with pytest.raises(Unauthorized) as refused:
            redeem(tickets, ticket)
        words.add(refused.value.message)
    assert len(words) == 1
    assert len(tickets.asked) == 2


# -- the authorizer --------------------------------------------------------------------------


def ask(tickets: Tickets, ticket: str, **more: Any) -> dict[str, Any]:
    event = {"headers": {}, "queryStringParameters": {"ticket": ticket}, **more}
    return authorize(Secrets(NoTokens(), tickets, Passes(tickets.clock)), event, tickets.clock())


FOUND = {"owner": "ada", "expires_at": int(ADA.expires_at), "via": "ticket"}


def test_a_ticket_opens_a_socket(tickets: Tickets, clock: Clock) -> None:
    ticket = issue_ticket(tickets, ADA, clock()).ticket
    answer = ask(tickets, ticket, methodArn=METHOD)
    assert answer["policyDocument"]["Statement"][0]["Effect"] == "Allow"
    assert (answer["principalId"], answer["context"]) == ("ada", FOUND)
    again = ask(tickets, ticket, methodArn=METHOD)
    assert again["policyDocument"]["Statement"][0]["Effect"] == "Deny"
    assert "context" not in again


def test_a_ticket_opens_the_events_of_a_run(tickets: Tickets, clock: Clock) -> None:
    ticket = issue_ticket(tickets, ADA, clock()).ticket
    assert ask(tickets, ticket, routeKey=VIEW_ROUTE) == {"isAuthorized": True, "context": FOUND}
    # The API says 401 to nobody, which stops an EventSource.
    assert ask(tickets, ticket, routeKey=VIEW_ROUTE) == {"isAuthorized": True, "context": {}}


@pytest.mark.parametrize("route", ["$default", "POST /tickets", "GET /runs/{run_id}/texts", None])
def test_a_ticket_opens_nothing_else(tickets: Tickets, clock: Clock, route: str | None) -> None:
    ticket = issue_ticket(tickets, ADA, clock()).ticket
    assert ask(tickets, ticket, routeKey=route) == {"isAuthorized": False}
    assert not tickets.asked


def test_a_header_that_is_no_good_is_not_made_good_by_a_ticket(
    tickets: Tickets, clock: Clock
) -> None:
    ticket = issue_ticket(tickets, ADA, clock()).ticket
    headers = {"Authorization": "Bearer jn_" + "0" * 20}
    answer = ask(tickets, ticket, headers=headers, methodArn=METHOD)
    assert answer["policyDocument"]["Statement"][0]["Effect"] == "Deny"
    assert not tickets.asked


@pytest.mark.parametrize("query", [None, {}, {"ticket": None}, {"token": "jt_" + "A" * 43}])
def test_a_query_without_one_is_kept_out(tickets: Tickets, query: Any) -> None:
    answer = ask(tickets, "", queryStringParameters=query, methodArn=METHOD)
    assert answer["policyDocument"]["Statement"][0]["Effect"] == "Deny"
