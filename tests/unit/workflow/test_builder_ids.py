"""The Python builder takes node ids in any script: they become names, beside safe ids."""

from __future__ import annotations

from typing import Any

import pytest
from kit.engines import compiled_run, interpreted

from joinery.compiler.compile import compile_workflow
from joinery.compiler.opt import OPT_LEVELS
from joinery.errors import InvalidWorkflow, Problem
from joinery.workflow import WorkflowBuilder
from joinery.workflow.validation import load_workflow

ANY_SCRIPT = {
    "面试官": "node_1",
    "🎉": "node_2",
    "Final  verdict": "Final_verdict",
    "Größe?": "Grosse",
    "a.b -> c, d": "a_b_c_d",
    "{{ x }} `'\"\\": "x",
    "two\nlines": "two_lines",
    "x" * 300: "x" * 64,
    "x" * 301: "x" * 62 + "_2",
    "محرر": "node_10",
}


def problems(flow: WorkflowBuilder) -> list[Problem]:
    with pytest.raises(InvalidWorkflow) as caught:
        flow.build()
    return list(caught.value.problems)


def in_any_script() -> WorkflowBuilder:
    flow = WorkflowBuilder("scripts")
    last: Any = flow.start
    for name in ANY_SCRIPT:
        before = "" if last is flow.start else last.text
        node = flow.node.template(name, f"{before}.")
        flow.edge(last, node)
        last = node
    flow.edge(last, flow.end)
    flow.output("said", last.text)
    return flow


def test_names_in_any_script_get_ids_and_stay_as_names() -> None:
    flow = in_any_script()
    built = flow.build()
    assert {node.name: node_id for node_id, node in built.nodes.items()} == ANY_SCRIPT
    assert flow.validate().problems == ()
    assert load_workflow(flow.to_yaml()) == built
    assert in_any_script().to_yaml() == flow.to_yaml()


@pytest.mark.parametrize("opt", OPT_LEVELS)
def test_every_event_of_a_node_says_its_name_in_any_script(opt: int) -> None:
    compiled = compile_workflow(in_any_script().build(), opt=opt)
    ended = compiled_run(compiled, {})
    assert (ended.status, ended.outputs) == ("completed", {"said": "." * len(ANY_SCRIPT)})
    heard = [e for e in ended.store.events(ended.run.run_id, 0, 1000) if e.get("node_id")]
    assert {(e["node_name"], e["node_id"]) for e in heard if e["node_id"] != "end"} == set(
        ANY_SCRIPT.items()
    )
    assert all(name.isascii() and len(name) <= 80 for name in compiled.definition["States"])


def test_names_of_functions_in_any_script() -> None:
    flow = WorkflowBuilder("scripts")
    text = flow.input("text", default="x")

    @flow.code
    def 分类(text: str) -> str:
        return text * 2

    first, second = 分类(text=text), 分类(text=text)
    flow.edge(flow.start, [first, second], flow.end)
    flow.output("said", f"{first.text}{second.text}")
    built = flow.build()
    assert [(i, n.name) for i, n in built.nodes.items()] == [
        ("node_1", "分类"),
        ("node_2", "分类_2"),
    ]
    ended = interpreted(compile_workflow(built).plan, {})
    assert ended.outputs == {"said": "xxxx"}


def test_a_name_of_its_own_stays() -> None:
    flow = WorkflowBuilder("x")
    node = flow.node.llm("面试官", prompt="x", name="Interviewer")
    flow.edge(flow.start, node, flow.end)
    assert flow.build().nodes["node_1"].name == "Interviewer"


def test_an_id_that_a_name_was_given_before_is_refused() -> None:
    flow = WorkflowBuilder("x")
    flow.node.template("Write it!", "x")
    flow.node.template("Write_it", "x")
    problem = next(p for p in problems(flow) if p.code == "builder.duplicate")
    assert problem.message == "node 'Write_it': 'Write_it' stands in nodes already, for 'Write it!'"


@pytest.mark.parametrize("name", ["", " ", "end"])
def test_what_is_no_name_is_no_id(name: str) -> None:
    flow = WorkflowBuilder("x")
    flow.edge(flow.start, flow.node.template(name, "x"), flow.end)
    assert ("node.bad_id", name) in {(p.code, p.node_id) for p in problems(flow)}


def test_a_name_that_no_event_could_carry_is_refused() -> None:
    flow = WorkflowBuilder("x")
    flow.edge(flow.start, flow.node.template("长" * 1001, "x"), flow.end)
    problem = next(iter(problems(flow)))
    assert (problem.code, problem.pointer) == ("schema.value", "/nodes/node_1/name")
