"""Requests of tools to servers outside: bounded in time and size, to public addresses only."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from joinery.tool_errors import (
    PermanentToolAnswer,
    TransientToolTimeout,
    TransientToolUnreachable,
)
from joinery.tools.addresses import pinned
from joinery.tools.base import ToolUse

ANSWER_BYTES: Final = 64 * 1024 * 1024
"""Longest answer that is read: it is held in memory, beside the node's own data."""

CONNECT_S: Final = 5.0
"""Longest time to open a connection, in seconds."""

BUSY: Final = frozenset({429, 502, 503, 504})
"""Statuses that mean: later."""

AGENT: Final = "joinery"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    status: int
    media: str
    body: bytearray
    charset: str

    @property
    def text(self) -> str:
        """The body as text; what is no text of its charset becomes `U+FFFD`."""
        try:
            return self.body.decode(self.charset, "replace")
        except LookupError:
            return self.body.decode("utf-8", "replace")

    @property
    def is_json(self) -> bool:
        """Whether it says that it is JSON."""
        return self.media == "application/json" or self.media.endswith("+json")


class PinnedTransport(httpx.BaseTransport):
    """Connects to the address that was checked, and to no other.

    Args:
        private: Whether private addresses are allowed.
    """

    def __init__(self, *, private: bool) -> None:
        self._private = private
        # Connections are kept by address, where two servers may stand: none is kept.
        self._inner = httpx.HTTPTransport(limits=httpx.Limits(max_keepalive_connections=0))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request; the certificate is checked against the name."""
        host, port = request.url.host, request.url.port
        port = port or (443 if request.url.scheme == "https" else 80)
        request.url = request.url.copy_with(host=pinned(host, port, private=self._private))
        request.extensions = {**request.extensions, "sni_hostname": host}
        return self._inner.handle_request(request)

    def close(self) -> None:
        """Closes what is open."""
        self._inner.close()


def send(
    method: str,
    url: str,
    use: ToolUse,
    timeout_s: float,
    *,
    private: bool,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    json: Any = None,
    media: str = "application/json",
    data: Mapping[str, Any] | None = None,
) -> Answer:
    """Sends one request and reads the answer whole; redirects are answers, not followed.

    Args:
        method: The method.
        url: Where to.
        use: The call that it is for: its deadline, its cancelling, its key.
        timeout_s: Longest time of it all, in seconds.
        private: Whether private addresses are allowed.
        params: The query.
        headers: Headers besides our own.
        json: The body as JSON; None for none.
        media: What that JSON is called.
        data: The body as a form.

    Raises:
        TransientToolUnreachable: There is nobody, or who is there is busy.
        TransientToolTimeout: The time was up, or nobody waits any more.
        PermanentToolAddress: The address may not be reached.
        PermanentToolAnswer: The answer is longer than `ANSWER_BYTES`, or packed wrongly.
    """
    until = min(use.deadline, time.monotonic() + timeout_s)
    host = httpx.URL(url).host
    client = httpx.Client(
        transport=PinnedTransport(private=private),
        timeout=httpx.Timeout(max(0.001, until - time.monotonic()), connect=CONNECT_S),
        headers={"User-Agent": AGENT, **({} if json is None else {"Content-Type": media})},
    )
    try:
        with client, client.stream(
            method, url, params=params, headers=headers, json=json, data=data
        ) as response:  # fmt: skip
            if response.status_code in BUSY:
                raise TransientToolUnreachable(
                    f"'{host}' answered {response.status_code}",
                    host=host,
                    status=response.status_code,
                )
            body = _read(response, host, until, use.cancelled)
            media = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            return Answer(response.status_code, media, body, response.charset_encoding or "utf-8")
    except httpx.TimeoutException as error:
        if isinstance(error, httpx.ConnectTimeout):
            raise TransientToolUnreachable(f"'{host}' does not answer", host=host) from error
        raise _late(host) from error
    except httpx.DecodingError as error:
        raise PermanentToolAnswer(
            f"'{host}' answered what nobody reads: {error}", host=host
        ) from error
    except httpx.TransportError as error:
        raise TransientToolUnreachable(f"'{host}' was not reached: {error}", host=host) from error


def _read(
    response: httpx.Response, host: str, until: float, cancelled: Callable[[], bool]
) -> bytearray:
    body = bytearray()
    for piece in response.iter_bytes():
        body += piece
        if len(body) > ANSWER_BYTES:
            raise PermanentToolAnswer(
                f"'{host}' answered with more than {ANSWER_BYTES:,} bytes",
                host=host,
                limit=ANSWER_BYTES,
            )
        if time.monotonic() > until or cancelled():
            raise _late(host)
    return body  # as it is: a copy would be as large again


def _late(host: str) -> TransientToolTimeout:
    return TransientToolTimeout(f"'{host}' did not answer in time", host=host)
