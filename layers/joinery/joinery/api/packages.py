"""`/packages`: where packages of users' code are sent to, and for which Python they are built."""

from __future__ import annotations

from fastapi import APIRouter

from joinery.api import answers
from joinery.api.bodies import PackageBody
from joinery.api.services import Caller, Needs
from joinery.api.wire import Answer, StrictRoute
from joinery.events.make import timestamp

router = APIRouter(route_class=StrictRoute, tags=["packages"])


@router.get(
    "/packages/target",
    summary="What packages are built for",
    responses={200: {"model": answers.PackageTarget}},
)
def package_target(owner: Caller) -> Answer:
    """Returns the Python and the system that code runs on here."""
    # The function that runs code has the runtime and the processor of this one.
    from joinery.packages.target import PackageTarget

    return Answer(PackageTarget.here().to_dict())


@router.post(
    "/packages",
    summary="Offer a package",
    responses={200: {"model": answers.PackageOffered}},
)
def offer_package(body: PackageBody, owner: Caller, services: Needs) -> Answer:
    """Says whether you have stored this package before, and where to send it if not.

    It is sent with PUT and exactly these headers; nothing but the bytes with this hash and
    size is taken there. The address is good for five minutes.
    """
    store = services.packages()
    answer = {"sha256": body.sha256, "bytes": body.bytes, "stored": True, "upload": None}
    if store.size(owner, body.sha256) == body.bytes:
        return Answer(answer)
    upload = store.upload(owner, body.sha256, body.bytes)
    shown = {
        "url": upload.url,
        "method": "PUT",
        "headers": dict(upload.headers),
        "expires_at": timestamp(upload.expires_at),
    }
    return Answer({**answer, "stored": False, "upload": shown})
