"""Everything that is wrong is reported at once, in order, each with its place."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from joinery.errors import InvalidWorkflow, Problem
from joinery.workflow.source import load
from joinery.workflow.validation import (
    load_with_files,
    load_workflow,
    validate,
    validate_file,
)

SIX = """\
version: 1
name: six
inputs:
  topic: {type: string, required: true}
nodes:
  first: {type: template, template: "{{ inputs.topik }}"}
  check: {type: condition, if: "{{ $length(nodes.first.text) > 3 }}"}
  long: {type: template, template: "long"}
  short: {type: template, template: "short"}
  merge: {type: template, template: "{{ nodes.long.text }}"}
  odd: {type: tempalte, template: "x"}
  long: {type: template, template: "again"}
  ring: {type: template, template: "r"}
  rung: {type: template, template: "r"}
edges:
  - start -> first -> check
  - check.true -> long
  - check.false -> short
  - long, short -> merge
  - merge -> odd -> end
  - merge -> nowhere
  - start -> ring
  - ring -> rung
  - rung -> ring
  - rung -> end
outputs:
  text: "{{ nodes.merge.text }}"
"""


def rows(text: str) -> list[tuple[int, str, str | None]]:
    return [(p.line, p.code, p.node_id) for p in validate(load(text)).problems]


def test_six_kinds_of_problems_in_one_answer() -> None:
    assert rows(SIX) == [
        (6, "reference.unknown_input", "first"),
        (10, "reference.may_not_have_run", "merge"),
        (11, "node.unknown_type", "odd"),
        (12, "yaml.duplicate_key", "long"),
        (21, "edge.dangling", None),
        (24, "graph.cycle", "ring"),
    ]


def test_problems_are_complete() -> None:
    for problem in validate(load(SIX)).problems:
        assert problem.severity == "error"
        assert problem.message
        assert problem.hint
        assert problem.pointer.startswith("/")
        assert problem.line > 1
        assert problem.column > 1
        row = problem.to_dict()
        assert json.loads(json.dumps(row)) == row


def test_the_hints_say_what_to_write() -> None:
    hints = {p.code: p.hint for p in validate(load(SIX)).problems}
    assert "topic" in hints["reference.unknown_input"]
    assert "{{ nodes.long.text ?? '' }}" in hints["reference.may_not_have_run"]
    assert "template" in hints["node.unknown_type"]
    assert "line 8" in hints["yaml.duplicate_key"]
    assert "again.repeat -> ring" in hints["graph.cycle"]


def test_the_answer_is_the_same_every_time() -> None:
    code = (
        "import sys; from joinery.workflow.source import load; "
        "from joinery.workflow.validation import validate; "
        "print(validate(load(sys.stdin.read())).problems)"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", code],
            input=SIX, text=True, capture_output=True, check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(answers) == 1
    assert "graph.cycle" in answers.pop()


def test_the_error_holds_every_problem() -> None:
    with pytest.raises(InvalidWorkflow) as caught:
        load_workflow(SIX)
    assert len(caught.value.problems) == 6
    assert "(and 5 more)" in caught.value.message
    assert len(caught.value.to_dict()["details"]["errors"]) == 6


def test_a_valid_file_gives_the_workflow_and_its_warnings() -> None:
    report = validate(
        load("""
version: 1
name: ok
agents: {unused: {persona: x}}
nodes: {a: {type: template, template: hi}}
edges: [start -> a -> end]
""")
    )
    assert report.workflow is not None
    assert report.require() is report.workflow
    assert report.workflow.nodes["a"].type == "template"
    assert [p.code for p in report.warnings] == ["agent.unused"]
    assert report.errors == ()


def test_a_syntax_error_is_the_only_problem() -> None:
    assert rows("version: 1\nname: [\nnodes: {}") == [(3, "yaml.syntax", None)]


def test_what_cannot_be_read_as_yaml_is_not_blamed_twice() -> None:
    text = "version: 1\nname: x\nnodes:\n  a: {type: template, template: {{ inputs.x }}}\n"
    assert rows(text + "edges: [start -> a -> end]\n") == [(4, "yaml.key", "a")]


def test_a_broken_node_hides_nothing_of_the_graph() -> None:
    found = {
        code
        for _, code, _ in rows("""
version: 1
name: x
nodes:
  a: 5
  b: {type: 7}
  c: {type: template, template: 3, extra: 1}
  d: {type: template, template: "{{ nodes.zz.text }}"}
