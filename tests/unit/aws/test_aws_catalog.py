"""The DynamoDB catalogue beyond the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from unit.aws.faults import Faulty, twice

from joinery.aws.documents import Documents
from joinery.aws.dynamo_catalog import DynamoCatalogStore
from joinery.catalog.ports import Version
from joinery.errors import Conflict

if TYPE_CHECKING:
    from contract.backends import Backend


def _version(workflow_id: str, plan: object) -> Version:
    return Version(workflow_id, 1, "ada", "debate", "hash", "arn", 1, 2.0, {"nodes": plan}, "text")


def test_a_version_is_read_once(moto: Backend) -> None:
    client, s3 = Faulty(moto.client), Faulty(moto.s3)
    catalog = DynamoCatalogStore(client, "catalog", Documents(s3, moto.bucket))
    catalog.add_version(_version("wf_a", ["n" * 9_000]))
    client.calls.clear()
    s3.calls.clear()
    assert catalog.version("wf_a", 1) is catalog.version("wf_a", 1)
    assert (client.calls, s3.calls) == (["get_item"], ["get_object"])


def test_a_repeated_call_is_its_own(moto: Backend) -> None:
    client = Faulty(moto.client, transact_write_items=twice)
    catalog = DynamoCatalogStore(client, "catalog", Documents(moto.s3, moto.bucket))
    version = _version("wf_b", [])
    catalog.add_version(version)
    assert catalog.latest("wf_b") == version


def test_a_gap_is_refused(moto: Backend) -> None:
    catalog = DynamoCatalogStore(moto.client, "catalog", Documents(moto.s3, moto.bucket))
    late = Version("wf_c", 2, "ada", "debate", "hash", "arn", 1, 2.0)
    with pytest.raises(Conflict):
        catalog.add_version(late)
    assert catalog.latest("wf_c") is None
