"""A whole run gives the same on every store."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from kit.engines import Listener
from kit.models import Says
from kit.workflows import condition, loop, workflow

from joinery.compiler.compile import compile_workflow
from joinery.runs.deps import Deps
from joinery.runs.interpreter import run_inline
from joinery.runs.memory_store import MemoryStore
from joinery.runs.start import create_run
from joinery.runs.views import run_view

if TYPE_CHECKING:
    from contract.backends import Backend

    from joinery.events.make import Event
    from joinery.runs.ports import RunStore

EDGES = [
    "start -> draft, facts",
    "draft, facts -> judge",
    "judge -> again",
    "again.repeat -> draft, facts",
    "again.done -> gate",
    "gate.true -> long",
    "gate.false -> short",
    "long -> polish",
    "polish, short -> last",
    "last -> end",
]

NODES: dict[str, Any] = {
    "draft": {"type": "llm", "prompt": "{{ inputs.topic }}"},
    "judge": {"type": "llm", "prompt": "{{ nodes.draft.text }} / {{ nodes.facts.text }}"},
    "again": loop(2),
    "gate": condition("long"),
    "last": {"type": "template", "template": "{{ nodes.judge.text }}"},
}

INPUTS: dict[str, Any] = {
    "topic": {"type": "string", "required": True},
    "long": {"type": "boolean", "required": True},
}


def _run(store: RunStore, *, background: bool, words: int) -> tuple[RunStore, str, Listener]:
    plan = compile_workflow(
        workflow(EDGES, NODES, inputs=INPUTS, outputs={"report": "{{ nodes.last.text }}"})
    ).plan
    listener = Listener()
    says = Says(lambda _request, _call: iter(["語 "] * words))
    deps = Deps(store, listener, says, background=background)
    given = {"topic": "tea", "long": False}
    run, _ = create_run(deps, plan, owner="ada", workflow_id="wf_0", version=1, given=given)
    store.mark_started(run.run_id, "arn", deps.clock())
    run_inline(deps, plan, run, sleep=lambda _: None)
    return store, run.run_id, listener


def _seen(store: RunStore, run_id: str) -> dict[str, Any]:
    view = run_view(store, store.get_run(run_id))
    for timed in (view, *view["nodes"]):
        for name in ("run_id", "created_at", "started_at", "ended_at", "duration_ms"):
            timed.pop(name, None)
    return view


def _names(events: list[Event]) -> Counter[tuple[str, str]]:
    return Counter((event["event"], event.get("path", "")) for event in events)


def test_a_run_looks_the_same_everywhere(backend: Backend) -> None:
    for words in (3, 4_000):  # the second's texts go to the bucket
        expected, expected_id, _ = _run(MemoryStore(), background=False, words=words)
        store, run_id, listener = _run(backend.make(), background=True, words=words)
        read = store if backend.name == "memory" else backend.make()
        assert _seen(read, run_id) == _seen(expected, expected_id)
        assert read.outputs(run_id) == {"report": "語 " * words}

        # Branches run side by side: their events may be told in another order.
        told = sorted((m for m in listener.messages if "seq" in m), key=lambda m: m["seq"])
        stored = read.events(run_id, 0, 1_000)
        assert stored == told
        assert [e["seq"] for e in stored] == list(range(1, read.control(run_id).head + 1))
        assert _names(stored) == _names(expected.events(expected_id, 0, 1_000))
        pieces = [p.text for p in read.texts(run_id) if p.key.path == "2"]
        assert "".join(pieces).count("語") >= 2 * words
