"""What every store promises of runs."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from joinery.errors import NotFound
from joinery.events.make import make_event
from joinery.runs.ids import new_run_id
from joinery.runs.model import Control, Parent

if TYPE_CHECKING:
    from contract.backends import Backend, Started

SCRIPTS = "naïve Ω ж 漢字 हिन्दी العربية 👩🏽‍🚀 \u0000\u001f\u2028\n"


def _event(run_id: str, name: str = "run.started", **data: object) -> dict[str, object]:
    return make_event(name, run_id, data, at=1_700_000_000.25)


def test_a_new_run_is_stored_with_its_first_events(backend: Backend, started: Started) -> None:
    store = backend.make()
    run = replace(
        started.run, run_id=new_run_id(), session_id="s1", created_at=1_700_000_000.123456,
        parent=Parent("run_p", "a", 3, "2.0", 1),
    )  # fmt: skip
    made, events = store.create_run(
        run, {"a": 1}, [_event(run.run_id), _event(run.run_id, "usage.recorded")], {"b": [2]}
    )
    assert made == run
    assert [(e["event"], e["seq"], e["head"]) for e in events] == [
        ("run.started", 1, 1),
        ("usage.recorded", 2, 2),
    ]
    assert store.get_run(run.run_id) == run
    assert store.events(run.run_id, 0, 10) == events
    assert store.control(run.run_id) == Control(2, False, 0)
    assert store.inputs(run.run_id) == {"a": 1}
    assert store.extra(run.run_id) == {"b": [2]}
    assert store.outputs(run.run_id) is None


def test_making_it_again_returns_the_first(started: Started) -> None:
    other = replace(started.run, name="other", created_at=1.0)
    made, events = started.store.create_run(other, {"x": 1}, [_event(started.id)], {})
    assert (made, events) == (started.run, [])
    assert started.again().inputs(started.id) == {"document": "text"}
    assert started.again().events(started.id, 0, 10) == []


def test_an_unknown_run_is_not_found(backend: Backend) -> None:
    store, run_id = backend.make(), new_run_id()
    for ask in (
        lambda: store.get_run(run_id),
        lambda: store.inputs(run_id),
        lambda: store.extra(run_id),
        lambda: store.outputs(run_id),
        lambda: store.control(run_id),
        lambda: store.load(run_id, []),
        lambda: store.request_cancel(run_id),
        lambda: store.mark_started(run_id, "arn", 1.0),
        lambda: store.append(run_id, [_event(run_id)]),
    ):
        with pytest.raises(NotFound):
            ask()


def test_starting_notes_the_execution(started: Started) -> None:
    started.store.mark_started(started.id, "arn:execution", 12.5)
    run = started.store.get_run(started.id)
    assert (run.status, run.execution_arn, run.started_at) == ("running", "arn:execution", 12.5)
    started.store.mark_started(started.id, "arn:execution", 13.5)
    assert started.store.get_run(started.id).status == "running"


def test_starting_does_not_reopen_a_run(started: Started) -> None:
    _close(started, "completed")
    started.store.mark_started(started.id, "arn:execution", 12.5)
    run = started.store.get_run(started.id)
    assert (run.status, run.execution_arn) == ("completed", "arn:execution")


def test_a_cancel_is_seen_in_the_control_item(started: Started) -> None:
    assert not started.store.control(started.id).cancel
    started.store.request_cancel(started.id)
    assert started.again().control(started.id).cancel
    assert started.again().load(started.id, []).control.cancel


def _close(started: Started, status: str, **more: object) -> list[dict[str, object]]:
    event = _event(started.id, f"run.{status}")
    closed: list[dict[str, object]] = started.store.close_run(
        started.run, status=status, at=99.5, event=event, **more
    )
    return closed


def test_a_run_closes_once(started: Started) -> None:
    usage = {"input_tokens": 3, "estimated": False}
    stored = _close(started, "completed", outputs={"score": 0.1}, usage=usage)
    assert [(e["event"], e["seq"]) for e in stored] == [("run.completed", 1)]
    assert _close(started, "failed", error={"code": "late"}) == []
    run = started.again().get_run(started.id)
    assert (run.status, run.ended_at, run.error, run.usage) == ("completed", 99.5, None, usage)
    assert started.again().outputs(started.id) == {"score": 0.1}
    told = [e["event"] for e in started.store.events(started.id, 0, 9) if e["event"] != "void"]
    assert told == ["run.completed"]


def test_a_failed_run_keeps_its_error(started: Started) -> None:
    error = {"code": "internal", "message": SCRIPTS, "details": {"n": 1.5e-9}}
    assert len(_close(started, "failed", error=error)) == 1
    assert started.again().get_run(started.id).error == error
    assert started.again().outputs(started.id) is None


def test_another_incarnation_does_not_close_it(started: Started) -> None:
    late = replace(started.run, incarnation=2)
    event = _event(started.id, "run.failed")
    assert started.store.close_run(late, status="failed", at=1.0, event=event) == []
    assert started.store.get_run(started.id).status == "queued"


def test_closing_takes_the_next_number(started: Started) -> None:
    started.store.append(started.id, [_event(started.id, "node.started") for _ in range(3)])
    assert [e["seq"] for e in _close(started, "cancelled")] == [4]
    assert started.store.control(started.id).head == 4


@pytest.mark.parametrize("size", [10, 8_192, 1_048_576])
def test_inputs_come_back_byte_for_byte(backend: Backend, started: Started, size: int) -> None:
    letters = random.Random(size).choices(SCRIPTS, k=size)
    text = "".join(letters).encode()[:size].decode(errors="ignore")
    values = {"document": text, "n": [0.1 + 0.2, 1e300, -0.0, 2**60, None, True, {"": []}]}
    run = replace(started.run, run_id=new_run_id())
    backend.make().create_run(run, values, [], {})
    for read in (backend.make, backend.make) if backend.name != "memory" else ():
        store = read()
        store.get_run(run.run_id)
        found = store.inputs(run.run_id)
        assert json.dumps(found) == json.dumps(values)
        assert found["document"].encode() == text.encode()


def test_large_outputs_come_back(started: Started) -> None:
    outputs = {"report": SCRIPTS * 10_000}
    _close(started, "completed", outputs=outputs)
    assert started.again().outputs(started.id) == outputs
