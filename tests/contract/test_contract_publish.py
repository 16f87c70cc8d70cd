"""A workflow is published whole or not at all, on tables and buckets as they are."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from joinery.catalog.publish import publish_workflow
from joinery.errors import InvalidWorkflow, Unavailable
from joinery.workflow.model import Workflow

if TYPE_CHECKING:
    from contract.backends import Backend

pytestmark = pytest.mark.parametrize("backend", ["moto"], indirect=True, scope="module")


class Machines:
    """Makes machines, or does not."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails

    def ensure(self, name: str, definition: str) -> str:
        if self.fails:
            raise Unavailable("Step Functions is throttled")
        return f"arn:{name}"


def _workflow(count: int, name: str, **node: Any) -> Workflow:
    names = [f"a_long_name_that_somebody_generated_for_a_node_{i:06d}" for i in range(count)]
    nodes = {n: {"type": "llm", "prompt": "x", **node} for n in names}
    edges = ["start -> " + " -> ".join(names) + " -> end"]
    return Workflow.model_validate({"version": 1, "name": name, "nodes": nodes, "edges": edges})


def _publish(backend: Backend, workflow: Workflow, machines: Machines) -> Any:
    assert backend.catalog is not None
    return publish_workflow(
        backend.catalog(), machines, owner="publisher", workflow=workflow, source="x" * 20_000,
        run_node_arn="arn:aws:lambda:us-east-1:000000000000:function:run-node:live",
        machine_prefix="p-", clock=time.time,
        opt=0,  # a state a node: 2,000 of them pass the limit
    )  # fmt: skip


def _items(backend: Backend) -> int:
    return int(backend.client.scan(TableName="catalog", Select="COUNT")["Count"])


def _objects(backend: Backend) -> int:
    listed = backend.s3.list_objects_v2(Bucket=backend.bucket, Prefix="catalog/")
    return int(listed["KeyCount"])


@pytest.mark.parametrize(
    ("workflow", "machines", "error"),
    [
        (_workflow(2_000, "large"), Machines(), InvalidWorkflow),
        (_workflow(2, "slow", timeout="1h"), Machines(), InvalidWorkflow),
        (_workflow(2, "throttled"), Machines(fails=True), Unavailable),
    ],
    ids=["too large", "too slow", "no machine"],
)
def test_what_fails_leaves_nothing(
    backend: Backend, workflow: Workflow, machines: Machines, error: type[Exception]
) -> None:
    before = _items(backend), _objects(backend)
    with pytest.raises(error):
        _publish(backend, workflow, machines)
    assert (_items(backend), _objects(backend)) == before


def test_what_is_published_is_there_whole(backend: Backend) -> None:
    assert backend.catalog is not None
    version, compiled, new = _publish(backend, _workflow(200, "fine"), Machines())
    assert new
    kept = backend.catalog().version(version.workflow_id, version.version)
    assert kept.plan == compiled.plan.to_dict()
    assert len(kept.source) == 20_000
