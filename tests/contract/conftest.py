"""The stores that the contract tests run against."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from contract.backends import Backend, Started, dynamo_backend, moto_backend

from joinery.runs.ids import new_run_id
from joinery.runs.memory_store import MemoryStore
from joinery.runs.model import RunRecord

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(
    scope="module", params=["memory", "moto", pytest.param("stack", marks=pytest.mark.stack)]
)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    if request.param == "memory":
        yield Backend("memory", MemoryStore)
    elif request.param == "moto":
        with moto_backend() as made:
            yield made
    else:
        stack = request.getfixturevalue("stack")
        names = [stack.outputs[n] for n in ("StateTableName", "CatalogTableName", "BucketName")]
        yield dynamo_backend("stack", stack.client("dynamodb"), stack.client("s3"), *names)


@pytest.fixture
def started(backend: Backend) -> Started:
    """A new run without events."""
    store = backend.make()
    now = time.time()
    run = RunRecord(
        run_id=new_run_id(now),
        owner="ada",
        workflow_id="wf_0",
        version=1,
        name="debate",
        created_at=now,
        request_hash="hash",
    )
    store.create_run(run, {"document": "text"}, [], {"cassette": "tape"})
    return Started(store, replace(run), backend, now)
