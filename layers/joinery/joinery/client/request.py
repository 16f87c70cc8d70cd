"""One request to the HTTP API, and what its answer means."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit

from joinery.client.failures import error_from
from joinery.errors import Unavailable

TIMEOUT_S: Final = 35.0
"""The HTTP API itself gives up after 30 s."""

TRIES: Final = 4
_FIRST_PAUSE_S: Final = 0.2
_RETRIED_STATUSES: Final = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Call:
    """A request. `tries` is 1 where the caller repeats it by itself."""

    method: str
    path: str
    body: Any = None
    headers: Mapping[str, str] | None = None
    params: Mapping[str, Any] | None = None
    tries: int = TRIES


def outcome(status: int, answer: Any, method: str = "GET") -> dict[str, Any] | Unavailable:
    """Returns what an answer brought, or why another try may help.

    Args:
        status: The HTTP status.
        answer: The JSON of the body; None when it was none.
        method: That of the request: only `DELETE` may answer nothing.

    Raises:
        JoineryError: Another try would end the same.
    """
    if 200 <= status < 300 and isinstance(answer, dict):
        return answer
    if 200 <= status < 300 and method == "DELETE":
        return {}
    failure = error_from(status, answer)
    if status in _RETRIED_STATUSES:
        return Unavailable(failure.message, **failure.details)
    raise failure


def no_answer(base_url: str, error: Exception) -> Unavailable:
    """Returns what it means that a request got no answer at all."""
    return Unavailable(f"no answer from {base_url}: {error or type(error).__name__}")


def pause_s(attempt: int) -> float:
    """Returns how long to wait after a try, counted from 1."""
    return _FIRST_PAUSE_S * float(2 ** (attempt - 1)) * random.uniform(0.5, 1.5)


def is_loopback(url: str) -> bool:
    """Whether an address is on this very machine."""
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")


def path_of(kind: str, id_: str, rest: str = "") -> str:
    """Returns a path with an id in it, which stays one part whatever it holds."""
    return f"/{kind}/{quote(id_, safe='')}{rest}"


def authorization(token: str) -> dict[str, str]:
    """Returns the headers that say who is calling."""
    return {"Authorization": f"Bearer {token}"} if token else {}
