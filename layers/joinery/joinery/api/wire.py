"""What goes in and out over HTTP: strict JSON, bounded both ways."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute

from joinery import limits
from joinery.errors import TooLarge
from joinery.strictjson import parse_json, to_json

REQUEST_BYTES: Final = limits.LAMBDA_SYNC_BYTES - 1024 * 1024
"""Largest body: Lambda's event is JSON around it, so quotes and line ends count twice there."""

RESPONSE_BYTES: Final = limits.LAMBDA_SYNC_BYTES - 1024 * 1024
"""Largest answer, as Lambda sends it: as JSON text inside JSON."""

_MOST_GROWTH: Final = 2
"""Quotes and backslashes take two bytes inside JSON text; nothing else in JSON grows."""


class Answer(Response):
    """A JSON answer.

    Args:
        content: What to answer.
        status_code: HTTP status.
        instead: What a client can ask for when this is too large.
        headers: Headers besides.

    Raises:
        TooLarge: The answer passes `RESPONSE_BYTES`; says what to ask for instead.
    """

    media_type = "application/json"

    def __init__(
        self,
        content: Any,
        status_code: int = 200,
        *,
        instead: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        body = to_json(content)
        if len(body) * _MOST_GROWTH > RESPONSE_BYTES:
            size = len(body) + body.count(b'"') + body.count(b"\\")
            if size > RESPONSE_BYTES:
                raise TooLarge(
                    f"the answer would have {size:,} bytes; the limit is {RESPONSE_BYTES:,}"
                    + (f": ask for {instead}" if instead else ""),
                    limit=RESPONSE_BYTES,
                    actual=size,
                )
        super().__init__(body, status_code, headers)


class StrictRequest(Request):
    """A request whose JSON is read strictly."""

    async def json(self) -> Any:
        """Returns the body.

        Raises:
            InvalidRequest: It is not JSON as RFC 8259 has it, or is nested too deeply.
            TooLarge: It passes `REQUEST_BYTES`.
        """
        body = await self.body()
        if len(body) > REQUEST_BYTES:
            raise TooLarge(
                f"the body has {len(body):,} bytes; the limit is {REQUEST_BYTES:,}",
                limit=REQUEST_BYTES,
                actual=len(body),
            )
        return parse_json(body)


class StrictRoute(APIRoute):
    """A route that reads its body as `StrictRequest` does."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Returns FastAPI's handler around a strict request."""
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            return await inner(StrictRequest(request.scope, request.receive))

        return handler
