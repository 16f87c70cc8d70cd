"""Passes: what lets an EventSource come back to the stream that a ticket opened.

An EventSource asks the same address again, with the same ticket, which is used up by
then. So the first answer sets a cookie that opens the same run's events again, for
reading, as the same owner. A page cannot read it (`HttpOnly`), another site's page
cannot send it (`SameSite=Strict`), and it is kept by its hash alone. It lasts some
minutes and longer only while it is being used, to the end of the token at most.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from joinery.errors import Unauthorized
from joinery.identity.tokens import Caller, token_hash

PASS_S: Final = 300.0
"""How long a pass lasts that nobody uses: a laptop's short sleep."""

COOKIE: Final = "joinery_events"

_LOOPBACK: Final = re.compile(r"(127(\.\d{1,3}){3}|\[::1\]|([a-z0-9-]+\.)*localhost)(:\d+)?")
_PASS: Final = re.compile(r"jp_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Pass:
    """What a pass is good for.

    Attributes:
        caller: Whose it is; with the end of the token behind it.
        run_id: The run whose events it opens.
        expires_at: Epoch seconds at which it ends unless it is used before.
    """

    caller: Caller
    run_id: str
    expires_at: float


class Passes(Protocol):
    """Keeps passes."""

    def put_pass(self, sha256: str, held: Pass) -> None:
        """Stores a pass under its hash, or stores it anew."""
        ...

    def find_pass(self, sha256: str) -> Pass | None:
        """Returns the pass with this hash, None when there is none or it has expired."""
        ...


def issue_pass(passes: Passes, caller: Caller, run_id: str, now: float) -> str:
    """Returns a new pass to the events of a run."""
    secret = f"jp_{secrets.token_urlsafe(32)}"
    passes.put_pass(token_hash(secret), Pass(caller, run_id, _until(caller, now)))
    return secret


def show_pass(passes: Callable[[], Passes], secret: str, now: float) -> Pass:
    """Returns what a pass is good for; one that is used lasts on.

    Args:
        passes: Where passes are; asked for only when this may be one.
        secret: What the cookie held: anything.
        now: Epoch seconds.

    Raises:
        Unauthorized: It is malformed, unknown or expired, or its token is.
    """
    sha256 = token_hash(secret)
    held = passes().find_pass(sha256) if _PASS.fullmatch(secret) else None
    if held is None or min(held.expires_at, held.caller.expires_at) <= now:
        raise Unauthorized("no valid pass")
    until = _until(held.caller, now)
    # Written once in half its life, not at each of an EventSource's requests.
    if held.expires_at < min(until, now + PASS_S / 2):
        held = Pass(held.caller, held.run_id, until)
        passes().put_pass(sha256, held)
    return held


def _until(caller: Caller, now: float) -> float:
    return min(now + PASS_S, caller.expires_at)


# -- the cookie ----------------------------------------------------------------------------


def set_cookie(secret: str, host: str) -> str:
    """Returns the header that gives a pass to a browser.

    Without a path of its own the cookie goes where it came from, `…/runs/<run_id>/…`,
    whatever stands before that. Without an age it is never written to a disk.

    Args:
        secret: The pass.
        host: The request's `Host`; the emulator on a laptop has no TLS.
    """
    secure = "" if _is_loopback(host) else "; Secure"
    return f"{COOKIE}={secret}; HttpOnly; SameSite=Strict{secure}"


def cookie_of(event: Mapping[str, Any]) -> str:
    """Returns the pass that came with a request of API Gateway; empty when none did."""
    headers = event.get("headers") or {}
    given = event.get("cookies") or [
        part for name, value in headers.items() if name.lower() == "cookie"
        for part in value.split(";")
    ]  # fmt: skip
    for part in given:
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return str(value)
    return ""


def _is_loopback(host: str) -> bool:
    return bool(_LOOPBACK.fullmatch(host.lower()))
