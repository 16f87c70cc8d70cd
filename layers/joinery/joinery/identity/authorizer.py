"""What the authorizer answers to API Gateway, in the two forms that it asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from joinery.errors import Unauthorized
from joinery.identity.tickets import Tickets, redeem_ticket
from joinery.identity.tokens import Caller, Tokens, authenticate, has_header

POLICY_VERSION = "2012-10-17"


VIEW_ROUTE: Final = "GET /runs/{run_id}/events"
"""The one route of the HTTP API that a browser opens without a header.

Its authorizer lets everybody through and says who they are; for nobody the API
itself answers 401, which tells an EventSource to stop. API Gateway could only
answer 403, or 401 to whoever sends no header at all.
"""


def authorize(
    tokens: Callable[[], Tokens],
    tickets: Callable[[], Tickets],
    event: Mapping[str, Any],
    now: float,
) -> dict[str, Any]:
    """Answers a request of either API.

    The HTTP API asks for a simple response. The WebSocket API asks, once at
    `$connect`, for an IAM policy; its context comes with every later message of
    the connection, which is how commands know the owner and the token's end.

    A header is believed before a ticket, which is then not used up.

    Args:
        tokens: Where tokens are; asked for only when there is one to look up.
        tickets: Where tickets are; asked for only where one may stand in the query.
        event: API Gateway's REQUEST authorizer event.
        now: Epoch seconds.
    """
    headers = event.get("headers") or {}
    by_socket, to_view = "methodArn" in event, event.get("routeKey") == VIEW_ROUTE
    context: dict[str, Any] | None = None
    try:
        if (by_socket or to_view) and not has_header(headers):
            ticket = (event.get("queryStringParameters") or {}).get("ticket") or ""
            caller = redeem_ticket(tickets, ticket, now)
            context = {**_context(caller), "via": "ticket"}
        else:
            context = _context(authenticate(tokens(), headers, now))
    except Unauthorized:
        context = None
    if by_socket:
        return _policy(context, str(event["methodArn"]))
    if context is None and not to_view:
        return {"isAuthorized": False}
    return {"isAuthorized": True, "context": context or {}}


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
