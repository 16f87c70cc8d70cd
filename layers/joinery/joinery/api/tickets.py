"""`/tickets`: what a browser shows where it can set no header."""

from __future__ import annotations

from fastapi import APIRouter

from joinery.api import answers
from joinery.api.services import Known, Needs
from joinery.api.wire import Answer, StrictRoute
from joinery.events.make import timestamp
from joinery.identity import tokens
from joinery.identity.tickets import issue_ticket

router = APIRouter(route_class=StrictRoute, tags=["streams"])


@router.post(
    "/tickets",
    summary="Get a ticket that opens one stream",
    status_code=201,
    responses={201: {"model": answers.TicketIssued}},
)
def create(who: Known, services: Needs) -> Answer:
    """Returns a ticket: good once, for 30 seconds, as `?ticket=` of a socket or of events.

    What it opens ends with the token that asked for it.
    """
    caller = tokens.Caller(who.owner, who.expires_at)
    issued = issue_ticket(services.tickets(), caller, services.run_deps().clock())
    shown = {"ticket": issued.ticket, "expires_at": timestamp(issued.expires_at)}
    return Answer(shown, 201, headers={"Cache-Control": "no-store"})
