"""Nodes that run other workflows: what is checked, pinned, compiled and priced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kit.installation import Catalog, Machines
from kit.workflows import workflow

from joinery.catalog.children import CatalogChildren
from joinery.catalog.publish import publish_workflow
from joinery.compiler.compile import compile_workflow
from joinery.compiler.plan import Plan
from joinery.errors import InvalidWorkflow
from joinery.workflow import WorkflowBuilder
from joinery.workflow.mermaid import mermaid
from joinery.workflow.source import load
from joinery.workflow.validation import Report, validate, validate_file
from joinery.workflow.yaml_text import dump

TALK: dict[str, Any] = {
    "version": 1,
    "name": "talk",
    "inputs": {
        "topic": {"required": True},
        "times": {"type": "integer"},
        "more": {"type": "object"},
    },
    "nodes": {"t": {"type": "llm", "prompt": "{{ inputs.topic }}"}},
    "edges": ["start -> t -> end"],
    "outputs": {"said": "{{ nodes.t.text }}"},
}


def parent(name: str = "parent", **node: Any) -> dict[str, Any]:
    runs = {"type": "workflow", "workflow": "./talk.yaml", "inputs": {"topic": "tea"}, **node}
    return {
        "version": 1,
        "name": name,
        "inputs": {"x": {"default": "y"}},
        "nodes": {"a": runs},
        "edges": ["start -> a -> end"],
    }


def write(folder: Path, **files: dict[str, Any]) -> None:
    for name, data in files.items():
        (folder / f"{name}.yaml").write_text(dump(data), "utf-8")


def check(folder: Path, data: dict[str, Any]) -> Report:
    write(folder, talk=TALK, parent=data)
    return validate_file(folder / "parent.yaml")


def codes(report: Report) -> list[str]:
    return [problem.code for problem in report.problems]


class Shop:
    """A catalogue in memory, and publishing to it."""

    def __init__(self) -> None:
        self.catalog, self.machines = Catalog(), Machines()

    def check(self, data: dict[str, Any], owner: str = "me") -> Report:
        return validate(load(dump(data)), children=CatalogChildren(self.catalog, owner))

    def publish(self, data: dict[str, Any]) -> Any:
        report = self.check(data)
        version, compiled, _ = publish_workflow(
            self.catalog, self.machines, owner="me", workflow=report.require(), source="",
            run_node_arn="arn", machine_prefix="p-", clock=lambda: 0.0, children=report.children,
        )  # fmt: skip
        return version, compiled


# -- checks --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"topic": "x"}, []),
        ({"topic": "{{ inputs.x }}", "times": "{{ inputs.x }}"}, []),
        ({"topic": "x {{ inputs.x }}", "times": 3, "more": {"k": "{{ inputs.x }}"}}, []),
        ({}, ["child.missing_input"]),
        ({"topic": "x", "topics": 1}, ["child.unknown_input"]),
        ({"topic": 3}, ["child.input_type"]),
        ({"topic": "x", "times": "three {{ inputs.x }}"}, ["child.input_type"]),
        ({"topic": "x", "times": True}, ["child.input_type"]),
        ({"topic": "x", "times": None}, ["child.input_type"]),
        ({"topic": "{{ inputs.nothing }}"}, ["reference.unknown_input"]),
        ({"topic": "{{ }}"}, ["expression.syntax"]),
    ],
)
def test_inputs_are_checked_against_the_child(tmp_path: Path, inputs: Any, expected: Any) -> None:
    assert codes(check(tmp_path, parent(inputs=inputs))) == expected


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("./nothing.yaml", "child.file_missing"),
        ("../talk.yaml", "child.file_outside"),
        ("\0.yaml", "child.file_missing"),
        ("./parent.yaml", "child.circle"),
        ("./bad.yaml", "child.invalid"),
        ("./empty.yaml", "child.invalid"),
    ],
)
def test_files_that_cannot_be_run(tmp_path: Path, name: str, code: str) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    write(tmp_path, talk=TALK)
    write(folder, bad={**TALK, "edges": ["start -> nobody"]})
    (folder / "empty.yaml").write_text("")
    report = check(folder, parent(workflow=name))
    assert codes(report) == [code]
    assert report.problems[0].node_id == "a"


def test_a_circle_is_named_from_end_to_end(tmp_path: Path) -> None:
    write(tmp_path, b=parent("b", workflow="./c.yaml"), c=parent("c", workflow="parent.yaml"))
    report = check(tmp_path, parent(workflow="./b.yaml"))
    assert codes(report) == ["child.circle"]
    assert "parent.yaml -> b.yaml -> c.yaml -> parent.yaml" in report.problems[0].message


def test_files_nest_only_so_deep(tmp_path: Path) -> None:
    for level in range(1, 6):
        below = f"./l{level - 1}.yaml" if level > 1 else "./talk.yaml"
        inputs = {} if level > 1 else {"topic": "x"}
        data = parent(f"l{level}", workflow=below, inputs=inputs)
        write(tmp_path, **{f"l{level}": {**data, "inputs": {}}})
    assert codes(check(tmp_path, parent(workflow="./l4.yaml", inputs={}))) == []
    assert codes(check(tmp_path, parent(workflow="./l5.yaml", inputs={}))) == ["limit.child_depth"]


def test_a_file_has_no_version_and_nothing_is_said_of_what_is_not_known(tmp_path: Path) -> None:
    assert codes(check(tmp_path, parent(version=1))) == ["schema.value"]
    assert codes(check(tmp_path, parent(workflow="published", version=3))) == []
    assert validate(load(dump(parent()))).problems == ()


def test_published_workflows_are_found_by_name() -> None:
    shop = Shop()
    assert codes(shop.check(parent(workflow="talk"))) == ["reference.unknown_workflow"]
    shop.publish(TALK)
    assert codes(shop.check(parent(workflow="talk"))) == []
    assert codes(shop.check(parent(workflow="talk"), owner="eve")) == ["reference.unknown_workflow"]
    (problem,) = shop.check(parent(workflow="tall")).problems
    assert problem.hint == "did you mean 'talk'?"
    (problem,) = shop.check(parent(workflow="talk", version=2)).problems
    assert problem.hint == "its newest version is 1"
    (problem,) = shop.check(parent()).problems
    assert "publish that workflow first" in problem.hint
    assert codes(shop.check(parent(workflow="talk", inputs={}))) == ["child.missing_input"]


def test_a_circle_of_published_workflows_is_refused() -> None:
    shop = Shop()
    shop.publish({**TALK, "name": "a"})
    shop.publish(parent("b", workflow="a"))
    (problem,) = shop.check(parent("a", workflow="b", inputs={})).problems
    assert problem.code == "child.circle"
    assert "a -> b -> a" in problem.message
    (problem,) = shop.check(parent("a", workflow="a")).problems
    assert "a -> a" in problem.message


# -- plans and machines ------------------------------------------------------------------


def test_a_plan_pins_the_version_that_is_there() -> None:
    shop = Shop()
    first, _ = shop.publish(TALK)
    before, _ = shop.publish(parent(workflow="talk"))
    second, _ = shop.publish({**TALK, "description": "newer", "outputs": {}})
    pinned = Plan.from_dict(before.plan).by_id["a"].spec
    assert pinned == {
        "workflow": "talk", "workflow_id": first.workflow_id, "version": 1,
        "inputs": {"topic": "tea"},
    }  # fmt: skip
    after, _ = shop.publish(parent(workflow="talk"))
    assert (second.version, after.version) == (2, 2)
    assert Plan.from_dict(after.plan).by_id["a"].spec["version"] == 2
    old, _ = shop.publish(parent(workflow="talk", version=1))
    assert Plan.from_dict(old.plan).by_id["a"].spec["version"] == 1
    assert after.machine_arn == before.machine_arn


def machine(graph: Any, **children: Any) -> dict[str, Any]:
    found: dict[str, Any] = compile_workflow(graph, children=children).definition["States"]
    return found


CALL = {"type": "workflow", "workflow": "talk"}


def test_its_task_waits_for_a_token_for_as_long_as_the_node_may_take() -> None:
    state = machine(workflow(["start -> a -> end"], {"a": {**CALL, "timeout": "90d"}}))["a"]
    assert state["Resource"] == "arn:aws:states:::lambda:invoke.waitForTaskToken"
    assert state["Arguments"]["Payload"]["token"] == "{% $states.context.Task.Token %}"
    assert state["TimeoutSeconds"] == 90 * 86_400 + 10
    assert "Permanent" in state["Retry"][0]["ErrorEquals"]
    assert state["Retry"][0]["MaxAttempts"] == 0
    assert machine(workflow(["start -> a -> end"], {"a": CALL}))["a"]["TimeoutSeconds"] == 86_410


def test_its_port_comes_with_the_token() -> None:
    graph = workflow(
        ["start -> a -> end", "a.error -> b -> end"], {"a": {**CALL, "on_error": "route"}}
    )
    states = machine(graph)
    # What is sent with the token is all that the Task gives: nothing has to be taken out of it.
    assert "Output" not in states["a"]
    assert states[states["a"]["Next"]]["Type"] == "Choice"


def test_it_shares_no_task_and_no_state_with_nodes_of_another_kind() -> None:
    chain = workflow(["start -> t -> a -> u -> end"], {"a": CALL})
    assert compile_workflow(chain, opt=1).plan.groups == {}
    assert compile_workflow(chain, opt=2).plan.groups == {"u": ("u", "end")}
    other = {"type": "llm", "prompt": "x", "timeout": "24h"}
    same = {"a": CALL, "b": CALL, "c": {**other, "timeout": "5m"}}
    mixed = machine(workflow(["start -> a, c -> end"], same))
    assert mixed["fork a + c"]["Type"] == "Parallel"
    alike = machine(workflow(["start -> a, b -> end"], same))
    assert alike["fork a + b"]["Type"] == "Map"


@pytest.mark.parametrize(("kind", "timeout", "fits"), [
    ("workflow", "365d", True), ("workflow", "366d", False), ("llm", "1h", False),
])  # fmt: skip
def test_only_nodes_that_wait_may_take_days(kind: str, timeout: str, fits: bool) -> None:
    node = CALL if kind == "workflow" else {"type": "llm", "prompt": "x"}
    graph = workflow(["start -> a -> end"], {"a": {**node, "timeout": timeout}})
    if fits:
        compile_workflow(graph)
        return
    with pytest.raises(InvalidWorkflow) as refused:
        compile_workflow(graph)
    assert [p.code for p in refused.value.problems] == ["limit.timeout"]


def test_the_price_holds_what_is_below(tmp_path: Path) -> None:
    found = check(tmp_path, parent())
    alone = compile_workflow(found.require()).report
    whole = compile_workflow(found.require(), children=found.children).report
    child = compile_workflow(found.children["a"].report.require()).report
    assert whole.transitions.max == alone.transitions.max + child.transitions.max
    assert whole.model_calls.max == 1
    assert whole.price_usd.expected == pytest.approx(
        alone.price_usd.expected + child.price_usd.expected
    )
    services = whole.price_by_service.values()
    assert sum(price.expected for price in services) == pytest.approx(whole.price_usd.expected)
    assert whole.history_events.max == alone.history_events.max == 2 + 6 + 5
    assert whole.children[0].startswith("child workflow talk: 1 to 1 transitions, $0.0")
    assert "not known here" in alone.children[0]


# -- the builder and the drawing -----------------------------------------------------------


def test_the_builder_adds_child_workflows() -> None:
    flow = WorkflowBuilder("p")
    text = flow.input("text", required=True)
    first = flow.node.workflow("a", workflow="talk", inputs={"topic": text}, version=2)
    second = flow.node.workflow(
        "b", workflow="./talk.yaml", inputs={"topic": first.output.said}, timeout="2d"
    )
    flow.edge(flow.start, first, second, flow.end)
    nodes = flow.build().model_dump(exclude_unset=True)["nodes"]
    assert nodes["a"]["inputs"] == {"topic": "{{ inputs.text }}"}
    assert (nodes["a"]["version"], nodes["b"]["timeout"]) == (2, 172_800)
    assert '["a<br/><small>workflow</small>"]' in mermaid(flow.build())
