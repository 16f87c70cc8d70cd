"""DynamoDB and S3 in this process, and clients that fail on purpose."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from contract.backends import Backend, Started, moto_backend
from unit.aws.gateway import World

from joinery.aws import lanes
from joinery.runs.ids import new_run_id
from joinery.runs.model import RunRecord

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def moto() -> Iterator[Backend]:
    with moto_backend() as backend:
        yield backend


@pytest.fixture
def started(moto: Backend) -> Started:
    """A new run without events."""
    store = moto.make()
    now = time.time()
    run = RunRecord(new_run_id(now), "ada", "wf_0", 1, "debate", created_at=now)
    store.create_run(run, {}, [], {})
    return Started(store, run, moto, now)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(lanes, "BACKOFF_S", 0.001)
    monkeypatch.setattr(lanes, "BACKOFF_MAX_S", 0.005)
    # A machine with much to do is slow itself.
    monkeypatch.setattr(lanes, "STUCK_S", 10.0)
    monkeypatch.setattr(lanes, "SLOW_S", 10.0)
    made = World()
    yield made
    for gate in made.gateway.gates.values():
        gate.set()
    for publisher in made.publishers:
        publisher.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("lane-")]
