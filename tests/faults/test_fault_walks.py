"""An invocation that walks through a whole run dies anywhere."""

from __future__ import annotations

import pytest
from kit.faulty import Fault
from kit.lab import ROW, TWO, Given, Lab, two

pytestmark = [pytest.mark.stack, pytest.mark.faults]


def calls_of_all(lab: Lab, source: str, given: Given, node: str) -> list[tuple[Fault, ...]]:
    """Returns a death at each call that this invocation makes whoever is quick or slow."""
    uncut = lab.trials(source, [()] * 4, given, opt=2)
    first, *others = (lab.faulty.anywhere(run.run_id, "run-node", node) for run in uncut)
    return [case for case in first if all(case in other for other in others)]


@pytest.mark.timeout(580)
def test_a_walk_dies_at_any_call(lab: Lab) -> None:
    given = two(words=3)
    cases = calls_of_all(lab, ROW, given, "pro")
    ends = [fault for (fault,) in cases if fault.point == "finish"]
    assert len(ends) == 6, "three nodes end in it, before and after each"
    lab.trials(ROW, cases, given, opt=2)


@pytest.mark.timeout(300)
def test_the_last_node_and_the_end_die_at_any_call(lab: Lab) -> None:
    given = two(words=3)
    cases = calls_of_all(lab, TWO, given, "last")
    assert {"finish", "seal", "close"} <= {fault.point for (fault,) in cases}
    lab.trials(TWO, cases, given, opt=2)
