"""Turns the error answers of the API back into Joinery's own errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from joinery import errors, input_errors

_BY_STATUS: Mapping[int, type[errors.JoineryError]] = {
    400: errors.InvalidRequest,
    401: errors.Unauthorized,
    403: errors.Unauthorized,
    404: errors.NotFound,
    409: errors.Conflict,
    413: errors.TooLarge,
    422: errors.InvalidRequest,
    429: errors.Unavailable,
}

_BY_CODE: Mapping[str, type[errors.JoineryError]] = {
    "unknown_action": errors.InvalidRequest,
    "cursor_ahead": errors.InvalidRequest,
}
"""Errors of the socket, whose classes are not the library's."""


def error_from(status: int, body: Any) -> errors.JoineryError:
    """Returns the error that an answer stands for.

    Args:
        status: The HTTP status; 0 when there is none, as in a socket's frame.
        body: `{"error": {code, message, details?}}`, or what a gateway answered instead.
    """
    shown = body.get("error") if isinstance(body, dict) else None
    if not isinstance(shown, dict):
        text = body.get("message") if isinstance(body, dict) else None
        return _kind("", status)(f"the API answered {status}: {text or 'no reason given'}")
    message = str(shown.get("message", "no reason given"))
    details: Mapping[str, Any] = shown.get("details") or {}
    code = str(shown.get("code", ""))
    if code == errors.InvalidWorkflow.code:
        return errors.InvalidWorkflow([_problem(row) for row in details.get("errors", ())])
    error = _kind(code, status)(message)
    # A code that has no class of its own here is still told.
    error.details = details if error.code == code else {**details, "code": code}
    return error


def _kind(code: str, status: int) -> type[errors.JoineryError]:
    for kind in _plain_kinds(errors.JoineryError):
        if kind.code == code:
            return kind
    if code in _BY_CODE:
        return _BY_CODE[code]
    if status >= 502:
        return errors.Unavailable
    return _BY_STATUS.get(status, errors.JoineryError)


def _plain_kinds(base: type[errors.JoineryError]) -> Iterator[type[errors.JoineryError]]:
    """Yields all errors of requests; those of nodes never answer a request."""
    for kind in base.__subclasses__():
        if kind in (errors.NodeError, errors.InvalidWorkflow):
            continue
        # Errors that other packages derive have other constructors.
        if kind.__module__ in (errors.__name__, input_errors.__name__):
            yield kind
            yield from _plain_kinds(kind)


def _problem(row: Mapping[str, Any]) -> errors.Problem:
    known = errors.Problem.__dataclass_fields__
    return errors.Problem(**{name: value for name, value in row.items() if name in known})
