"""Joins that do not wait for all: who wins, who is stopped, and what the join sees."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from kit.engines import Ended, begin, compiled_run, interpreted
from kit.models import Says
from kit.workflows import condition, loop, workflow

from joinery.compiler.compile import Compiled, compile_workflow
from joinery.compiler.plan import Plan
from joinery.errors import NodeError, QuorumDecided
from joinery.model_errors import TransientModelUnavailable
from joinery.runs.interpreter import run_inline
from joinery.runs.joins import JoinState, advance
from joinery.runs.model import NodeKey, NodeRecord
from joinery.runs.races import races_of
from joinery.runs.task import run_task

INPUTS = {"missing": {"type": "string"}, "x": {"type": "boolean", "default": True}}


def node(text: str = "x", join: Any = "all", **more: Any) -> dict[str, Any]:
    return {"type": "template", "template": text, "join": join, **more}


def llm(**more: Any) -> dict[str, Any]:
    return {"type": "llm", "prompt": "x", **more}


BROKEN = node("{{ inputs.missing }}")


def both(compiled: Compiled, given: dict[str, Any] | None = None) -> list[Ended]:
    return [interpreted(compiled.plan, given or {}), compiled_run(compiled, given or {})]


def statuses(ended: Ended) -> dict[str, str]:
    return {name + path: status for (name, path), (status, _) in ended.nodes().items()}


def key_state(ended: Ended, plan: Plan, join: str, path: str = "") -> JoinState:
    races = races_of(plan)
    key = races.key(plan.by_id[join], path)
    states = ended.store.load(ended.run.run_id, [], joins=[key]).joins
    return races.state(plan.by_id[join], key, states)


# -- how a join is decided -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("needed", "taken", "dead", "failed", "outcome"),
    [
        (1, [2], [], [], "reached"),
        (2, [2], [0], [], ""),
        (2, [2, 0], [1], [], "reached"),
        (2, [2], [0, 1], [], "missed"),
        (2, [], [0, 1], [], ""),  # the last one may yet be dead too: then it is empty
        (2, [], [0, 1], [("n", "")], "missed"),
        (2, [], [0, 1, 2], [], "empty"),
        (3, [], [0], [("n", "")], "missed"),
        (1, [], [0, 1, 2], [("n", "")], "missed"),
    ],
)
def test_the_order_of_ends_does_not_change_how_a_join_ends(
    needed: int, taken: list[int], dead: list[int], failed: list[Any], outcome: str
) -> None:
    at_once = advance(JoinState(NodeKey(1, "")), needed, 3, taken=taken, dead=dead, failed=failed)
    assert at_once.outcome == outcome
    steps: list[dict[str, Any]] = [
        *({"failed": [n]} for n in failed), *({"dead": [n]} for n in dead),
        *({"taken": [n]} for n in taken),
    ]  # fmt: skip
    state = JoinState(NodeKey(1, ""))
    for step in steps:
        state = advance(state, needed, 3, **step)
    assert state.outcome == outcome


def test_winners_stand_in_the_order_of_the_file_and_are_not_changed() -> None:
    state = advance(JoinState(NodeKey(1, "")), 2, 4, taken=[3])
    state = advance(state, 2, 4, taken=[1, 2])
    assert (state.taken, state.winners) == ((3, 1, 2), (1, 3))
    assert advance(state, 2, 4, taken=[0], dead=[2], failed=[("a", "")]) == state


FORK = ["start -> a -> b, c, d", "b, c, d -> j -> end"]


def test_a_join_sees_winners_alone() -> None:
    seen = "{{ nodes.b.text ?? '-' }}{{ nodes.c.status }}{{ nodes.d.text ?? '-' }}"
    nodes = {"b": node("{{ inputs.missing }}"), "j": node(seen, "any")}
    graph = workflow(FORK, nodes, inputs=INPUTS, outputs={"j": "{{ nodes.j.text }}"})
    ended = compiled_run(compile_workflow(graph), {})
    assert statuses(ended)["c"] == "completed"
    assert ended.outputs == {"j": "-completed-"}
    assert statuses(ended) == {
        "a": "completed", "b": "failed", "c": "completed", "d": "cancelled", "j": "completed"
    }  # fmt: skip


def test_a_parent_outside_the_region_goes_on_and_is_not_seen() -> None:
    """`c` leads elsewhere too, so it is not the join's to stop; what it does changes nothing."""
    edges = ["start -> a -> b, c", "b, c -> j -> end", "c -> z -> end"]
    gate = threading.Event()

    def answer(request: Any, call: Any) -> Iterator[str]:
        if call.node_id == "c":
            gate.wait(5)
        if call.node_id == "j":
            gate.set()
            time.sleep(0.1)
            if call.call == 1:
                raise TransientModelUnavailable("again")
        yield call.node_id

    nodes = {
        "b": llm(), "c": llm(),
        "j": llm(
            join="any", prompt="{{ nodes.b.text }} {{ nodes.c.status }}{{ nodes.c.text ?? '' }}",
            retry={"attempts": 2, "backoff": "1ms"},
        ),
    }  # fmt: skip
    plan = compile_workflow(workflow(edges, nodes)).plan
    models = Says(answer)
    ended = interpreted(plan, {}, models)
    assert ended.status == "completed"
    assert set(statuses(ended).values()) == {"completed"}
    assert [p for p in models.prompts if p.startswith("b ")] == ["b cancelled", "b cancelled"]


