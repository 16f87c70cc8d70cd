"""Files that run other files: in this process, and published before their parent."""

from __future__ import annotations

import json

import pytest

from joinery.client import Client
from joinery_cli import exits
from joinery_cli.children import publish_children
from joinery_cli.live.state import RunState
from joinery_cli.workflow_file import publishable, read_workflow

from .messages import Log

CHILD = """\
version: 1
name: {name}
inputs: {{who: {{required: true}}}}
nodes:
  a: {{type: template, template: "Hello {{{{ inputs.who }}}}!"}}
edges: [start -> a -> end]
outputs: {{text: "{{{{ nodes.a.text }}}}"}}
"""

PARENT = """\
version: 1
name: parent
nodes:
  one: {type: workflow, workflow: ./middle.yaml, inputs: {who: Ada}}
  two: {type: workflow, workflow: sub/leaf.yaml, inputs: {who: Bob}}
edges: ["start -> one, two -> end"]
outputs: {one: "{{ nodes.one.text }}", two: "{{ nodes.two.text }}"}
"""

MIDDLE = """\
version: 1
name: middle
inputs: {who: {required: true}}
nodes:
  a: {type: workflow, workflow: ./sub/leaf.yaml, inputs: {who: "{{ inputs.who }}"}}
edges: [start -> a -> end]
outputs: {text: "{{ nodes.a.text }}"}
"""


@pytest.fixture
def parent(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/leaf.yaml").write_text(CHILD.format(name="leaf"))
    (tmp_path / "middle.yaml").write_text(MIDDLE)
    file = tmp_path / "parent.yaml"
    file.write_text(PARENT)
    return file


def test_children_from_files_run_in_this_process(joinery, parent):
    result = joinery("run", parent, "--engine", "inline", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["outputs"] == {"one": "Hello Ada!", "two": "Hello Bob!"}
    result = joinery("run", parent, "--engine", "inline")
    assert "one waits for middle, run_" in result.stderr
    assert result.stderr.count(" started\n") == 3


def test_published_workflows_do_not_run_in_this_process(joinery, parent):
    middle = parent.parent / "middle.yaml"
    middle.write_text(MIDDLE.replace("./sub/leaf.yaml", "leaf"))
    result = joinery("run", parent, "--engine", "inline")
    assert result.exit_code == exits.INVALID
    assert "node 'a' runs the published workflow 'leaf'" in result.stderr


def test_the_plan_tells_of_children(joinery, parent):
    result = joinery("plan", parent)
    assert "child workflow middle: 3 to 3 transitions" in result.stdout
    assert result.stdout.count("child workflow leaf: 1 to 1 transitions") == 1
    report = json.loads(joinery("plan", parent, "--json").stdout)
    assert (len(report["children"]), report["transitions"]["max"]) == (2, 8)


class Published(Client):
    def __init__(self):
        self.sources = []

    def publish(self, source, *, opt=None, packages=()):
        self.sources.append(source)
        name = "leaf" if "name: leaf" in source else "middle"
        return {"workflow_id": "wf", "name": name, "version": len(self.sources) + 4}


def test_children_in_files_are_published_before_their_parents(parent):
    report, client = read_workflow(parent), Published()
    pins = publish_children(client, report)
    assert pins == {"one": ("middle", 6), "two": ("leaf", 5)}
    leaf, middle = client.sources
    assert leaf == CHILD.format(name="leaf")
    assert json.loads(middle)["nodes"]["a"]["version"] == 5
    nodes = json.loads(publishable(report, pins))["nodes"]
    assert nodes["one"] == {
        "type": "workflow", "workflow": "middle", "inputs": {"who": "Ada"}, "version": 6,
    }  # fmt: skip


def test_a_node_that_waits_shows_its_child_run():
    log, state = Log(), RunState()
    state.apply(log.started(nodes=[("a", "workflow", [])], edges=[("start", "", "a")]))
    state.apply(log.event("node.started", "a", attempt=1, type="workflow"))
    workflow = {"workflow_id": "wf", "version": 3, "name": "talk"}
    state.apply(log.event("child.started", "a", child_run_id="run_c", workflow=workflow, depth=1))
    visit = state.nodes["a"].visit
    assert (visit.status, visit.note) == ("waiting", "run_c")
    assert state.running() == [visit]
    state.apply(log.event("node.completed", "a", attempt=1, duration_ms=1, streams={}))
    assert (visit.status, visit.note) == ("completed", "run_c")
