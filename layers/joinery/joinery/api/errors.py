"""Every error as `{"error": {code, message, retryable, details?, request_id}}`."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException

from joinery.api.wire import Answer
from joinery.errors import InvalidRequest, JoineryError, NotFound

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger(__name__)


class MethodNotAllowed(JoineryError):
    """The path exists, but not for this method."""

    code = "method_not_allowed"
    http_status = 405


class Internal(JoineryError):
    """Something unexpected; what it was is in the log under the request's id."""

    code = "internal"


def install(app: FastAPI) -> None:
    """Makes an application answer every error in the one shape."""
    app.add_exception_handler(JoineryError, _on_joinery_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(StarletteHTTPException, _on_http_exception)
    app.add_middleware(Boundary)


def request_id_of(scope: MutableMapping[str, Any]) -> str:
    """Returns the id under which API Gateway knows a request."""
    known = scope.get("aws.event", {}).get("requestContext", {}).get("requestId")
    if not known:
        known = scope.setdefault("joinery.request_id", uuid4().hex)
    return str(known)


def error_answer(error: JoineryError, scope: MutableMapping[str, Any]) -> Response:
    """Returns an error as it is sent."""
    request_id = request_id_of(scope)
    status = error.http_status
    if status == 500 and error.retryable:
        status = 503
    shown = error
    if status == 500:
        log.error("request %s failed", request_id, exc_info=error)
        shown = Internal("something went wrong here; the request's id finds it in the log")
    return Answer({"error": {**shown.to_dict(), "request_id": request_id}}, status)


async def _on_joinery_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, JoineryError)
    return error_answer(error, request.scope)


async def _on_invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    rows = [
        {"where": ".".join(str(part) for part in row["loc"]), "message": _message(row)}
        for row in error.errors()
    ]
    first = f"{rows[0]['where']}: {rows[0]['message']}"
    more = f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""
    return error_answer(InvalidRequest(f"{first}{more}", errors=rows), request.scope)


def _message(row: dict[str, Any]) -> str:
    if row["loc"] == ("body",) and row["type"] in {"missing", "model_attributes_type"}:
        return "a JSON object is needed, with the header Content-Type: application/json"
    return str(row["msg"]).removeprefix("Value error, ")


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException | HTTPException)
    shown: JoineryError
    if isinstance(error.__cause__, JoineryError):
        # FastAPI wraps whatever reading the body raises.
        return error_answer(error.__cause__, request.scope)
    match error.status_code:
        case 404:
            shown = NotFound(f"there is no {request.url.path}")
        case 405:
            shown = MethodNotAllowed(f"{request.url.path} takes no {request.method}")
        case status if status < 500:
            shown = InvalidRequest(str(error.detail))
        case _:
            shown = Internal(str(error.detail))
    return error_answer(shown, request.scope)


class Boundary:
    """The last one to catch: whatever escapes becomes an answer without internals.

    FastAPI's own handler for `Exception` raises again after it has answered.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the application for one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def watch(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except Exception as error:
            if begun:
                raise
            internal = Internal(type(error).__name__)
            internal.__cause__ = error
            await error_answer(internal, scope)(scope, receive, send)