def test_a_parent_that_every_way_passes_is_seen_though_it_did_not_win() -> None:
    graph = workflow(
        ["start -> a -> b -> j -> end"],
        {"j": node("{{ nodes.a.text }} {{ nodes.b.text ?? '' }}", "any")},
        more=[{"from": "a", "to": "j", "when": "{{ nodes.a.text = 'no' }}"}],
        outputs={"j": "{{ nodes.j.text }}"},
    )
    for ended in both(compile_workflow(graph)):
        assert ended.outputs == {"j": "a b"}


def test_an_edge_that_passes_by_decides_at_once() -> None:
    graph = workflow(["start -> a -> b -> c -> j", "a -> j -> end"], {"j": node("x", "any")})
    for opt in (0, 1):
        for ended in both(compile_workflow(graph, opt=opt)):
            assert statuses(ended) == {
                "a": "completed", "b": "cancelled", "c": "cancelled", "j": "completed"
            }  # fmt: skip


def test_start_takes_its_edges_from_the_beginning() -> None:
    graph = workflow(["start -> b -> j", "start -> j -> end"], {"j": node("x", "any")})
    for ended in both(compile_workflow(graph)):
        assert statuses(ended) == {"b": "cancelled", "j": "completed"}
    graph = workflow(["start -> b, c -> j", "start -> j -> end"], {"j": node("x", {"at_least": 2})})
    for ended in both(compile_workflow(graph)):
        assert ended.status == "completed"
        assert statuses(ended)["j"] == "completed"
    assert key_state(ended, compile_workflow(graph).plan, "j").taken[0] == 2


# -- failures ------------------------------------------------------------------------------


def test_one_that_fails_is_left_to_the_join() -> None:
    nodes = {"b": BROKEN, "j": node("x", {"at_least": 2})}
    interpreter, machine = both(compile_workflow(workflow(FORK, nodes, inputs=INPUTS)))
    assert interpreter.status == machine.status == "completed"
    assert statuses(interpreter)["b"] in ("failed", "cancelled")
    assert statuses(machine) == {
        "a": "completed", "b": "failed", "c": "completed", "d": "completed", "j": "completed"
    }  # fmt: skip
    (event,) = machine.listener.named("node.failed")
    assert event["data"]["on_error"] == "contained"


