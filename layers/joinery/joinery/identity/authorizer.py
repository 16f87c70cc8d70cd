"""What the authorizer answers to API Gateway, in the two forms that it asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from joinery.errors import Unauthorized
from joinery.identity.tokens import Caller, Tokens, authenticate

POLICY_VERSION = "2012-10-17"


def authorize(tokens: Callable[[], Tokens], event: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Answers a request of either API.

    The HTTP API asks for a simple response. The WebSocket API asks, once at
    `$connect`, for an IAM policy; its context comes with every later message of
    the connection, which is how commands know the owner and the token's end.

    Args:
        tokens: Where tokens are; asked for only when there is one to look up.
        event: API Gateway's REQUEST authorizer event.
        now: Epoch seconds.
    """
    try:
        caller = authenticate(tokens(), event.get("headers") or {}, now)
    except Unauthorized:
        caller = None
    if "methodArn" in event:
        return _policy(caller, str(event["methodArn"]))
    if caller is None:
        return {"isAuthorized": False}
    return {"isAuthorized": True, "context": _context(caller)}


def _policy(caller: Caller | None, method_arn: str) -> dict[str, Any]:
    """Returns the policy for all routes of the stage that was asked for, or for none."""
    # arn:aws:execute-api:<region>:<account>:<api>/<stage>/$connect
    stage = "/".join(method_arn.split("/")[:2])
    statement = {
        "Action": "execute-api:Invoke",
        "Effect": "Allow" if caller else "Deny",
        "Resource": f"{stage}/*",
    }
    answer: dict[str, Any] = {
        "principalId": caller.owner if caller else "nobody",
        "policyDocument": {"Version": POLICY_VERSION, "Statement": [statement]},
    }
    if caller:
        answer["context"] = _context(caller)
    return answer


def _context(caller: Caller) -> dict[str, Any]:
    return {"owner": caller.owner, "expires_at": int(caller.expires_at)}
