"""Workflows as their owners see them: what belongs to somebody else does not exist."""

from __future__ import annotations

import re
from typing import Final

from joinery.catalog.ports import CatalogStore, Version
from joinery.errors import NotFound

_WORKFLOW_ID: Final = re.compile(r"wf_[0-9a-f]{24}")


def owned_version(
    catalog: CatalogStore, owner: str, workflow_id: str, version: int | None
) -> Version:
    """Returns a version that the caller owns; the newest when none is named.

    Args:
        catalog: The published workflows.
        owner: Who asks.
        workflow_id: The workflow, as it was sent: anything.
        version: Its version.

    Raises:
        NotFound: There is none, or it is somebody else's, in the same words.
    """
    if not _WORKFLOW_ID.fullmatch(workflow_id):
        raise NotFound("there is no such workflow")
    if version is None:
        newest = catalog.latest(workflow_id)
        if newest is None or newest.owner != owner:
            raise NotFound(f"no workflow '{workflow_id}'")
        version = newest.version
    try:
        found = catalog.version(workflow_id, version)
    except NotFound:
        found = None
    if found is None or found.owner != owner:
        raise NotFound(f"no workflow '{workflow_id}' version {version}")
    return found
