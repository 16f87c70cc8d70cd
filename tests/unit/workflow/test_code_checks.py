"""What validation says of code: where it stands, all at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joinery.errors import Problem
from joinery.workflow.python_source import Signature, read_source
from joinery.workflow.source import load
from joinery.workflow.validation import validate, validate_file

HEAD = "version: 1\nname: x\n"
TAIL = "edges: [start -> a -> end]\n"
NODE = "nodes:\n  a:\n    type: code\n    code: |\n"


def problems(text: str) -> list[Problem]:
    return list(validate(load(HEAD + text + TAIL)).problems)


def test_places_are_those_of_the_file() -> None:
    body = "      import os\n\n      def main(x):\n        return x +\n    inputs: {x: 1}\n"
    [problem] = problems(NODE + body)
    assert (problem.code, problem.line, problem.node_id) == ("code.syntax", 10, "a")
    assert problem.pointer == "/nodes/a/code"
    assert "(line 4 of the code)" in problem.message
    row = (HEAD + NODE + body).split("\n")[problem.line - 1]
    assert row[problem.column - 1 :].strip() in ("+", "")
    [problem] = problems('nodes: {a: {type: code, code: "def main():\\n  return ("}}\n')
    assert (problem.code, problem.line) == ("code.syntax", 3)
    assert "line 2 of the code" in problem.message
    [problem] = problems(NODE + "      import os, numpy.linalg\n      def main(): return 1\n")
    assert (problem.code, problem.line, problem.column) == ("code.import", 7, 7)


def test_files_are_named_with_their_lines(tmp_path: Path) -> None:
    (tmp_path / "shape.py").write_bytes(b"def main():\r\n    return )\r\n")
    file = tmp_path / "w.yaml"
    file.write_text(HEAD + "nodes: {a: {type: code, code: {file: shape.py}}}\n" + TAIL)
    [problem] = validate_file(file).problems
    assert (problem.code, problem.line) == ("code.syntax", 3)
    assert "(shape.py, line 2)" in problem.message
    (tmp_path / "shape.py").write_bytes(b"def main():\r\n    return '''a\r\nb'''\r\n")
    workflow: Any = validate_file(file).require()
    assert workflow.nodes["a"].code == "def main():\n    return '''a\nb'''\n"
    (tmp_path / "shape.py").write_text("x = '" + "é" * 40_000 + "'")
    [problem] = validate_file(file).problems
    assert problem.code == "limit.code"
    [problem] = validate(load(file.read_text())).problems
    assert problem.code == "code.file_missing"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def main(a, b=1, *args, c, d=2): pass", Signature(("a", "c"), ("b", "d"))),
        ("def main(**more): pass", Signature((), (), True)),
        ("main = lambda a: a", Signature(("a",))),
        ("def main(a): pass\ndef main(b): pass", Signature(("b",))),
        ("from os.path import join as main", None),
        ("class main:\n    pass", None),
        ("if True:\n    def main(a): pass", None),
        ("try:\n    import numpy\nexcept ImportError:\n    pass\ndef main(): pass", Signature(())),
        ("def main():\n    def g():\n        yield 1\n    return list(g())", Signature(())),
        ("def main():\n    return '\\d'", Signature(())),
    ],
)
def test_functions_that_are_taken(source: str, expected: Signature | None) -> None:
    assert read_source(source, "main") == ([], expected)


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("return 1", "code.syntax"),
        ("def main():\n\treturn 1\n        return 2", "code.syntax"),
        ("def main(): nonlocal x", "code.syntax"),
        ("\x00", "code.syntax"),
        ("(" * 5_000, "code.syntax"),
        ("x = " + "-" * 50_000 + "1", "code.syntax"),
        ("", "code.no_function"),
        ("def mian(): pass", "code.no_function"),
        ("def f():\n    def main(): pass\n    return f", "code.no_function"),
        ("def main(a, /): pass", "code.function_kind"),
        ("def main():\n    yield 1", "code.function_kind"),
        ("from . import x\ndef main(): pass", "code.import"),
        ("def main():\n    import requests", "code.import"),
    ],
)
def test_functions_that_are_not(source: str, code: str) -> None:
    flaws, _ = read_source(source, "main")
    assert [flaw.code for flaw in flaws] == [code]


@given(st.text())
def test_any_text_is_code_or_a_problem(source: str) -> None:
    read_source(source, "main")


def test_wrong_forms_are_told_in_words_of_the_file() -> None:
    for text, pointer, message in (
        ("nodes: {a: {type: code, code: 5}}\n", "/nodes/a/code", "Python source, or {file: path}"),
        ("nodes: {a: {type: code}}\n", "/nodes/a", "has no 'code'"),
        ("nodes: {a: {type: tool}}\n", "/nodes/a", "has no 'tool'"),
        ("tools: [t]\nnodes: {a: {type: tool, tool: t}}\n", "/tools", "'tools' must be a mapping"),
        ("tools: {t: {code: x, kind: sql}}\nnodes: {a: {type: tool, tool: t}}\n", "/tools/t/kind",
         "there is no kind 'sql'"),
    ):  # fmt: skip
        [problem] = problems(text)
        assert problem.pointer == pointer
        assert message in problem.message


def test_an_unknown_tool_has_a_near_name() -> None:
    tool = "tools: {word_count: {code: 'def word_count(): return 1'}}\n"
    found = problems(tool + "nodes: {a: {type: tool, tool: wordcount}}\n")
    assert [p.code for p in found] == ["tool.unused", "reference.unknown_tool"]
    assert "word_count" in found[1].hint
