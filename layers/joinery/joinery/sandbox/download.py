"""Fetches a package over HTTP with nothing but the standard library.

`run_code` has no name server: who calls it says the addresses as well.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import closing
from typing import IO, Final
from urllib.parse import urlsplit

from joinery.code_errors import PermanentCodePackage, TransientCodeRunner

CONNECT_S: Final = 3.0
"""Inside a region a connection takes milliseconds."""

_PIECE: Final = 1_048_576
_OK: Final = 200
_SERVER_ERROR: Final = 500
_LATER: Final = (408, 429)


def download(
    url: str, addresses: Sequence[str], into: IO[bytes], size: int, deadline: float
) -> None:
    """Writes what an address answers into a file.

    Args:
        url: Where it is; kept out of all messages, for it is good for whoever has it.
        addresses: IP addresses of its host; where there are none, its name is looked up.
        into: The file.
        size: Its bytes; more are not taken.
        deadline: `time.monotonic()` by which it must be here.

    Raises:
        PermanentCodePackage: It is not there, or has another size.
        TransientCodeRunner: The place does not answer, or not in time.
    """
    place = urlsplit(url)
    host = place.hostname or ""
    port = place.port or (443 if place.scheme == "https" else 80)
    reason = "no address"
    for address in addresses or (host,):
        try:
            with closing(_connection(address, host, port, place.scheme, deadline)) as connection:
                connection.request("GET", f"{place.path}?{place.query}")
                answer = connection.getresponse()
                _check(answer.status)
                _copy(answer, into, size, deadline)
                return
        except (OSError, http.client.HTTPException) as error:
            reason = type(error).__name__
            into.seek(0)
            into.truncate()
            if time.monotonic() >= deadline:
                break
    raise TransientCodeRunner(f"the packages of the code could not be fetched: {reason}")


def _connection(
    address: str, host: str, port: int, scheme: str, deadline: float
) -> http.client.HTTPConnection:
    left = max(0.1, min(CONNECT_S, deadline - time.monotonic()))
    made = http.client.HTTPConnection(host, port)
    connected = socket.create_connection((address, port), timeout=left)
    if scheme == "https":
        try:
            connected = ssl.create_default_context().wrap_socket(connected, server_hostname=host)
        except BaseException:
            connected.close()
            raise
    connected.settimeout(max(0.1, deadline - time.monotonic()))
    made.sock = connected
    return made


def _check(status: int) -> None:
    if status == _OK:
        return
    if status >= _SERVER_ERROR or status in _LATER:
        raise http.client.HTTPException(f"status {status}")
    raise PermanentCodePackage(
        "the packages of the code are not where they were published to", status=status
    )


def _copy(answer: http.client.HTTPResponse, into: IO[bytes], size: int, deadline: float) -> None:
    read = 0
    while piece := answer.read(_PIECE):
        read += len(piece)
        if read > size:
            raise PermanentCodePackage("the packages of the code have another size than published")
        if time.monotonic() >= deadline:
            raise TimeoutError
        into.write(piece)
