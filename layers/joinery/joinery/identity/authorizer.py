"""What the authorizer answers to API Gateway, in the two forms that it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, Protocol

from joinery.errors import Unauthorized
from joinery.identity.passes import Passes, cookie_of, show_pass
from joinery.identity.tickets import Tickets, redeem_ticket
from joinery.identity.tokens import Caller, Tokens, authenticate, has_header

POLICY_VERSION = "2012-10-17"


VIEW_ROUTE: Final = "GET /runs/{run_id}/events"
"""The one route of the HTTP API that a browser opens without a header.

Its authorizer lets everybody through and says who they are; for nobody the API
itself answers 401, which tells an EventSource to stop. API Gateway could only
answer 403, or 401 to whoever sends no header at all.
"""


class Secrets(Protocol):
    """Where secrets are looked up; each part is asked for only when it is needed."""

    def tokens(self) -> Tokens:
        """Returns the tokens of callers."""
        ...

    def tickets(self) -> Tickets:
        """Returns the tickets that were not used yet."""
        ...

    def passes(self) -> Passes:
        """Returns the passes to the events of a run."""
        ...


def authorize(secrets: Secrets, event: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Answers a request of either API.

    The HTTP API asks for a simple response. The WebSocket API asks, once at
    `$connect`, for an IAM policy; its context comes with every later message of
    the connection, which is how commands know the owner and the token's end.

    Args:
        secrets: Where secrets are looked up.
        event: API Gateway's REQUEST authorizer event.
        now: Epoch seconds.
    """
    by_socket, to_view = "methodArn" in event, event.get("routeKey") == VIEW_ROUTE
    context: dict[str, Any] | None = None
    with suppress(Unauthorized):
        context = _found(secrets, event, now, by_socket=by_socket, to_view=to_view)
    if by_socket:
        return _policy(context, str(event["methodArn"]))
    if context is None and not to_view:
        return {"isAuthorized": False}
    return {"isAuthorized": True, "context": context or {}}


def _found(
    secrets: Secrets, event: Mapping[str, Any], now: float, *, by_socket: bool, to_view: bool
) -> dict[str, Any]:
    """Returns who sent a request. Raises: Unauthorized.

    A header is believed or not, whatever else came. A pass is looked at before a
    ticket: when an EventSource comes back its ticket is used up.
    """
    headers = event.get("headers") or {}
    if has_header(headers) or not (by_socket or to_view):
        return _context(authenticate(secrets.tokens(), headers, now))
    if to_view:
        with suppress(Unauthorized):
            held = show_pass(secrets.passes, cookie_of(event), now)
            return {**_context(held.caller), "via": "pass", "run_id": held.run_id}
    ticket = (event.get("queryStringParameters") or {}).get("ticket") or ""
    return {**_context(redeem_ticket(secrets.tickets, ticket, now)), "via": "ticket"}


def _policy(context: dict[str, Any] | None, method_arn: str) -> dict[str, Any]:
    """Returns the policy for all routes of the stage that was asked for, or for none."""
    # arn:aws:execute-api:<region>:<account>:<api>/<stage>/$connect
    stage = "/".join(method_arn.split("/")[:2])
    statement = {
        "Action": "execute-api:Invoke",
        "Effect": "Allow" if context else "Deny",
        "Resource": f"{stage}/*",
    }
    answer: dict[str, Any] = {
        "principalId": context["owner"] if context else "nobody",
        "policyDocument": {"Version": POLICY_VERSION, "Statement": [statement]},
    }
    if context:
        answer["context"] = context
    return answer


def _context(caller: Caller) -> dict[str, Any]:
    return {"owner": caller.owner, "expires_at": int(caller.expires_at)}
