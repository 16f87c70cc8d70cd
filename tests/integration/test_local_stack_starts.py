"""Many calls at once to functions that are cold, on few cores."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from kit.probe import Probe

pytestmark = pytest.mark.stack

CALLS = 12


@pytest.fixture
def cold(probe: Probe) -> Iterator[str]:
    """A version of the probe that nobody has called."""
    client = probe.stack.client("lambda")
    version = client.publish_version(FunctionName=probe.arn)["Version"]
    yield f"{probe.arn}:{version}"
    client.delete_function(FunctionName=probe.arn, Qualifier=version)


def processes(probe: Probe, function: str, event: dict[str, Any], calls: int) -> set[int]:
    """Invokes a function so many times at once; returns the processes that answered."""
    client = probe.stack.client("lambda")

    def invoke(_: int) -> int:
        answer = client.invoke(FunctionName=function, Payload=json.dumps(event))
        assert "FunctionError" not in answer
        return int(json.loads(answer["Payload"].read())["pid"])

    with ThreadPoolExecutor(calls) as pool:
        return set(pool.map(invoke, range(calls)))


def test_many_calls_at_once_share_few_workers(probe: Probe, cold: str) -> None:
    # All are answered by those that were ready first.
    assert len(processes(probe, cold, {}, CALLS)) <= CALLS / 2


def test_calls_that_take_their_time_have_a_worker_each(probe: Probe, cold: str) -> None:
    assert len(processes(probe, cold, {"sleep": 1.5}, 4)) == 4


def test_who_warms_up_has_a_worker_for_each_call(probe: Probe, cold: str) -> None:
    assert len(processes(probe, cold, {"warm": True}, 4)) == 4
