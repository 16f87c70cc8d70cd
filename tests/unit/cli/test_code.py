"""Code and tools from the command line: files of code, and machines without a sandbox."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from joinery.sandbox import run as sandbox
from joinery.workflow.validation import load_workflow
from joinery_cli import exits
from joinery_cli.local.doctor import _sandbox
from joinery_cli.workflow_file import publishable, read_workflow

ROOT = Path(__file__).parents[3]
WORDS = ROOT / "examples" / "words.yaml"


@pytest.fixture
def no_sandbox(monkeypatch):
    monkeypatch.setattr(sandbox, "working", lambda: (None, "bwrap: not permitted"))


def test_the_example_runs_inline(joinery):
    result = joinery("run", WORDS, "--engine", "inline", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    outputs = json.loads(result.stdout)["outputs"]
    assert outputs["words"][:2] == [{"word": "the", "times": 3}, {"word": "sea", "times": 3}]
    assert outputs["report"].startswith("Most often: the (3 times).")


def test_without_a_sandbox_nothing_begins(joinery, no_sandbox, monkeypatch):
    for arguments in (["run", WORDS], ["run", WORDS, "--json"]):
        result = joinery(*arguments)
        assert result.exit_code == exits.FAILED
        assert "bwrap: not permitted" in result.stderr
        assert "--allow-local-code" in result.stderr
        assert "runs in this process" not in result.stderr
    assert joinery("run", WORDS, "--allow-local-code").exit_code == 0
    monkeypatch.setenv("JOINERY_ALLOW_LOCAL_CODE", "1")
    assert joinery("run", WORDS).exit_code == 0


def test_other_workflows_need_no_sandbox(joinery, no_sandbox, pure):
    assert joinery("run", pure, "-i", "number=1").exit_code == 0


def test_the_doctor_tells_the_sandbox(no_sandbox):
    check = _sandbox()
    assert check.ok  # everything else runs
    assert "--allow-local-code (bwrap: not permitted)" in check.detail


def test_code_in_files_travels_with_the_workflow(joinery, tmp_path):
    (tmp_path / "shape.py").write_text("def main(x):\n    return x * 2\n")
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/up.py").write_text("def up(text):\n    return text.upper()\n")
    file = tmp_path / "flow.yaml"
    file.write_text(
        "version: 1\nname: files\n"
        "tools: {up: {parameters: {text: {type: string}}, code: {file: tools/up.py}}}\n"
        "nodes:\n"
        "  a: {type: code, code: {file: shape.py}, inputs: {x: ab}}\n"
        '  b: {type: tool, tool: up, arguments: {text: "{{ nodes.a.text }}"}}\n'
        'edges: [start -> a -> b -> end]\noutputs: {t: "{{ nodes.b.text }}"}\n'
    )
    report = read_workflow(file)
    assert load_workflow(publishable(report)) == report.workflow
    result = joinery("run", file, "--json")
    assert json.loads(result.stdout)["outputs"] == {"t": "ABAB"}
    (tmp_path / "shape.py").write_text("def main(x):\n    raise KeyError(x)\n")
    result = joinery("run", file)
    assert result.exit_code == exits.FAILED
    assert "KeyError: 'ab' (line 2: raise KeyError(x))" in result.stderr
