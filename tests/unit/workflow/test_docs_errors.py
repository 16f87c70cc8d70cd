"""docs/errors.md has a section for each code, and its examples are right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from joinery.compiler.compile import compile_workflow
from joinery.errors import InvalidWorkflow, Problem
from joinery.workflow.source import load
from joinery.workflow.validation import validate

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/errors.md").read_text()
SECTIONS = {
    match[1]: re.findall(r"```yaml\n(.*?)```", match[2], flags=re.DOTALL)
    for match in re.finditer(r"^### (\S+)\n(.*?)(?=^##|\Z)", PAGE, flags=re.DOTALL | re.MULTILINE)
}
EXAMPLES = [(code, *texts) for code, texts in SECTIONS.items() if len(texts) == 2]
WRONG_ONLY = [(code, texts[0]) for code, texts in SECTIONS.items() if len(texts) == 1]

REST = {
    "version": "version: 1\n",
    "name": "name: example\n",
    "nodes": "nodes: {a: {type: template, template: hi}}\nedges: [start -> a -> end]\n",
}

CHILDREN = {
    "talk": "inputs: {topic: {required: true}, times: {type: integer}}\n"
    "nodes: {a: {type: template, template: '{{ inputs.topic }}'}}",
    "broken": "nodes: {a: {type: nothing}}",
    "again": "nodes: {a: {type: workflow, workflow: ./again.yaml}}",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    (home / "prompts").mkdir(parents=True)
    (home / "prompts/judge.md").write_text("Judge this.")
    (home / "prompts/latin1.md").write_bytes("caf\xe9".encode("latin-1"))
    (home / "code").mkdir()
    (home / "code/one.py").write_text("def main():\n    return 1\n")
    (home / "code/latin1.py").write_bytes("def main():\n    return 'caf\xe9'\n".encode("latin-1"))
    (tmp_path / "one.py").write_text("def main():\n    return 1\n")
    (tmp_path / "judge.md").write_text("Judge this.")
    for name, nodes in CHILDREN.items():
        text = f"version: 1\nname: {name}\n{nodes}\nedges: [start -> a -> end]\n"
        (home / f"{name}.yaml").write_text(text)
    (tmp_path / "talk.yaml").write_text((home / "talk.yaml").read_text())
    return home


def problems(fragment: str, folder: Path) -> list[Problem]:
    rest = "".join(
        text for key, text in REST.items() if not re.search(rf"^{key}:", fragment, re.MULTILINE)
    )
    report = validate(load(fragment + rest), folder=folder)
    found = list(report.problems)
    if report.workflow is not None:
        try:
            compile_workflow(report.workflow)
        except InvalidWorkflow as error:
            found.extend(error.problems)
    return found


@pytest.mark.parametrize(("code", "wrong", "right"), EXAMPLES)
def test_the_first_example_has_the_problem_and_the_second_is_valid(
    code: str, wrong: str, right: str, folder: Path
) -> None:
    found = problems(wrong, folder)
    assert code in {problem.code for problem in found}
    assert all(problem.message for problem in found)
    assert problems(right, folder) == []


@pytest.mark.parametrize(("code", "wrong"), WRONG_ONLY)
def test_an_example_alone_has_the_problem(code: str, wrong: str, folder: Path) -> None:
    assert code in {problem.code for problem in problems(wrong, folder)}


def test_every_code_has_a_section_and_every_section_a_code() -> None:
    library = ROOT / "layers/joinery/joinery"
    files = [
        *library.glob("workflow/**/*.py"),
        *library.glob("compiler/*.py"),
        *library.glob("catalog/*.py"),
        library / "packages/requirements.py",
    ]
    groups = (
        "agent|child|code|edge|expression|format|graph|input|limit|model|node|output|plan|prompt|question|"
        "reference|requirement|schema|tool|yaml"
    )
    used = {
        code
        for file in files
        for code in re.findall(rf'"((?:{groups})\.[a-z_]+)"', file.read_text())
    }
    # Those that flow.py makes from the kinds that graph.py finds.
    used |= {"graph.cycle", "graph.irreducible"}
    assert used == set(SECTIONS)


def test_warnings_are_called_so() -> None:
    called = set(re.findall(r"^### (\S+)\n\n\*Warning", PAGE, flags=re.MULTILINE))
    assert called == {
        "agent.unused", "expression.not_evaluated", "graph.never_runs",
        "limit.map_runs", "reference.may_be_missing",
        "reference.not_before", "tool.no_description", "tool.unused", "yaml.bom",
    }  # fmt: skip
