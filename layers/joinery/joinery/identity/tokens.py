"""Bearer tokens. A token is stored and looked up by its hash, never as itself."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from joinery.errors import Unauthorized

_BEARER = re.compile(r"(?i)bearer +([A-Za-z0-9._~+/=-]{16,512})")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling.

    Attributes:
        owner: Whose runs and workflows these are.
        expires_at: Epoch seconds at which the token ends.
    """

    owner: str
    expires_at: float


class Tokens(Protocol):
    """Finds tokens."""

    def owner_of_token(self, sha256: str) -> tuple[str, float] | None:
        """Returns owner and end (epoch seconds) of the token with this hash, or None."""
        ...


def token_hash(token: str) -> str:
    """Returns the hash under which a token is stored: SHA-256 in hex.

    The secret is random and long, so a fast hash is enough; and since the table is
    asked for the hash, how long the answer takes says nothing about the secret.
    """
    return hashlib.sha256(token.encode()).hexdigest()


def authenticate(tokens: Tokens, headers: Mapping[str, str], now: float) -> Caller:
    """Returns who sent a request.

    Args:
        tokens: Where tokens are.
        headers: The request's headers; names in any case.
        now: Epoch seconds.

    Raises:
        Unauthorized: The header is missing, or the token is malformed, unknown or
            expired. The message is the same for all of them.
    """
    match = _BEARER.fullmatch(_header(headers))
    found = tokens.owner_of_token(token_hash(match[1])) if match else None
    if found is None or not found[0] or found[1] <= now:
        raise Unauthorized("no valid token: send 'Authorization: Bearer <token>'")
    return Caller(owner=found[0], expires_at=found[1])


def has_header(headers: Mapping[str, str]) -> bool:
    """Whether a request says who sends it, rightly or not."""
    return bool(_header(headers))


def _header(headers: Mapping[str, str]) -> str:
    return next((v for n, v in headers.items() if n.lower() == "authorization"), "")