def test_out_of_reach_it_fails_and_says_why() -> None:
    nodes = {"b": BROKEN, "c": BROKEN, "j": node("x", {"at_least": 2})}
    compiled = compile_workflow(workflow(FORK, nodes, inputs=INPUTS))
    for ended in both(compiled):
        assert ended.status == "failed"
        error = dict(ended.run.error or {})
        assert (error["code"], error["node_id"]) == ("quorum_not_reached", "j")
        assert error["message"].startswith("join 'j' needs 2 of 3 edges and got ")
        assert "'b' failed (" in error["message"]
        lost = {row["node_id"]: row for row in error["details"]["lost"]}
        assert lost["b"]["error"]["code"] == "expression"
    assert statuses(compiled_run(compiled, {}))["d"] == "cancelled"


def test_its_own_on_error_says_what_happens_then() -> None:
    nodes = {"b": BROKEN, "c": BROKEN, "d": BROKEN, "j": node("x", "any", on_error="route")}
    edges = [*FORK, "j.error -> late -> end"]
    for ended in both(compile_workflow(workflow(edges, nodes, inputs=INPUTS))):
        assert ended.status == "completed"
        assert statuses(ended)["late"] == "completed"


def test_it_is_skipped_when_nothing_came_and_nothing_failed() -> None:
    edges = ["start -> p, q", "p.true -> b -> j", "q.true -> c -> j", "p.false, q.false -> z",
             "z, j -> end"]  # fmt: skip
    nodes = {"p": condition("x"), "q": condition("x"), "j": node("x", "any")}
    for ended in both(compile_workflow(workflow(edges, nodes, inputs=INPUTS)), {"x": False}):
        assert ended.status == "completed"
        assert statuses(ended)["j"] == "skipped"
        assert not ended.listener.named("nodes.cancelled")


def test_a_failure_that_kills_no_edge_of_its_own_still_counts() -> None:
    """`f` fails, `c` runs all the same, and neither way to the join is taken."""
    graph = workflow(
        ["start -> a -> f, c, d", "f -> c", "j -> end"],
        {"f": BROKEN, "j": node("x", "any")},
        inputs=INPUTS,
        more=[{"from": name, "to": "j", "when": "{{ run.id = '' }}"} for name in "cd"],
    )
    for ended in both(compile_workflow(graph)):
        assert ended.status == "failed"
        assert statuses(ended)["c"] == "completed"
        error = dict(ended.run.error or {})
        assert error["code"] == "quorum_not_reached"
        assert "'f' failed" in error["message"]


def test_an_outer_join_contains_an_inner_one() -> None:
    edges = ["start -> a -> b, c, d", "b, c -> i", "i, d -> o -> end"]
    nodes = {"b": BROKEN, "i": node("x", {"at_least": 2}), "o": node("x", "any")}
    compiled = compile_workflow(workflow(edges, nodes, inputs=INPUTS))
    by_id = compiled.plan.by_id
    assert (by_id["b"].contained, by_id["i"].contained, by_id["d"].contained) == ("i", "o", "o")
    for ended in both(compiled):
        assert ended.status == "completed"
        assert statuses(ended)["o"] == "completed"
        assert statuses(ended)["i"] in ("failed", "cancelled")


def test_an_outer_decision_stops_an_inner_race() -> None:
    edges = ["start -> a -> d, b, c", "b, c -> i -> e", "e, d -> o -> end"]
    nodes = {"i": node("x", "any"), "o": node("x", "any")}
    compiled = compile_workflow(workflow(edges, nodes))
    ended = compiled_run(compiled, {})
    assert statuses(ended) == {
        "a": "completed", "d": "completed", "o": "completed",
        **dict.fromkeys(("b", "c", "i", "e"), "cancelled"),
    }  # fmt: skip


# -- losers ------------------------------------------------------------------------------------


