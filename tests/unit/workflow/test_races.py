"""Regions of joins, held against their definition on random graphs."""

from __future__ import annotations

import sys
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from joinery.workflow.graph import END, START
from joinery.workflow.races import Races, Shape, entered_depth, find_races


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    names = [f"n{i}" for i in range(draw(st.integers(2, 9)))]
    order = [START, *names, END]
    followers: dict[str, list[str]] = {}
    for place, name in enumerate(order[:-1]):
        later = order[place + 1 :]
        followers[name] = draw(
            st.lists(st.sampled_from(later), min_size=1, max_size=3, unique=True)
        )
    for place, name in enumerate(names, start=1):
        if not any(name in followers[before] for before in order[:place]):
            followers[draw(st.sampled_from(order[:place]))].append(name)
    joins = draw(st.sets(st.sampled_from(names), min_size=1))
    return Shape(order, followers, {}, {}, joins)


def reaches(shape: Shape, start: str, goal: str, without: str) -> bool:
    todo, seen = [start], {start}
    while todo:
        name = todo.pop()
        if name == without:
            continue
        if name == goal:
            return True
        fresh = [f for f in shape.followers.get(name, ()) if f not in seen]
        seen.update(fresh)
        todo.extend(fresh)
    return False


def dominates(shape: Shape, a: str, b: str) -> bool:
    return a == b or not reaches(shape, START, b, a)


def passes(shape: Shape, a: str, join: str) -> bool:
    return a == join or not reaches(shape, a, END, join)


def region(shape: Shape, join: str) -> set[str]:
    above = [n for n in shape.order if n != join and dominates(shape, n, join)]
    nearest = next(n for n in above if all(dominates(shape, other, n) for other in above))
    return {
        name
        for name in shape.order
        if name not in (nearest, join)
        and dominates(shape, nearest, name)
        and passes(shape, name, join)
    }


@settings(max_examples=300, deadline=None)
@given(shapes())
def test_the_innermost_region_around_each_node(shape: Shape) -> None:
    regions = {join: region(shape, join) for join in shape.joins}
    found = find_races(shape)
    for name in shape.order:
        inside = [join for join in regions if name in regions[join]]
        # Regions lie in each other or apart, so the smallest is inside all the others.
        smallest = min(inside, key=lambda join: len(regions[join]), default=None)
        assert found.around.get(name) == smallest
        for join in inside:
            assert smallest == join or smallest in regions[join]
    for join, parents in found.unsure.items():
        leads = [n for n in shape.order if join in shape.followers.get(n, ())]
        assert set(parents) == {n for n in leads if not dominates(shape, n, join)}


def test_only_nodes_inside_the_same_loops_are_in_a_region() -> None:
    order = [START, "a", "b", "j", "l", END]
    followers = {START: ["a", "b"], "a": ["j"], "b": ["j"], "j": ["l"], "l": [END]}
    scopes = {"j": ("l",), "l": ("l",), "b": ("l",)}
    entries = {"l": ("b", "j")}
    shape = Shape(order, followers, scopes, entries, {"j"})
    assert entered_depth("j", scopes, entries, ["a", "b"]) == 1
    assert find_races(shape).around == {"b": "j"}
    entries = {"l": ("j",)}
    shape = Shape(order, followers, {"j": ("l",), "l": ("l",)}, entries, {"j"})
    assert find_races(shape).around == {"a": "j", "b": "j"}


def races_in_a_row(count: int) -> tuple[Races, int]:
    """Returns the races of a graph with so many in a row, and how many lines of code that took."""
    order, followers = [START], {START: ["s0"]}
    for n in range(count):
        order += [f"s{n}", f"a{n}", f"b{n}"]
        followers[f"s{n}"] = [f"a{n}", f"b{n}"]
        following = f"s{n + 1}" if n < count - 1 else END
        followers[f"a{n}"] = followers[f"b{n}"] = [following]
    order.append(END)
    shape = Shape(order, followers, {}, {}, {f"s{n}" for n in range(1, count)})
    lines = 0

    def count_lines(frame: Any, event: str, arg: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return count_lines

    before = sys.gettrace()
    sys.settrace(count_lines)
    try:
        found = find_races(shape)
    finally:
        sys.settrace(before)
    return found, lines


def test_the_work_grows_no_faster_than_the_square_of_the_graph() -> None:
    _, some = races_in_a_row(100)
    found, twice = races_in_a_row(200)
    assert twice < 4 * some
    assert found.around["a7"] == "s8"
