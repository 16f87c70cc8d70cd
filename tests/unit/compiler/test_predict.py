"""What a run takes is foretold from what its nodes decided, also before it has ended."""

from __future__ import annotations

from kit.engines import compiled_run
from kit.workflows import condition, loop, workflow

from joinery.compiler.compile import compile_workflow
from joinery.compiler.predict import history_events_of, states_of_run, transitions_of
from joinery.runs.model import NodeKey, NodeRecord

GRAPH = workflow(
    ["start -> a -> b, c", "b, c -> ask", "ask.true -> d -> l", "ask.false -> l", "l.repeat -> a",
     "l.done -> end"],
    {"ask": condition("x"), "l": loop(2)},
    inputs={"x": {"type": "boolean", "required": True}},
)  # fmt: skip


def record(node: str, path: str, status: str = "completed", **more: str) -> NodeRecord:
    return NodeRecord(NodeKey(0, path), node, status, **more)


def test_states_stand_in_the_order_of_the_walk() -> None:
    compiled = compile_workflow(GRAPH, opt=0)
    machine = compiled_run(compiled, {"x": False})
    records = machine.store.nodes(machine.run.run_id)
    states = states_of_run(compiled.plan, compiled.emitted, records)
    body = ["a", "fork b + c", "b + c", "b + c", "ask", "after ask", "l", "after l"]
    assert states == ["enter l", *body, *body, "end"]
    assert history_events_of(compiled.plan, compiled.emitted, records) < (
        compiled.report.history_events.max
    )


def test_a_run_that_goes_on_counts_what_it_has_entered() -> None:
    compiled = compile_workflow(GRAPH, opt=0)

    def so_far(*records: NodeRecord) -> int:
        return transitions_of(compiled.plan, compiled.emitted, records)

    a, b, c = record("a", "1"), record("b", "1"), record("c", "1", "running")
    assert so_far() == 2  # the loop is entered, and a is asked for
    assert so_far(a) == 5
    assert so_far(a, b, c) == 5
    assert so_far(a, b, record("c", "1")) == 6
    asked = record("ask", "1", port="true")
    assert so_far(a, b, record("c", "1"), asked) == 8
    repeated = record("l", "1", port="repeat", next_path="2")
    done = (a, b, record("c", "1"), asked, record("d", "1"), repeated)
    assert so_far(*done) == 11


def test_a_node_that_failed_the_run_is_the_last() -> None:
    compiled = compile_workflow(workflow(["start -> a -> b -> end"]), opt=0)
    failed = record("a", "", "failed")
    assert transitions_of(compiled.plan, compiled.emitted, [failed]) == 1
    handled = failed.with_(handled=True)
    assert transitions_of(compiled.plan, compiled.emitted, [handled]) == 2