def slow_loser(background: bool) -> Ended:
    def answer(request: Any, call: Any) -> Iterator[str]:
        if call.node_id == "quick":
            time.sleep(0.05)
            yield "done"
            return
        for _ in range(2_000):
            time.sleep(0.005)
            yield "word "

    graph = workflow(
        ["start -> quick, slow -> j -> end"],
        {"quick": llm(), "slow": llm(), "j": node("{{ nodes.quick.text ?? '' }}", "any")},
        outputs={"j": "{{ nodes.j.text }}"},
    )
    ended = begin(compile_workflow(graph).plan, {}, Says(answer))
    if background:
        ended.deps = type(ended.deps)(ended.store, ended.listener, ended.deps.models)
    run_inline(ended.deps, compile_workflow(graph).plan, ended.run)
    ended.run = ended.store.get_run(ended.run.run_id)
    return ended


@pytest.mark.parametrize("background", [False, True])
def test_a_loser_is_stopped_and_what_it_used_is_kept(background: bool) -> None:
    began = time.monotonic()
    ended = slow_loser(background)
    assert time.monotonic() - began < 4  # it would have taken ten seconds
    assert ended.outputs == {"j": "done"}
    record = next(r for r in ended.store.nodes(ended.run.run_id) if r.node_id == "slow")
    assert (record.status, record.result, record.error) == ("cancelled", None, None)
    assert record.usage["model_calls"] == 1
    assert ended.run.usage["model_calls"] == 2
    used = [e["node_id"] for e in ended.listener.named("usage.recorded")]
    assert sorted(used) == ["quick", "slow"]
    rows = [r for e in ended.listener.named("nodes.cancelled") for r in e["data"]["nodes"]]
    assert rows == [{"node_id": "slow", "path": ""}]


def test_what_is_before_the_join_in_a_loop_is_cancelled_in_the_round_it_is_in() -> None:
    edges = [
        "start -> a -> c, b", "b -> j", "c -> l", "l.repeat -> c", "l.done -> j -> end",
    ]  # fmt: skip
    held = threading.Event()

    def answer(request: Any, call: Any) -> Iterator[str]:
        if (call.node_id, call.path) == ("c", "2"):
            held.set()
            while not call.cancelled():
                time.sleep(0.005)
            return
        if call.node_id == "b":
            held.wait(5)
        yield "x"

    nodes = {"b": llm(), "c": llm(), "l": loop(3), "j": node("x", "any")}
    ended = interpreted(compile_workflow(workflow(edges, nodes)).plan, {}, Says(answer))
    assert ended.status == "completed"
    assert statuses(ended) == {
        "a": "completed", "b": "completed", "c1": "completed", "l1": "completed",
        "c2": "cancelled", "l2": "cancelled", "j": "completed",
    }  # fmt: skip


def test_a_race_in_each_round() -> None:
    edges = ["start -> b, c -> j -> l", "l.repeat -> b, c", "l.done -> end"]
    nodes = {"j": node("x", "any"), "l": loop(2)}
    compiled = compile_workflow(workflow(edges, nodes))
    for ended in both(compiled):
        assert ended.status == "completed"
        for path in ("1", "2"):
            assert len(key_state(ended, compiled.plan, "j", path).winners) == 1
            assert statuses(ended)["j" + path] == "completed"


def test_a_join_that_begins_a_loop_is_decided_once() -> None:
    edges = ["start -> b, c -> a -> l", "l.repeat -> a", "l.done -> end"]
    nodes = {
        "a": node("{{ loop.round }}{{ nodes.b.text ?? '-' }}{{ nodes.c.text ?? '-' }}", "any"),
        "l": loop(2),
    }
    compiled = compile_workflow(workflow(edges, nodes, outputs={"a": "{{ nodes.a.text }}"}), opt=0)
    states = compiled.definition["States"]
    catcher = states["fork b + c"]["Catch"][0]
    assert catcher == {
        "ErrorEquals": ["Quorum_a"], "Assign": {"path_l": "1"}, "Output": {}, "Next": "a"
    }  # fmt: skip
    ended = compiled_run(compiled, {})
    assert ended.outputs == {"a": "2b-"}
    assert statuses(ended)["c"] == "cancelled"


