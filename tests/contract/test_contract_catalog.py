"""What every catalogue promises."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from joinery.catalog.ports import Version
from joinery.errors import Conflict, NotFound

if TYPE_CHECKING:
    from contract.backends import Backend

    from joinery.aws.dynamo_catalog import DynamoCatalogStore


# The inline engine publishes nothing, so there is no catalogue in memory.
pytestmark = pytest.mark.parametrize(
    "backend",
    ["moto", pytest.param("stack", marks=pytest.mark.stack)],
    indirect=True,
    scope="module",
)


def _catalog(backend: Backend) -> DynamoCatalogStore:
    assert backend.catalog is not None
    return backend.catalog()


def _version(number: int = 1, **changes: object) -> Version:
    version = Version(
        workflow_id=f"wf_{uuid.uuid4().hex[:24]}",
        version=number,
        owner=uuid.uuid4().hex,
        name="debate",
        content_hash="c0ffee",
        machine_arn="arn:aws:states:us-east-1:000000000000:stateMachine:m",
        opt=1,
        created_at=1_700_000_000.5,
        plan={"nodes": [0.1, "漢字"], "version": 1},
        source="version: 1\nname: débat\n",
    )
    return replace(version, **changes)  # type: ignore[arg-type]  # named fields of any type


def test_versions_follow_each_other(backend: Backend) -> None:
    catalog, first = _catalog(backend), _version()
    assert catalog.latest(first.workflow_id) is None
    with pytest.raises(NotFound):
        catalog.version(first.workflow_id, 1)
    catalog.add_version(first)
    second = replace(first, version=2, content_hash="beef", plan={"x": "y" * 90_000})
    catalog.add_version(second)
    for read in (catalog, _catalog(backend)):
        assert read.latest(first.workflow_id) == second
        assert read.version(first.workflow_id, 1) == first
        assert read.version(first.workflow_id, 2) == second


@pytest.mark.parametrize("number", [1, 2, 4])
def test_only_the_next_number_is_taken(backend: Backend, number: int) -> None:
    catalog, first = _catalog(backend), _version()
    catalog.add_version(first)
    catalog.add_version(replace(first, version=2))
    with pytest.raises(Conflict):
        catalog.add_version(replace(first, version=number, content_hash="other"))
    assert catalog.latest(first.workflow_id).version == 2


def test_of_many_publishers_at_once_one_wins(backend: Backend) -> None:
    catalog, first = _catalog(backend), _version()

    def publish(number: int) -> str:
        try:
            catalog.add_version(replace(first, content_hash=str(number)))
        except Conflict:
            return "conflict"
        return "stored"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(publish, range(4))) == ["conflict"] * 3 + ["stored"]


def test_an_owner_sees_the_newest_of_each_workflow(backend: Backend) -> None:
    catalog, first = _catalog(backend), _version()
    other = _version(owner=first.owner, name="chain", created_at=1_700_000_001.0)
    for version in (first, replace(first, version=2, created_at=1_700_000_002.0), other):
        catalog.add_version(version)
    catalog.add_version(_version())
    listed = catalog.list_workflows(first.owner, 10)
    assert [(v.name, v.version) for v in listed] == [("debate", 2), ("chain", 1)]
    assert all(not v.plan and not v.source for v in listed)
    assert catalog.list_workflows(first.owner, 1) == listed[:1]
    assert catalog.list_workflows("nobody", 10) == []
