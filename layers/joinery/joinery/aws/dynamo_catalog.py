"""Published workflows in DynamoDB: `CatalogStore`, with plans and sources in S3 when large.

WORKFLOW#<workflow_id> / META           number of the newest version
WORKFLOW#<workflow_id> / V#<version>    a version, never changed
OWNER#<owner> / WORKFLOW#<workflow_id>  the newest version without its plan, for lists
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from joinery.aws.conditions import absent
from joinery.aws.documents import Documents, SizedCache
from joinery.aws.errors import TransactionCancelled
from joinery.aws.items import (
    Attribute,
    Item,
    get_float,
    get_int,
    get_string,
    item_bytes,
    key,
    number,
    string,
)
from joinery.aws.table import Table, values
from joinery.catalog.ports import Version
from joinery.errors import Conflict, NotFound

_PREFIX: Final = "catalog"
_VERSIONS: Final = "V#"


class DynamoCatalogStore:
    """Implements `CatalogStore`; versions that were read stay in memory.

    Args:
        client: DynamoDB client.
        table: Name of the catalog table.
        documents: Where large plans and sources go.
    """

    def __init__(self, client: Any, table: str, documents: Documents) -> None:
        self._table, self._documents = Table(client, table), documents
        self._cache = SizedCache()

    def latest(self, workflow_id: str) -> Version | None:
        """See `CatalogStore.latest`."""
        rows = self._table.prefix(_pk(workflow_id), _VERSIONS, ScanIndexForward=False, Limit=1)
        item = next(rows, None)
        return self._version(item) if item else None

    def version(self, workflow_id: str, version: int) -> Version:
        """See `CatalogStore.version`; costs no call once it was read."""
        kept: Version | None = self._cache.get((workflow_id, version))
        if kept is not None:
            return kept
        item = self._table.get(key(_pk(workflow_id), _version_sk(version)))
        if item is None:
            raise NotFound(f"no workflow '{workflow_id}' version {version}")
        return self._version(item)

    def add_version(self, version: Version) -> None:
        """See `CatalogStore.add_version`."""
        summary = _summary(version)
        item = {
            **key(_pk(version.workflow_id), _version_sk(version.version)),
            **summary,
            **self._documents.attributes("plan", version.plan, _PREFIX),
            **self._documents.attributes("source", version.source, _PREFIX),
        }
        meta = {**key(_pk(version.workflow_id), "META"), "version": number(version.version)}
        row = {**key(_owner_pk(version.owner), _pk(version.workflow_id)), **summary}
        try:
            self._table.transact(
                [
                    {"Put": {"Item": item, **absent()}},
                    {"Put": {"Item": meta, **_follows(version.version)}},
                    {"Put": {"Item": row}},
                ]
            )
        except TransactionCancelled as cancelled:
            held = cancelled.reasons[0].item
            # A call that the SDK sent twice meets what it stored itself.
            if held is None or _record(held) != replace(version, plan={}, source=""):
                raise Conflict(
                    f"version {version.version} of this workflow exists, or is not the next one"
                ) from None

    def list_workflows(self, owner: str, limit: int) -> list[Version]:
        """See `CatalogStore.list_workflows`; 1 MB read holds some 2,000 workflows."""
        rows = [_record(row) for row in self._table.prefix(_owner_pk(owner), "WORKFLOW#")]
        return sorted(rows, key=lambda version: version.created_at, reverse=True)[:limit]

    def _version(self, item: Item) -> Version:
        found = _record(
            item,
            plan=self._documents.value(item, "plan") or {},
            source=self._documents.value(item, "source") or "",
        )
        size = item_bytes(item) + sum(_referred(item, name) for name in ("plan", "source"))
        self._cache.put((found.workflow_id, found.version), found, size)
        return found


def _pk(workflow_id: str) -> str:
    return f"WORKFLOW#{workflow_id}"


def _owner_pk(owner: str) -> str:
    return f"OWNER#{owner}"


def _version_sk(version: int) -> str:
    return f"{_VERSIONS}{version:06d}"


def _follows(version: int) -> dict[str, Any]:
    if version == 1:
        return absent()
    return {
        "ConditionExpression": "version = :before",
        "ExpressionAttributeValues": values(before=number(version - 1)),
    }


def _referred(item: Mapping[str, Any], name: str) -> int:
    held = item.get(f"{name}_ref")
    return int(held["M"]["bytes"]["N"]) if held else 0


def _summary(version: Version) -> dict[str, Attribute]:
    return {
        "workflow_id": string(version.workflow_id),
        "version": number(version.version),
        "owner": string(version.owner),
        "name": string(version.name),
        "content_hash": string(version.content_hash),
        "machine_arn": string(version.machine_arn),
        "opt": number(version.opt),
        "created_at": number(version.created_at),
        "run_on": string(version.run_on),
    }


def _record(
    item: Mapping[str, Any], plan: Mapping[str, Any] | None = None, source: str = ""
) -> Version:
    return Version(
        workflow_id=get_string(item, "workflow_id"),
        version=get_int(item, "version"),
        owner=get_string(item, "owner"),
        name=get_string(item, "name"),
        content_hash=get_string(item, "content_hash"),
        machine_arn=get_string(item, "machine_arn"),
        opt=get_int(item, "opt"),
        created_at=get_float(item, "created_at"),
        plan=plan or {},
        source=source,
        run_on=get_string(item, "run_on") if "run_on" in item else "standard",
    )