edges: [start -> a -> b -> c -> d, d -> e, c -> b, d -> end]
""")
    }
    assert found == {
        "schema.type", "schema.unknown_key", "reference.unknown_node", "edge.dangling",
        "graph.cycle",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["nodes: 3\nedges: 4\n", "nodes: []\nedges: {}\ninputs: 1\n"])
def test_wrong_sections_are_named(text: str) -> None:
    found = validate(load("version: 1\nname: x\n" + text)).problems
    assert {p.code for p in found} == {"schema.type"}
    assert [p.line for p in found] == list(range(3, 3 + len(found)))


def test_more_problems_than_anybody_reads_are_cut() -> None:
    nodes = "".join(f"  n{i}: {{type: nope}}\n" for i in range(1500))
    found = validate(load(f"version: 1\nname: x\nnodes:\n{nodes}edges: [start -> n0 -> end]\n"))
    assert len(found.problems) == 1001
    assert found.problems[-1].code == "limit.problems"


def test_limits() -> None:
    nodes = ", ".join(f"n{i}: {{type: template, template: x}}" for i in range(2001))
    chain = " -> ".join(f"n{i}" for i in range(2001))
    text = f"version: 1\nname: x\nnodes: {{{nodes}}}\nedges: [start -> {chain} -> end]\n"
    assert rows(text) == [(3, "limit.nodes", None)]
    wide = "version: 1\nname: x\nnodes: {a: {type: template, template: x}}\nedges: ['%s -> %s']\n"
    assert (4, "limit.edges", None) in rows(wide % (",".join("a" * 200), ",".join("a" * 200)))


def test_a_long_chain_of_references_is_valid() -> None:
    nodes = "".join(
        f"  n{i}: {{type: template, "
        f'template: "{{{{ nodes.n{i - 1}.text }}}} {{{{ nodes.n0.text }}}}"}}\n'
        for i in range(1, 300)
    )
    chain = " -> ".join(f"n{i}" for i in range(300))
    text = (
        "version: 1\nname: x\nnodes:\n  n0: {type: template, template: x}\n"
        f"{nodes}edges: [start -> {chain} -> end]\n"
    )
    assert rows(text) == []


# -- files ------------------------------------------------------------------------------------

WITH_FILE = """\
version: 1
name: filed
inputs: {x: {type: string, default: a}}
nodes:
  a: {type: llm, prompt: {file: %s}}
edges: [start -> a -> end]
"""


def report_of(folder: Path, name: str) -> tuple[Problem, ...]:
    path = folder / "flow.yaml"
    path.write_text(WITH_FILE % name)
    return validate_file(path).problems


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    (home / "prompts").mkdir(parents=True)
    (home / "prompts/good.md").write_text("\ufeffSay {{ inputs.x }}, ü.\n")
    (home / "prompts/bad.md").write_text("Say {{ inputs.y }} {{ nodes.zz.text }}")
    (home / "prompts/latin.md").write_bytes(b"caf\xe9")
    (home / "prompts/large.md").write_text("x" * 1_048_577)
    (tmp_path / "secret.md").write_text("secret")
    (home / "link.md").symlink_to(tmp_path / "secret.md")
    return home


def test_prompt_files_are_read_in(folder: Path) -> None:
    assert report_of(folder, "prompts/good.md") == ()
    workflow = load_with_files(folder / "flow.yaml")
    node = workflow.nodes["a"]
    assert node.type == "llm"
    assert node.prompt == "Say {{ inputs.x }}, ü.\n"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("prompts/nope.md", "prompt.file_missing"),
        ("prompts", "prompt.file_missing"),
        ('"a\\0b"', "prompt.file_missing"),
        ("../secret.md", "prompt.file_outside"),
        ("prompts/../../secret.md", "prompt.file_outside"),
        ("/etc/hostname", "prompt.file_outside"),
        ("link.md", "prompt.file_outside"),
        ("prompts/latin.md", "prompt.encoding"),
        ("prompts/large.md", "limit.prompt"),
    ],
)
def test_prompt_files_that_cannot_be_read(folder: Path, name: str, code: str) -> None:
    (problem,) = report_of(folder, name)
    assert (problem.code, problem.node_id, problem.line) == (code, "a", 5)


def test_expressions_in_prompt_files_are_checked(folder: Path) -> None:
    assert {p.code for p in report_of(folder, "prompts/bad.md")} == {
        "reference.unknown_input",
        "reference.unknown_node",
    }


def test_without_a_folder_prompts_are_text(folder: Path) -> None:
    found = validate(load(WITH_FILE % "prompts/good.md")).problems
    assert [p.code for p in found] == ["prompt.file_missing"]
    assert "as text" in found[0].hint
    (folder / "flow.yaml").write_text(WITH_FILE % "prompts/nope.md")
    with pytest.raises(InvalidWorkflow):
        load_with_files(folder / "flow.yaml")
