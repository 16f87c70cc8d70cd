"""A pass opens one run's events again, for whoever opened them by a ticket."""

from __future__ import annotations

from typing import Any

import pytest
from kit.tickets import Passes, Secrets, Tickets

from joinery.errors import Unauthorized
from joinery.identity.authorizer import VIEW_ROUTE, authorize
from joinery.identity.passes import (
    COOKIE,
    PASS_S,
    cookie_of,
    issue_pass,
    set_cookie,
    show_pass,
)
from joinery.identity.tickets import issue_ticket
from joinery.identity.tokens import Caller, token_hash

RUN = "run_01kaj4z5v9c8w1h7x2m3n4p5q6"
NOW = 1_764_000_000.0
ADA = Caller("ada", NOW + 3_600)


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def passes(clock: Clock) -> Passes:
    return Passes(clock)


def show(passes: Passes, secret: str) -> str:
    return show_pass(lambda: passes, secret, passes.clock()).run_id


def test_a_pass_is_good_for_its_run_and_kept_by_its_hash(passes: Passes) -> None:
    secret = issue_pass(passes, ADA, RUN, NOW)
    assert list(passes.rows) == [token_hash(secret)]
    assert show(passes, secret) == RUN
    assert show(passes, secret) == RUN


def test_it_lasts_while_it_is_used_and_is_seldom_written(passes: Passes, clock: Clock) -> None:
    secret = issue_pass(passes, ADA, RUN, NOW)
    for _ in range(600):
        clock.now += 1
        assert show(passes, secret) == RUN
    assert passes.puts <= 1 + 600 / (PASS_S / 2)
    clock.now += PASS_S
    with pytest.raises(Unauthorized):
        show(passes, secret)


def test_it_ends_with_its_token_however_much_it_is_used(passes: Passes, clock: Clock) -> None:
    secret = issue_pass(passes, ADA, RUN, NOW)
    while clock.now < ADA.expires_at:
        show(passes, secret)
        clock.now += 100
    with pytest.raises(Unauthorized):
        show(passes, secret)


@pytest.mark.parametrize("secret", ["", "jp_", "jp_" + "A" * 43, "jt_" + "A" * 43])
def test_what_is_made_up_is_refused(passes: Passes, secret: str) -> None:
    with pytest.raises(Unauthorized):
        show(passes, secret)


# -- the cookie --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "secure"),
    [
        ("abc123.execute-api.us-east-1.amazonaws.com", True),
        ("127.0.0.1.evil.example", True),
        ("localhost.evil.example", True),
        ("", True),
        ("127.0.0.1:4566", False),
        ("localhost:4566", False),
        ("api.localhost", False),
        ("[::1]:4566", False),
    ],
)
def test_no_page_can_read_or_send_it(host: str, secure: bool) -> None:
    header = set_cookie("jp_x", host)
    assert header.startswith(f"{COOKIE}=jp_x; HttpOnly; SameSite=Strict")
    assert header.endswith("; Secure") is secure
    # Then it goes where it came from: …/runs/<run_id>/.
    assert "Path" not in header


@pytest.mark.parametrize(
    "event",
    [
        {"cookies": ["a=b", f"{COOKIE}=jp_x"]},
        {"headers": {"Cookie": f"a=b; {COOKIE}=jp_x; c=d"}},
        {"headers": {"cookie": f"{COOKIE}=jp_x"}, "cookies": []},
    ],
)
def test_it_is_found_among_others(event: dict[str, Any]) -> None:
    assert cookie_of(event) == "jp_x"


@pytest.mark.parametrize("event", [{}, {"headers": None}, {"headers": {"cookie": "a"}}])
def test_it_may_be_missing(event: dict[str, Any]) -> None:
    assert cookie_of(event) == ""


# -- the authorizer ----------------------------------------------------------------------


def ask(secrets: Secrets, secret: str, **more: Any) -> dict[str, Any]:
    event = {"headers": {}, "cookies": [f"{COOKIE}={secret}"], "routeKey": VIEW_ROUTE, **more}
    return authorize(secrets, event, NOW)


def test_a_pass_is_known_for_the_events_and_nowhere_else(passes: Passes) -> None:
    secret = issue_pass(passes, ADA, RUN, NOW)
    tickets = Tickets(passes.clock)
    secrets = Secrets(None, tickets, passes)
    found = {"owner": "ada", "expires_at": int(ADA.expires_at), "via": "pass", "run_id": RUN}
    assert ask(secrets, secret) == {"isAuthorized": True, "context": found}
    nowhere = Secrets(Tokens())
    assert ask(nowhere, secret, routeKey="$default") == {"isAuthorized": False}
    arn = "arn:aws:execute-api:us-east-1:123456789012:abc123/dev/$connect"
    policy = ask(Secrets(None, tickets), secret, routeKey=None, methodArn=arn)
    assert policy["policyDocument"]["Statement"][0]["Effect"] == "Deny"


def test_a_pass_that_has_ended_leaves_the_ticket(passes: Passes) -> None:
    tickets = Tickets(passes.clock)
    ticket = issue_ticket(tickets, ADA, NOW).ticket
    query = {"ticket": ticket}
    answer = ask(Secrets(None, tickets, passes), "jp_" + "A" * 43, queryStringParameters=query)
    assert answer["context"]["via"] == "ticket"


class Tokens:
    def owner_of_token(self, sha256: str) -> tuple[str, float] | None:
        return None
