"""How large a machine is: 2,000 nodes fit, and what grows with them does so in a line."""

from __future__ import annotations

from itertools import pairwise

import pytest
from kit.workflows import workflow

from joinery import errors, limits
from joinery.compiler.compile import compile_workflow
from joinery.compiler.states import NEVER_RETRIED
from joinery.workflow.model import Workflow

ARN = "arn:aws:lambda:eu-central-1:123456789012:function:joinery-prod-run-node:live"


def chain(length: int) -> Workflow:
    names = [f"node_{i}" for i in range(length)]
    nodes = {name: {"type": "llm", "prompt": "x"} for name in names}
    return workflow(["start -> " + " -> ".join(names) + " -> end"], nodes)


def layered(layers: int, width: int) -> Workflow:
    rows = [[f"node_{i}_{j}" for j in range(width)] for i in range(layers)]
    nodes = {name: {"type": "llm", "prompt": "x"} for row in rows for name in row}
    lines = [", ".join(row) for row in rows]
    edges = [f"{a} -> {b}" for a, b in pairwise(["start", *lines, "end"])]
    return workflow(edges, nodes)


def size(graph: Workflow, opt: int) -> int:
    return len(compile_workflow(graph, opt=opt, run_node_arn=ARN).definition_json().encode())


@pytest.mark.parametrize("opt", [0, 1])
def test_2000_nodes_fit_into_one_machine(opt: int) -> None:
    assert size(chain(2_000), opt) < limits.SFN_DEFINITION_BYTES
    assert size(layered(50, 40), opt) < limits.SFN_DEFINITION_BYTES


def test_the_definition_grows_with_the_nodes_and_no_faster() -> None:
    sizes = [size(chain(length), 1) for length in (125, 250, 500, 1_000)]
    assert all(1.9 < b / a < 2.1 for a, b in pairwise(sizes))


def test_the_report_counts_what_is_published() -> None:
    compiled = compile_workflow(chain(10), run_node_arn=ARN)
    assert compiled.report.definition_bytes == len(compiled.definition_json().encode())


def node_errors(base: type[errors.NodeError]) -> list[type[errors.NodeError]]:
    found = [base]
    for kind in found:
        found.extend(kind.__subclasses__())
    return found


def test_every_error_of_a_node_leaves_a_task_by_a_name_that_machines_know() -> None:
    for kind in node_errors(errors.NodeError)[1:]:
        raised = kind("so it is", limit=1).for_machine()
        assert type(raised).__name__ == kind.asl_name()
        assert raised.message.endswith("so it is")
        assert raised.details == {"limit": 1}
        if issubclass(kind, errors.Transient):
            assert kind.asl_name() not in NEVER_RETRIED
        if issubclass(kind, errors.Permanent):
            assert kind.asl_name() in NEVER_RETRIED
