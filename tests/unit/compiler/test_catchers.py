"""Which states are left early for which join, and what their Tasks are told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kit.workflows import condition, loop, workflow
from statelint.config import Config
from statelint.linter import Linter

from joinery.compiler.compile import compile_workflow
from joinery.compiler.states import likeness

BOOL = {"x": {"type": "boolean", "required": True}}


def quorum(join: Any = "any") -> dict[str, Any]:
    return {"type": "template", "template": "x", "join": join}


def every(scope: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, state in scope["States"].items():
        yield name, state
        for branch in state.get("Branches", []):
            yield from every(branch)
        if "ItemProcessor" in state:
            yield from every(state["ItemProcessor"])


def machine(edges: list[str], nodes: dict[str, Any], *, opt: int = 0, **more: Any) -> Any:
    compiled = compile_workflow(workflow(edges, nodes, **more), opt=opt)
    assert Linter.validate(compiled.definition_json(), Config([], False, True)) == []
    return compiled


def caught(compiled: Any) -> dict[str, list[tuple[str, str]]]:
    """`{state: [(error, next)]}` of the states that catch anything."""
    return {
        name: [(row["ErrorEquals"][0], row["Next"]) for row in state["Catch"]]
        for name, state in every(compiled.definition)
        if "Catch" in state
    }


def told(compiled: Any) -> dict[str, list[str]]:
    """`{state: quorum}` of the Tasks that are told of any."""
    return {
        name: state["Arguments"]["quorum"]
        for name, state in every(compiled.definition)
        if state["Type"] == "Task" and "quorum" in state["Arguments"]
    }


def test_a_map_over_branches() -> None:
    compiled = machine(["start -> a -> b, c", "b, c -> j -> end"], {"j": quorum()})
    assert caught(compiled) == {"fork b + c": [("Quorum_j", "j")]}
    assert told(compiled) == {"b + c": ["j"]}


def test_a_parallel_tells_every_task_in_it() -> None:
    edges = ["start -> a -> b, c", "c -> l", "l.repeat -> c", "l.done -> d", "b, d -> j -> end"]
    compiled = machine(edges, {"j": quorum(), "l": loop(2)})
    assert caught(compiled) == {"fork b + c": [("Quorum_j", "j")]}
    assert told(compiled) == {name: ["j"] for name in ("b", "c", "l", "d")}


def test_the_ways_of_a_switch_are_left_one_by_one() -> None:
    edges = ["start -> p", "p.true -> b -> d -> j", "p.false -> c -> j", "b -> j", "j -> end"]
    compiled = machine(edges, {"j": quorum(), "p": condition("x")}, inputs=BOOL)
    assert set(caught(compiled)) == {"b", "c", "d"}
    assert set(told(compiled)) == {"b", "c", "d"}


def test_each_step_of_a_rigid_region_that_ends_in_the_join() -> None:
    edges = ["start -> a -> b, c", "b -> d", "b, c -> e", "d, e -> j -> end"]
    compiled = machine(edges, {"j": quorum()})
    assert set(caught(compiled)) == {"fork b + c", "then d + e"}
    assert {n for names in caught(compiled).values() for _, n in names} == {"j"}


def test_a_join_inside_a_level_is_reached_when_all_has_ended() -> None:
    edges = ["start -> a -> b, c", "b, c -> j", "c -> z", "j, z -> k -> end"]
    compiled = machine(edges, {"j": quorum()})
    assert caught(compiled) == {}
    assert told(compiled) == {}


def test_joins_in_each_other_have_names_of_their_own() -> None:
    edges = ["start -> a -> d, b, c", "b, c -> i -> e", "e, d -> o -> end"]
    compiled = machine(edges, {"i": quorum(), "o": quorum({"at_least": 2})})
    assert caught(compiled) == {
        "fork d + b + c": [("Quorum_o", "o")], "fork b + c": [("Quorum_i", "i")]
    }  # fmt: skip
    assert told(compiled) == {"d": ["o"], "b + c": ["i", "o"], "i": ["o"], "e": ["o"]}


def test_what_is_not_the_joins_alone_is_not_left() -> None:
    """`c` leads elsewhere as well: to stop it would stop that too."""
    edges = ["start -> a -> b, c", "b, c -> j -> end", "c -> z -> end"]
    compiled = machine(edges, {"j": quorum()})
    assert caught(compiled) == {}
    assert [n.id for n in compiled.plan.nodes if n.contained] == ["b"]


def test_a_loop_that_would_be_cut_is_no_region() -> None:
    edges = ["start -> a -> b, j", "b -> l", "l.repeat -> a", "l.done -> end", "j -> l"]
    compiled = machine(edges, {"j": quorum(), "l": loop(2)})
    assert [n.id for n in compiled.plan.nodes if n.contained] == []


def test_no_retrier_takes_the_error_of_a_join() -> None:
    compiled = machine(["start -> a -> b, c", "b, c -> j -> end"], {"j": quorum()}, opt=1)
    retried = {
        name: state["Retry"] for name, state in every(compiled.definition) if "Retry" in state
    }
    in_race = [state for state in retried.values() if "Quorum_j" in state[0]["ErrorEquals"]]
    # Retry comes before Catch, so the first Retrier lets the error through.
    assert [state[0]["MaxAttempts"] for state in in_race] == [0]
    assert sum("Quorum_j" in str(state) for state in retried.values()) == 1


def test_a_join_begins_a_task_of_its_own_and_what_follows_is_folded_into_it() -> None:
    compiled = machine(["start -> b -> j -> z -> end"], {"j": quorum()}, opt=1)
    assert dict(compiled.plan.groups) == {"j": ("j", "z")}


def test_tasks_share_a_map_only_where_they_are_told_the_same() -> None:
    edges = ["start -> a -> b, c, d", "b, c -> j", "j, d -> k -> end"]
    compiled = machine(edges, {"j": quorum()})
    for _, state in every(compiled.definition):
        if state["Type"] == "Map":
            assert len({likeness(compiled.plan, item) for item in state["Items"]}) == 1
            inside = [compiled.plan.by_id[item].contained for item in state["Items"]]
            assert len(set(inside)) == 1


def test_without_such_joins_nothing_changes() -> None:
    compiled = machine(["start -> a -> b, c", "b, c -> j -> end"], {})
    assert "Quorum" not in compiled.definition_json()
    assert '"quorum"' not in compiled.definition_json()