def test_a_round_that_the_edge_back_begins_asks_no_join() -> None:
    edges = ["start -> b, c -> a -> l", "l.repeat -> a", "l.done -> end"]
    a = node("x", "any", on_error="continue")
    nodes = {"a": a, "b": BROKEN, "c": BROKEN, "l": loop(2)}
    for ended in both(compile_workflow(workflow(edges, nodes, inputs=INPUTS))):
        assert ended.status == "completed"
        assert statuses(ended)["a1"] == "failed"
        assert statuses(ended)["a2"] == "completed"


# -- Tasks of the machine ------------------------------------------------------------------------


def task(ended: Ended, plan: Plan, head: str, *quorum: str) -> dict[str, Any]:
    return run_task(
        ended.deps, plan, ended.run, head, "", deadline=time.monotonic() + 9, quorum=quorum
    )


def test_a_task_raises_again_when_it_is_repeated_or_too_late() -> None:
    plan = compile_workflow(workflow(FORK, {"j": node("x", "any")})).plan
    ended = begin(plan, {})
    task(ended, plan, "a")
    for name in ("b", "b", "c"):
        with pytest.raises(QuorumDecided) as raised:
            task(ended, plan, name, "j")
        assert raised.value.asl_name() == "Quorum_j"
    assert statuses(ended) == {"a": "completed", "b": "completed", "c": "cancelled"}
    assert task(ended, plan, "d") == {"port": "", "path": ""}  # nothing catches it there
    task(ended, plan, "j")
    head = ended.store.control(ended.run.run_id).head
    task(ended, plan, "j")
    assert ended.store.control(ended.run.run_id).head == head
    assert ended.nodes()[("j", "")] == ("completed", "")


def test_the_outermost_decided_join_is_raised() -> None:
    edges = ["start -> a -> d, b, c", "b, c -> i -> e", "e, d -> o -> end"]
    plan = compile_workflow(workflow(edges, {"i": node("x", "any"), "o": node("x", "any")})).plan
    ended = begin(plan, {})
    task(ended, plan, "a")
    with pytest.raises(NodeError) as inner:
        task(ended, plan, "b", "i", "o")
    assert inner.value.asl_name() == "Quorum_i"
    with pytest.raises(NodeError):
        task(ended, plan, "d", "o")
    with pytest.raises(NodeError) as outer:
        task(ended, plan, "c", "i", "o")
    assert outer.value.asl_name() == "Quorum_o"


def test_twenty_parents_at_once_have_one_set_of_winners() -> None:
    names = [f"p{n}" for n in range(20)]
    edges = [f"start -> a -> {', '.join(names)}", f"{', '.join(names)} -> j -> end"]
    plan = compile_workflow(workflow(edges, {"j": node("x", {"at_least": 7})})).plan
    for _ in range(20):
        ended = begin(plan, {})
        task(ended, plan, "a")
        gate = threading.Barrier(20)

        def vote(name: str, ended: Ended = ended, gate: threading.Barrier = gate) -> None:
            gate.wait()
            task(ended, plan, name)

        with ThreadPoolExecutor(20) as pool:
            list(pool.map(vote, names))
        state = key_state(ended, plan, "j")
        done = {name for name, status in statuses(ended).items() if status == "completed"}
        won = {plan.by_id["j"].incoming[place].source for place in state.winners}
        assert len(state.winners) == 7
        assert done == {"a", *won}
        task(ended, plan, "j")
        assert set(statuses(ended).values()) == {"completed", "cancelled"}
        records: list[NodeRecord] = ended.store.nodes(ended.run.run_id)
        assert all(record.terminal for record in records)
