"""Checks what a file says of rounds and probabilities, which only `joinery plan` uses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, TypeGuard

from joinery.workflow.checks.edges import RawGraph, RawNode
from joinery.workflow.report import Collector, did_you_mean
from joinery.workflow.yaml_tree import escape_pointer

TOLERANCE: Final = 1e-6
"""Probabilities such as 0.1 have no exact binary form, so their sum is not exact either."""


def check_expected(graph: RawGraph, out: Collector) -> None:
    """Reports expected rounds beyond the most, and probabilities that cannot be."""
    for node in graph.nodes.values():
        if node.type == "loop":
            _check_rounds(node, out)
        said = node.data.get("probabilities")
        if isinstance(said, dict) and node.ports is not None:
            _check_probabilities(node, node.ports, said, out)


def _check_rounds(node: RawNode, out: Collector) -> None:
    usual, most = node.data.get("expected_rounds"), node.data.get("max_rounds")
    if _is_number(usual) and _is_number(most) and usual > most >= 1:
        out.add(
            "node.expected_rounds",
            f"loop '{node.id}' expects {usual:g} rounds and ends after {most:g} at most",
            f"{node.pointer}/expected_rounds",
            hint=f"write a number from 1 to {most:g}, such as {(1 + most) / 2:g}",
        )


def _check_probabilities(
    node: RawNode, ports: tuple[str, ...], said: Mapping[Any, Any], out: Collector
) -> None:
    pointer = f"{node.pointer}/probabilities"
    rounds = ("repeat", "done") if node.type == "loop" else ()
    named = [port for port in ports if port and port not in rounds]
    for port in said:
        if port in named:
            continue
        hint = did_you_mean(str(port), named)
        if port in rounds:
            hint = "say how many rounds are usual: expected_rounds: 2"
        elif not named:
            hint = "it has one way out; probabilities are for ports"
        out.add(
            "node.probability_port",
            f"node '{node.id}' has no port '{port}' to give a probability"
            if port not in rounds
            else f"the rounds of loop '{node.id}' decide how often '{port}' is taken",
            f"{pointer}/{escape_pointer(str(port))}",
            hint=hint,
            key=True,
        )
    values = [said[port] for port in named if port in said]
    if not values or not all(_is_number(value) and 0 <= value <= 1 for value in values):
        return
    total = math.fsum(values)
    # `error` has 0 unless the file says otherwise: it takes no part of what is missing.
    left = [port for port in ports if port not in said and port != "error"]
    if total > 1 + TOLERANCE or (total < 1 - TOLERANCE and not left):
        what = "more" if total > 1 else "less"
        out.add(
            "node.probability_sum",
            f"the probabilities of node '{node.id}' are {total:.6g} together, {what} than 1",
            pointer,
            hint="together they are 1; ports that are left out share what is missing",
        )


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
