"""The examples are valid, say everything they need, and the page shows workflows that are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from joinery.compiler.compile import compile_workflow
from joinery.workflow.source import load
from joinery.workflow.validation import load_with_files, validate, validate_file

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
PAGES = ("workflows", "tools", "tools-outside")
PAGE = "".join((ROOT / f"docs/{name}.md").read_text() for name in PAGES)
BLOCKS = re.findall(r"```yaml\n(version: 1\n.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_valid_without_a_warning(path: Path) -> None:
    assert validate_file(path).problems == ()


@pytest.mark.parametrize("name", ["chain", "switch"])
def test_these_run_as_they_are(name: str) -> None:
    workflow = load_with_files(ROOT / f"examples/{name}.yaml")
    assert workflow.name == name
    assert all(spec.default is not None for spec in workflow.inputs.values())
    assert workflow.defaults.model.provider == "local"
    compile_workflow(workflow)
    for node in workflow.nodes.values():
        if node.type in ("agent", "llm"):
            assert node.model.max_tokens is not None
            assert node.model.max_tokens <= 160


@pytest.mark.parametrize("text", BLOCKS, ids=range(len(BLOCKS)))
def test_the_workflows_of_the_page_are_valid(text: str) -> None:
    report = validate(load(text), folder=ROOT / "examples")
    assert report.problems == ()


def test_what_nodes_import_is_light() -> None:
    code = (
        "import sys, joinery.workflow.expressions as e; "
        "t = e.parse_template('{{ inputs.x ?? 1 }}'); t.render(e.DictScope({})); "
        "heavy = {'pydantic', 'ruamel.yaml', 'jsonata', 'jsonschema', 'fastapi', 'boto3'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
