"""Several nodes in one invocation: crashes, cancels, new attempts, and time that runs short."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from kit.engines import Ended, begin, compiled_run, interpreted
from kit.models import Says
from kit.workflows import loop, workflow

from joinery.compiler.compile import Compiled, compile_workflow
from joinery.compiler.plan import Plan
from joinery.errors import (
    DeadlineNear,
    PermanentAttemptsExhausted,
    RunCancelled,
    TransientClaimed,
)
from joinery.model_errors import PermanentModelAuth, TransientModelTimeout
from joinery.runs import walk
from joinery.runs.memory_store import MemoryStore
from joinery.runs.model import NodeKey
from joinery.runs.task import run_task


def llm(prompt: str = "go", **more: Any) -> dict[str, Any]:
    return {"type": "llm", "prompt": prompt, **more}


def fused(edges: list[str], nodes: dict[str, Any], **more: Any) -> Compiled:
    return compile_workflow(workflow(edges, nodes, **more), opt=2)


def chain_of_three(**more: Any) -> Compiled:
    return fused(["start -> a -> b -> c -> end"], {n: llm(n, **more) for n in "abc"})


def nested_loops() -> Compiled:
    return fused(
        ["start -> a -> b -> i", "i.repeat -> b", "i.done -> c -> o", "o.repeat -> a",
         "o.done -> d -> end"],
        {**{n: llm(n, timeout="10s") for n in "abcd"}, "i": loop(2, 2), "o": loop(2, 2)},
    )  # fmt: skip


def call(ended: Ended, plan: Plan, node: str = "a", seconds: float = 895.0) -> dict[str, Any]:
    return run_task(
        ended.deps, plan, ended.run, node, "", deadline=time.monotonic() + seconds
    )  # fmt: skip


def started(ended: Ended) -> list[str]:
    return [m["node_id"] for m in ended.listener.named("node.started")]


class Killed(BaseException):
    """The process died: nothing after this is run, not even what handles errors."""


class Fragile(MemoryStore):
    """Dies before or after the n-th write."""

    def __init__(self, at: int, before: bool) -> None:
        super().__init__()
        self.at, self.before, self.writes = at, before, 0

    def _write(self, method: str, *args: Any, **more: Any) -> Any:
        self.writes += 1
        dies = self.writes == self.at
        if dies and self.before:
            raise Killed
        result = getattr(MemoryStore, method)(self, *args, **more)
        if dies:
            raise Killed
        return result

    def claim(self, *args: Any, **more: Any) -> Any:
        return self._write("claim", *args, **more)

    def append(self, *args: Any, **more: Any) -> Any:
        return self._write("append", *args, **more)

    def finish(self, *args: Any, **more: Any) -> Any:
        return self._write("finish", *args, **more)

    def put_text(self, *args: Any, **more: Any) -> Any:
        return self._write("put_text", *args, **more)

    def close_run(self, *args: Any, **more: Any) -> Any:
        return self._write("close_run", *args, **more)


def expire_claims(store: MemoryStore, run_id: str) -> None:
    nodes = store._run(run_id).nodes
    for key, record in nodes.items():
        nodes[key] = record.with_(claim_until=0.0)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("make", [chain_of_three, nested_loops])
def test_after_a_crash_at_any_write_only_the_node_that_was_running_runs_again(
    make: Any, before: bool
) -> None:
    plan = make().plan
    reference = interpreted(plan, {}, Says(lambda r, c: c.node_id))
    assert reference.status == "completed"
    writes = 0
    while True:
        writes += 1
        says = Says(lambda r, c: c.node_id)
        ended = begin(plan, {}, says)
        store = Fragile(writes, before)
        store._runs = ended.store._runs
        object.__setattr__(ended.deps, "store", store)
        try:
            call(ended, plan)
        except Killed:
            expire_claims(store, ended.run.run_id)
            call(ended, plan)
        else:
            break
        assert store.get_run(ended.run.run_id).status == "completed"
        assert ended.nodes() == reference.nodes()
        records = store.nodes(ended.run.run_id)
        again = [record for record in records if record.attempt > 1]
        assert len(again) <= 1
        places = [place[:2] for place in says.calls]
        repeated = {place for place in places if places.count(place) > 1}
        assert repeated <= {(record.node_id, record.key.path) for record in again}
    assert writes > 10


def test_a_loop_in_a_loop_is_walked_round_by_round() -> None:
    compiled = nested_loops()
    assert list(compiled.definition["States"]) == ["a"]
    says = Says(lambda r, c: c.node_id)
    machine = compiled_run(compiled, {}, says)
    assert machine.status == "completed"
    assert machine.transitions == 1
    assert [place[:2] for place in says.calls] == [
        ("a", "1"), ("b", "1.1"), ("b", "1.2"), ("c", "1"),
        ("a", "2"), ("b", "2.1"), ("b", "2.2"), ("c", "2"), ("d", ""),
    ]  # fmt: skip


def test_a_cancel_in_mid_walk_starts_no_node_after() -> None:
    plan = chain_of_three().plan
    box: dict[str, Ended] = {}

    def cancels(request: Any, context: Any) -> Iterator[str]:
        if context.node_id == "b":
            box["e"].store.request_cancel(box["e"].run.run_id)
        yield "x"

    ended = box["e"] = begin(plan, {}, Says(cancels))
    with pytest.raises(RunCancelled):
        call(ended, plan)
    assert started(ended) == ["a", "b"]
    assert ended.nodes()["b", ""][0] == "running"


def test_a_failure_ends_the_walk_and_what_comes_after_does_not_run() -> None:
    def fails(request: Any, context: Any) -> str:
        if context.node_id == "b":
            raise PermanentModelAuth("no key")
        return "x"

    machine = compiled_run(chain_of_three(), {}, Says(fails))
    assert machine.status == "failed"
    assert machine.run.error is not None
    assert (machine.run.error["node_id"], machine.run.error["code"]) == ("b", "model_auth")
    assert started(machine) == ["a", "b"]


def test_a_transient_error_is_tried_again_inside_when_the_wait_is_short() -> None:
    def flaky(request: Any, context: Any) -> str:
        if context.node_id == "b" and context.call == 1:
            raise TransientModelTimeout("not yet")
        return "x"

    plan = chain_of_three(retry={"attempts": 2, "backoff": "10ms"}).plan
    ended = begin(plan, {}, Says(flaky))
    call(ended, plan)
    assert started(ended) == ["a", "b", "b", "c"]
    patient = chain_of_three(retry={"attempts": 2, "backoff": "1m"}).plan
    ended = begin(patient, {}, Says(flaky))
    with pytest.raises(TransientModelTimeout):
        call(ended, patient)
    assert started(ended) == ["a", "b"]


def test_waits_double_and_count_what_earlier_invocations_have_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []

    def refuse(request: Any, context: Any) -> str:
        if context.node_id == "b":
            raise TransientModelTimeout("not yet")
        return "x"

    monkeypatch.setattr(walk, "pause", lambda deps, run, seconds, sleep: waits.append(seconds))
    plan = chain_of_three(retry={"attempts": 7, "backoff": "2s"}, timeout="10m").plan
    ended = begin(plan, {}, Says(refuse))
    with pytest.raises(TransientModelTimeout):
        call(ended, plan, seconds=600 + walk.MARGIN_S + 3)  # a wait of 3 s fits, not one of 8
    first = len(waits)
    with pytest.raises(PermanentAttemptsExhausted):
        call(ended, plan)
    assert 0 < first < 6
    told = [2, 4, 8, 16, 30, 30]
    # The one between the invocations is that of the Task's Retry.
    rest = told[:first] + told[first + 1 :]
    assert len(waits) == len(rest)
    for wait, most in zip(waits, rest, strict=True):
        assert most / 2 <= wait <= most


def test_a_claim_of_another_invocation_is_not_waited_for_inside() -> None:
    plan = chain_of_three().plan
    ended = begin(plan, {}, Says(lambda r, c: "x"))
    now = time.time()
    key = NodeKey(plan.by_id["b"].ord, "")
    ended.store.claim(ended.run.run_id, key, "b", holder="other", now=now, until=now + 9)
    with pytest.raises(TransientClaimed):
        call(ended, plan)


def test_a_node_that_may_not_end_in_time_begins_in_a_new_invocation(caplog: Any) -> None:
    plan = chain_of_three(timeout="60s").plan
    ended = begin(plan, {}, Says(lambda r, c: "x"))
    needs = 60 + walk.MARGIN_S
    with pytest.raises(DeadlineNear), caplog.at_level("INFO"):
        call(ended, plan, seconds=needs - 1)
    assert started(ended) == ["a"]
    assert ended.nodes() == {("a", ""): ("completed", "")}
    said = [r.levelname for r in caplog.records if "time is short" in r.getMessage()]
    assert said == ["INFO"]
    # What is stored costs no time, and the first that runs is always let in.
    with pytest.raises(DeadlineNear):
        call(ended, plan, seconds=needs - 1)
    assert started(ended) == ["a", "b"]
    assert call(ended, plan, seconds=needs - 1) == {"port": "", "path": ""}
    assert started(ended) == ["a", "b", "c"]
    assert ended.store.get_run(ended.run.run_id).status == "completed"


def test_a_task_of_level_1_never_runs_short() -> None:
    graph = workflow(["start -> a -> t -> end"], {"a": llm()})
    plan = compile_workflow(graph, opt=1).plan
    assert plan.groups == {"a": ("a", "t")}
    ended = begin(plan, {}, Says(lambda r, c: "x"))
    call(ended, plan, seconds=1.0)
    assert started(ended) == ["a", "t"]
