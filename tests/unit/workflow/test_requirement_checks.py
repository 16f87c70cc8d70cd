"""What validation says of requirements, and what the plan and the builder make of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joinery import limits
from joinery.compiler.compile import compile_workflow
from joinery.compiler.plan import Plan
from joinery.errors import InvalidWorkflow
from joinery.packages.requirements import flaws_of, needed_by, normal, normal_all, set_key
from joinery.workflow import WorkflowBuilder
from joinery.workflow.checks.requirements import check_provided
from joinery.workflow.source import load
from joinery.workflow.validation import validate

FILE = """\
version: 1
name: x
tools:
  t:
    requirements: {tool}
    code: |
      import json, humanize
      def t(): return 1
nodes:
  a: {{type: tool, tool: t}}
  b:
    type: code
    requirements: {node}
    code: |
      from dateutil.tz import UTC
      def main(): return 1
edges: [start -> a -> b -> end]
"""


def report(tool: str = "[humanize]", node: str = "['Python_dateutil >= 2.9']") -> Any:
    return validate(load(FILE.format(tool=tool, node=node)))


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("humanize==", "requirement.syntax"),
        ("two words", "requirement.syntax"),
        ("", "requirement.syntax"),
        ("numpy===1.0", "requirement.syntax"),
        ("-e .", "requirement.source"),
        ("--index-url https://x", "requirement.source"),
        ("-r other.txt", "requirement.source"),
        ("git+https://github.com/a/b", "requirement.source"),
        ("a @ https://example.com/a.whl", "requirement.source"),
        ("a@https://example.com/a.whl", "requirement.source"),
        ("a @ file:///a.whl", "requirement.source"),
        ("./wheels/a.whl", "requirement.source"),
        ("../a", "requirement.source"),
        ("/a/b", "requirement.source"),
        ("a.whl", "requirement.source"),
        ("C:\\a", "requirement.source"),
        ("a; python_version < '3.12'", "requirement.marker"),
        ("a" * 201, "limit.requirements"),
    ],
)
def test_what_is_refused(said: str, code: str) -> None:
    [flaw] = flaws_of(["humanize==4.12.0", said])
    assert (flaw.code, flaw.index) == (code, 1)
    assert flaw.hint


@pytest.mark.parametrize(
    "said", ["humanize", "humanize==4.12.0", "a[b,c]>=1,<2", "A.b_c ~= 1.0", "x!=1.0rc1", "a>1"]
)
def test_what_is_taken(said: str) -> None:
    assert list(flaws_of([said])) == []
    assert normal(normal(said)) == normal(said)


def test_the_same_project_twice_and_too_many() -> None:
    [flaw] = flaws_of(["Python.Dateutil>2", "python_dateutil<3"])
    assert (flaw.code, flaw.index) == ("requirement.duplicate", 1)
    [flaw] = flaws_of([f"a{number}" for number in range(limits.REQUIREMENTS_MAX + 1)])
    assert (flaw.code, flaw.index) == ("limit.requirements", None)


@given(st.text(max_size=40))
def test_any_text_is_a_requirement_or_a_flaw(said: str) -> None:
    if not list(flaws_of([said])):
        assert normal_all([said]) == (normal(said),)


def test_equal_sets_have_one_name() -> None:
    assert set_key(["B>1,<2", "a"]) == set_key(["A", "b<2,>1", "a"])
    assert set_key(["a"]) != set_key(["a==1"])


def test_all_problems_come_at_once_with_their_places() -> None:
    found = report("['git+https://x', 'a b', 'x; sys_platform']", "[1, 'y', 'Y']").problems
    assert {(p.code, p.pointer) for p in found} >= {
        ("requirement.source", "/tools/t/requirements/0"),
        ("requirement.syntax", "/tools/t/requirements/1"),
        ("requirement.syntax", "/tools/t/requirements/2"),
        ("requirement.duplicate", "/nodes/b/requirements/2"),
        ("schema.type", "/nodes/b/requirements/0"),
    }
    assert {p.line for p in found} == {5, 13}
    assert {p.node_id for p in found} == {None, "b"}


def test_imports_are_accepted_where_something_is_required() -> None:
    assert report().problems == ()
    found = report("[]", "[humanize]").problems
    assert [(p.code, p.pointer, p.line) for p in found] == [("code.import", "/tools/t/code", 7)]
    assert "requirements: [name==version]" in found[0].hint


def test_what_is_built_says_what_can_be_imported() -> None:
    checked = report()
    tool, node = set_key(["humanize"]), set_key(["python-dateutil>=2.9"])
    assert check_provided(checked, {tool: ["humanize"], node: ["dateutil", "six"]}) == ()
    assert check_provided(checked, {tool: []}) == ()
    found = check_provided(checked, {tool: ["humanise"], node: ["six"]})
    assert [(p.code, p.line, p.node_id) for p in found] == [
        ("code.import", 7, None), ("code.import", 15, "b"),
    ]  # fmt: skip
    assert found[0].hint == "did you mean 'humanise'?"


def test_the_plan_names_the_packages_of_each_call() -> None:
    workflow = report().require()
    needed = needed_by(workflow)
    assert [one.pointers for one in needed.values()] == [("/tools/t",), ("/nodes/b",)]
    plan = compile_workflow(workflow).plan
    keys = [plan.by_id[name].spec["package"] for name in ("a", "b")]
    assert keys == list(needed)
    assert Plan.from_dict(plan.to_dict()).packages == {}
    without = compile_workflow(validate(load(
        "version: 1\nname: x\nnodes: {a: {type: code, code: 'def main(): return 1'}}\n"
        "edges: [start -> a -> end]\n"
    )).require()).plan  # fmt: skip
    assert "package" not in without.by_id["a"].spec
    assert "packages" not in without.to_dict()


# -- in Python -----------------------------------------------------------------------------


@pytest.fixture
def shouting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of an installed package, and one of the author's own."""
    installed = tmp_path / "site-packages"
    (installed / "shouting").mkdir(parents=True)
    (installed / "shouting/__init__.py").write_text("from shouting.loud import shout\n")
    (installed / "shouting/loud.py").write_text("def shout(text):\n    return text.upper()\n")
    (tmp_path / "own_helper.py").write_text("def helper():\n    return 1\n")
    for place in (installed, tmp_path):
        monkeypatch.syspath_prepend(str(place))
    import own_helper  # type: ignore[import-not-found]
    import shouting  # type: ignore[import-not-found]

    yield shouting, own_helper
    for name in ("shouting", "shouting.loud", "own_helper"):
        sys.modules.pop(name, None)


def test_decorators_take_requirements(shouting: Any) -> None:
    module, own = shouting
    shout = module.shout
    flow = WorkflowBuilder("loud")

    @flow.tool(requirements=["shouting==1.0"])
    def loud(text: str) -> str:
        """Says it louder."""
        return str(shout(text))

    @flow.code(requirements=["shouting"], timeout="20s")
    def louder(text: str) -> str:
        return str(module.loud.shout(text))

    first = loud.node(text="a")
    flow.edge(flow.start, first, louder.node(text=first.text), flow.end)
    workflow: Any = flow.build()
    assert workflow.tools["loud"].requirements == ["shouting==1.0"]
    assert workflow.tools["loud"].code.startswith("from shouting import shout\n")
    assert workflow.nodes["louder"].requirements == ["shouting"]
    assert workflow.nodes["louder"].code.startswith("import shouting as module\n")

    with pytest.raises(InvalidWorkflow, match="not in the standard library") as refused:

        @flow.code
        def bare(text: str) -> str:
            return str(module.shout(text))

    assert "requirements=" in refused.value.problems[0].hint
    with pytest.raises(InvalidWorkflow, match="'own'"):

        @flow.code(requirements=["shouting"])
        def mine(text: str) -> str:
            return str(own.helper())
