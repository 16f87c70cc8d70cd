"""Tickets: for a browser, which can set no header on a socket or an EventSource.

A ticket stands in a query, so it is worth little: it is good once, for half a
minute, and only for opening a stream. Like a token it is stored by its hash.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from joinery.errors import Unauthorized
from joinery.identity.tokens import Caller, token_hash

TICKET_S: Final = 30.0
"""How long a ticket waits to be used: a page opens its stream right after asking."""

_TICKET: Final = re.compile(r"jt_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket as its owner gets it; `expires_at` is in epoch seconds."""

    ticket: str
    expires_at: float


class Tickets(Protocol):
    """Keeps tickets that were not used yet."""

    def put_ticket(self, sha256: str, caller: Caller, expires_at: float) -> None:
        """Stores a ticket's hash with whose it is, until then (epoch seconds)."""
        ...

    def take_ticket(self, sha256: str) -> Caller | None:
        """Removes a ticket and returns whose it was; only one of many takers gets it.

        None when there is none or it has expired.
        """
        ...


def issue_ticket(tickets: Tickets, caller: Caller, now: float) -> Ticket:
    """Returns a new ticket of a caller; what it opens ends with the caller's token."""
    ticket = f"jt_{secrets.token_urlsafe(32)}"
    expires_at = min(now + TICKET_S, caller.expires_at)
    tickets.put_ticket(token_hash(ticket), caller, expires_at)
    return Ticket(ticket, expires_at)


def redeem_ticket(tickets: Callable[[], Tickets], ticket: str, now: float) -> Caller:
    """Returns whose ticket it is, and uses it up.

    Args:
        tickets: Where tickets are; asked for only when this may be one.
        ticket: What stood in the query: anything.
        now: Epoch seconds.

    Raises:
        Unauthorized: It is malformed, unknown, used or expired, in the same words.
    """
    found = tickets().take_ticket(token_hash(ticket)) if _TICKET.fullmatch(ticket) else None
    if found is None or found.expires_at <= now:
        raise Unauthorized("no valid ticket: ask for one with POST /tickets")
    return found
