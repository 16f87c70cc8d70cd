"""Edges with conditions, and decisions that are taken side by side."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from kit.engines import interpreted
from kit.models import Says
from kit.workflows import loop, workflow

from joinery.compiler.compile import compile_workflow


@pytest.mark.parametrize("taken", [True, False])
def test_an_edges_condition_reads_the_node_that_it_leaves(taken: bool) -> None:
    graph = workflow(
        ["start -> a", "b -> end"],
        {"a": {"type": "transform", "value": {"go": taken}}},
        more=[{"from": "a", "to": "b", "when": "{{ nodes.a.output.go }}"}],
    )
    ended = interpreted(compile_workflow(graph).plan, {})
    assert ended.status == "completed"
    assert ended.nodes()[("b", "")][0] == ("completed" if taken else "skipped")
    assert len(ended.listener.named("nodes.skipped")) == (0 if taken else 1)


def test_a_loop_that_goes_on_elsewhere_is_not_taken_for_ended() -> None:
    """The join waits for the loop, though the condition beside it is decided in its round 1."""
    graph = workflow(
        ["start -> a, ask", "a -> l", "l.repeat -> a", "l.done -> j", "ask.true -> j",
         "ask.false -> end", "j -> end"],
        {
            "a": {"type": "llm", "prompt": "a"},
            "l": loop(3),
            "ask": {"type": "condition", "if": "{{ inputs.x }}"},
        },
        inputs={"x": {"type": "boolean", "required": True}},
    )  # fmt: skip

    def slowly(request: Any, call: Any) -> Iterator[str]:
        time.sleep(0.02 if call.path == "2" else 0)
        yield "x"

    for _ in range(10):
        ended = interpreted(compile_workflow(graph).plan, {"x": False}, Says(slowly))
        assert ended.nodes()[("j", "")][0] == "completed"
