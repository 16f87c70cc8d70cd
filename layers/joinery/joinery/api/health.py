"""`/health`: whether the service is up; the one route without a token."""

from __future__ import annotations

from fastapi import APIRouter

from joinery import __version__
from joinery.api import answers
from joinery.api.wire import Answer

router = APIRouter(tags=["service"])


@router.get("/health", summary="Is it up?", responses={200: {"model": answers.Health}})
def health() -> Answer:
    """Answers without touching anything else."""
    return Answer({"status": "ok", "version": __version__})
