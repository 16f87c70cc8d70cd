"""The handler behind every state: what it raises is what machines match on."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
from kit.engines import Listener
from kit.functions import Context, load_function
from kit.installation import Archive, Catalog
from kit.models import Says
from kit.workflows import workflow

from joinery import bootstrap
from joinery.aws.clients import CallCounter
from joinery.catalog.ports import Version
from joinery.compiler.compile import compile_workflow
from joinery.errors import (
    DeadlineNear,
    Permanent,
    RunCancelled,
    Transient,
    TransientStore,
    Unavailable,
)
from joinery.model_errors import PermanentModelAuth
from joinery.runs.deps import Deps
from joinery.runs.start import create_run


class World:
    """An installation in memory behind `bootstrap`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store, self.listener, self.catalog = Archive(), Listener(), Catalog()
        self.counter = CallCounter()
        self.pinned: list[Mapping[str, Any]] = []
        self.model = Says(lambda *_: "hello")
        self.drained = 0
        for name in ("clients", "store", "catalog", "run_deps", "models_of", "drain"):
            monkeypatch.setattr(bootstrap, name, getattr(self, f"_{name}"))
        bootstrap.plan.cache_clear()
        self.app = load_function("run_node")

    def _clients(self) -> World:
        return self

    def _store(self) -> Archive:
        return self.store

    def _catalog(self) -> Catalog:
        return self.catalog

    def _models_of(self, extra: Mapping[str, Any]) -> Says:
        self.pinned.append(extra)
        return self.model

    def _run_deps(self, models: Any = None) -> Deps:
        return Deps(self.store, self.listener, models or self.model, background=False)

    def _drain(self, timeout_s: float, end_s: float) -> None:
        assert timeout_s < 1 < end_s, "a run waits for its viewers at its end alone"
        self.drained += 1

    def begin(self, **extra: Any) -> str:
        nodes = {"a": {"type": "llm", "prompt": "hi", "retry": {"attempts": 1}}}
        plan = compile_workflow(workflow(["start -> a -> end"], nodes)).plan
        if not self.catalog.versions:
            version = Version("wf", 1, "me", "test", "", "arn", 1, 0.0, plan.to_dict())
            self.catalog.add_version(version)
        run, _ = create_run(
            self._run_deps(), plan, owner="me", workflow_id="wf", version=1, given={}, extra=extra
        )
        self.store.mark_started(run.run_id, "arn", time.time())
        return run.run_id

    def invoke(self, run_id: str, node: str = "a", context: Any = None, **more: Any) -> Any:
        event = {"run_id": run_id, "plan": "wf/1", "node": node, "path": "", **more}
        return self.app.handler(event, context or Context())


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def calls(capsys: pytest.CaptureFixture[str]) -> list[Any]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line for line in lines if "aws_calls" in line]


def test_a_run_from_its_first_node_to_its_end(world: World, capsys: Any) -> None:
    run_id = world.begin(cassette=[])
    assert world.invoke(run_id) == {"port": "", "path": ""}
    assert world.invoke(run_id, "end") == {"port": "", "path": ""}
    assert world.store.get_run(run_id).status == "completed"
    assert world.pinned[0]["cassette"] == []
    assert world.drained == 2
    first, second = calls(capsys)
    assert 0 <= first.pop("took_ms") < 10_000
    assert first == {"run_id": run_id, "node": "a", "path": "", "aws_calls": {"lambda.Invoke": 1}}
    assert second["node"] == "end"


def test_counts_are_those_of_one_invocation(world: World, capsys: Any) -> None:
    run_id = world.begin()
    world.counter.add("left.Over")
    world.invoke(run_id)
    [line] = calls(capsys)
    assert line["aws_calls"] == {"lambda.Invoke": 1}


@pytest.mark.parametrize("kind", [PermanentModelAuth, TransientStore])
def test_what_a_node_raises_goes_out_by_the_name_that_machines_match(
    world: World, kind: Any, capsys: Any
) -> None:
    def fails(*_: Any) -> str:
        raise kind("no")

    world.model.answer = fails
    run_id = world.begin()
    with pytest.raises(Exception) as raised:
        world.invoke(run_id)
    assert type(raised.value) is Permanent
    name = str(raised.value).partition(": ")[0]
    assert name == ("PermanentAttemptsExhausted" if kind is TransientStore else kind.__name__)
    assert len(calls(capsys)) == 1
    assert world.drained == 1


