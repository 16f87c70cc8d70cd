"""Runs as their owners see them: what belongs to somebody else does not exist."""

from __future__ import annotations

import re
from typing import Final

from joinery.errors import NotFound
from joinery.runs.deps import Deps
from joinery.runs.model import RunRecord
from joinery.runs.start import owned_run

RUN_ID: Final = r"run_[0-9a-hjkmnp-tv-z]{26}"
"""What `joinery.runs.ids` makes."""


def own_run(deps: Deps, owner: str, run_id: str) -> RunRecord:
    """Returns a run that the caller owns.

    Args:
        deps: Ports.
        owner: Who asks.
        run_id: The run, as it was sent: anything.

    Raises:
        NotFound: There is none, or it is somebody else's, in the same words.
    """
    if not re.fullmatch(RUN_ID, run_id):
        raise NotFound("there is no such run")
    try:
        return owned_run(deps, owner, run_id)
    except NotFound:
        raise NotFound(f"no run {run_id}") from None
