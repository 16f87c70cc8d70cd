"""Finds child workflows among those that their owner has published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from joinery.catalog.ports import CatalogStore, Version
from joinery.errors import NotFound
from joinery.runs.ids import workflow_id_for
from joinery.workflow.children import ChildProblem, KnownChild, is_file
from joinery.workflow.report import did_you_mean

NAMES_MAX: Final = 200
"""As many names are looked at to find the one that was meant."""


class CatalogChildren:
    """Implements `ChildSource`.

    Args:
        catalog: The published workflows.
        owner: Whose workflows may be run.
    """

    def __init__(self, catalog: CatalogStore, owner: str) -> None:
        self._catalog, self._owner = catalog, owner
        self._found: dict[str, KnownChild] = {}

    def find(self, workflow: str, version: int | None) -> KnownChild | None:
        """See `ChildSource.find`: the newest version when none is named."""
        if is_file(workflow):
            raise ChildProblem(
                "reference.unknown_workflow",
                f"'{workflow}' is a file, and there are no files here",
                "publish that workflow first and write its name; joinery run does so",
            )
        workflow_id = workflow_id_for(self._owner, workflow)
        newest = self._catalog.latest(workflow_id)
        if newest is None:
            known = [v.name for v in self._catalog.list_workflows(self._owner, NAMES_MAX)]
            raise ChildProblem(
                "reference.unknown_workflow",
                f"there is no published workflow '{workflow}'",
                did_you_mean(workflow, known) or "publish it first",
            )
        if version is not None and version > newest.version:
            raise ChildProblem(
                "reference.unknown_workflow",
                f"the workflow '{workflow}' has no version {version}",
                f"its newest version is {newest.version}",
            )
        return self._known(workflow_id, version or newest.version)

    def _known(self, workflow_id: str, number: int) -> KnownChild:
        ref = f"{workflow_id}/{number}"
        if ref not in self._found:
            self._found[ref] = self._read(self._catalog.version(workflow_id, number))
        return self._found[ref]

    def _read(self, version: Version) -> KnownChild:
        below: dict[str, KnownChild] = {}
        nodes: list[Mapping[str, Any]] = version.plan.get("nodes", [])
        for node in nodes:
            spec = node["spec"]
            if node["type"] == "workflow" and spec["workflow_id"]:
                try:
                    below[node["id"]] = self._known(spec["workflow_id"], spec["version"])
                except NotFound:
                    continue
        return KnownChild(
            version.name,
            version.plan.get("inputs", {}),
            version.workflow_id,
            version.version,
            version.plan,
            children=below,
        )