def test_a_cancelled_run_stops_at_its_next_node(world: World) -> None:
    run_id = world.begin()
    world.store.request_cancel(run_id)
    with pytest.raises(RunCancelled):
        world.invoke(run_id)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Unavailable("later"), Transient),
        (ValueError("password=hunter2"), Permanent),
        (KeyError("x"), Permanent),
    ],
)
def test_nothing_else_escapes(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception, expected: Any, capsys: Any
) -> None:
    def fails(*_: Any) -> Any:
        raise error

    run_id = world.begin()
    monkeypatch.setattr(world.store, "get_run", fails)
    with pytest.raises(expected) as raised:
        world.invoke(run_id)
    assert type(raised.value) is expected
    assert "hunter2" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert len(calls(capsys)) == 1


def test_a_run_that_does_not_exist_and_events_that_are_none(world: World) -> None:
    world.begin()
    for event in ({"run_id": "run_0"}, {}, {"run_id": None, "plan": "x"}):
        with pytest.raises(Permanent, match=r"^PermanentInternal: "):
            world.app.handler(event, Context())


def test_messages_that_cannot_be_sent_change_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def breaks() -> None:
        raise RuntimeError("no socket")

    monkeypatch.setattr(bootstrap, "drain", breaks)
    assert world.invoke(world.begin()) == {"port": "", "path": ""}
    assert "messages were not sent" in caplog.text


def test_the_plan_is_read_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    version = world.catalog.version
    monkeypatch.setattr(world.catalog, "version", lambda *key: read.append(key) or version(*key))
    for _ in range(3):
        world.invoke(world.begin())
    assert read == [("wf", 1)]


def test_the_end_of_the_invocation_leaves_time_to_store(world: World) -> None:
    import time

    deadlines = []

    def notes(request: Any, call: Any) -> str:
        deadlines.append(call.deadline - time.monotonic())
        return "ok"

    world.model.answer = notes
    world.invoke(world.begin(), context=Context(remaining_ms=65_000))
    assert deadlines == [pytest.approx(60.0, abs=1.0)]


def test_a_plan_that_runs_inline_is_walked_by_one_invocation(world: World) -> None:
    nodes = {name: {"type": "llm", "prompt": name} for name in "abc"}
    graph = workflow(["start -> a, b -> c -> end"], nodes, run_on="inline")
    plan = compile_workflow(graph).plan
    version = Version("wf", 1, "me", "test", "", "arn", 1, 0.0, plan.to_dict(), run_on="inline")
    world.catalog.add_version(version)
    run_id = world.begin()
    assert world.invoke(run_id, "start", Context(remaining_ms=900_000)) == {"port": "", "path": ""}
    assert world.store.get_run(run_id).status == "completed"
    assert sorted(call[0] for call in world.model.calls) == ["a", "b", "c"]
    # The Task of an invocation that ended and could not say so finds all of it stored.
    assert world.invoke(run_id, "start", Context(remaining_ms=900_000)) == {"port": "", "path": ""}
    assert len(world.model.calls) == 3


def test_time_that_runs_short_is_no_error_of_ours(world: World, caplog: Any) -> None:
    nodes = {name: {"type": "llm", "prompt": name} for name in "ab"}
    plan = compile_workflow(workflow(["start -> a -> b -> end"], nodes), opt=2).plan
    world.catalog.add_version(Version("wf", 1, "me", "test", "", "arn", 2, 0.0, plan.to_dict()))
    run_id = world.begin()
    with pytest.raises(DeadlineNear), caplog.at_level("INFO"):
        world.invoke(run_id, "a", Context(remaining_ms=60_000))
    assert [r.levelname for r in caplog.records if r.name.startswith("joinery")] == ["INFO"]
    world.invoke(run_id, "a", Context(remaining_ms=60_000))
    assert world.store.get_run(run_id).status == "completed"
