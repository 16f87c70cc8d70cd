"""What is said of questions that cannot be asked so, and questions from Python."""

from __future__ import annotations

import json
from typing import Any

import pytest

from joinery.compiler.compile import compile_workflow
from joinery.errors import InvalidWorkflow
from joinery.workflow import WorkflowBuilder
from joinery.workflow.source import load
from joinery.workflow.validation import load_workflow, validate


def problems(run_on: str = "standard", **node: Any) -> list[str]:
    data = {
        "version": 1, "name": "x", "run_on": run_on,
        "nodes": {"a": {"type": "question", "prompt": "?", **node}},
        "edges": ["start -> a -> end"],
    }  # fmt: skip
    return [problem.code for problem in validate(load(json.dumps(data))).problems]


@pytest.mark.parametrize(
    ("node", "codes"),
    [
        ({"options": ["yes", "no"]}, []),
        ({"options": {"yes": "Yes"}, "default": "yes", "timeout": "365d"}, []),
        ({"schema": {"type": ["string", "null"]}, "default": None}, []),
        ({"options": []}, ["schema.value"]),
        ({"options": ["yes", "yes"]}, ["schema.value"]),
        ({"options": ["not one"]}, ["schema.value"]),
        ({"options": ["error"]}, ["schema.value"]),
        ({"options": [f"o{n}" for n in range(51)]}, ["schema.value"]),
        ({"options": ["yes"], "schema": {"type": "string"}}, ["schema.value"]),
        ({"options": {"yes": "{{ inputs.x }}"}}, ["expression.not_evaluated"]),
        ({"schema": {"type": "int"}}, ["output.schema"]),
        ({"options": ["yes"], "default": "no"}, ["question.default"]),
        ({"schema": {"type": "integer"}, "default": "1"}, ["question.default"]),
        ({"timeout": "366d"}, ["limit.timeout"]),
    ],
)
def test_a_question_is_checked(node: Any, codes: list[str]) -> None:
    assert problems(**node) == codes


def test_it_rules_out_inline() -> None:
    source = {
        "version": 1, "name": "x", "run_on": "inline",
        "nodes": {"a": {"type": "question", "prompt": "?"}}, "edges": ["start -> a -> end"],
    }  # fmt: skip
    with pytest.raises(InvalidWorkflow) as refused:
        compile_workflow(load_workflow(json.dumps(source)))
    assert [problem.code for problem in refused.value.problems] == ["plan.inline_waits"]


def test_a_question_from_python() -> None:
    flow = WorkflowBuilder("ask")
    ask = flow.node.question("ask", prompt="Send it?", options={"yes": "Yes", "no": "No"},
                             default="no", timeout="2d")  # fmt: skip
    sent = flow.node.template("sent", "Sent.")
    flow.edge(flow.start, ask)
    flow.edge(ask.option("yes"), sent)
    flow.edge(ask.option("no"), flow.end)
    flow.edge(sent, flow.end)
    built = flow.build()
    node: Any = built.nodes["ask"]
    assert (node.options, node.default) == ({"yes": "Yes", "no": "No"}, "no")
