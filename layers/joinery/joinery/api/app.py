"""Builds the FastAPI application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI

from joinery import __version__
from joinery.api import control, errors, events, health, logs, packages, runs, tickets, workflows
from joinery.api.answers import ErrorAnswer
from joinery.api.services import Services, bearer

if TYPE_CHECKING:
    from fastapi.routing import APIRoute

DESCRIPTION = """\
Runs AI agent workflows on AWS. Every request but `/health` needs
`Authorization: Bearer <token>`; whatever belongs to somebody else does not exist.
Every error has the same shape, with a stable `code`.
"""


class _Application(FastAPI):
    """FastAPI that describes itself as it really answers."""

    def openapi(self) -> dict[str, Any]:
        """Returns the description; made at the first call."""
        described = super().openapi()
        for operations in described["paths"].values():
            for operation in operations.values():
                # FastAPI's own answer to a bad parameter, which is a 400 in our shape here.
                if "HTTPValidationError" in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]
        for unused in ("HTTPValidationError", "ValidationError"):
            described["components"]["schemas"].pop(unused, None)
        return described


def _operation_id(route: APIRoute) -> str:
    return route.name


def create_app(services: Services) -> FastAPI:
    """Returns the application.

    Args:
        services: What the routes need; nothing is asked of it before a request comes.
    """
    app = _Application(
        title="Joinery",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
        responses={
            400: {"model": ErrorAnswer, "description": "The request is malformed."},
            401: {"model": ErrorAnswer, "description": "No valid token."},
            413: {"model": ErrorAnswer, "description": "The request or the answer is too large."},
            503: {"model": ErrorAnswer, "description": "Something is busy; try again."},
        },
    )
    app.state.services = services
    errors.install(app)
    app.include_router(health.router)
    for module in (workflows, packages, runs, control, events, logs, tickets):
        app.include_router(module.router, dependencies=[Depends(bearer)])
    return app
