"""Each construct runs as the interpreter does, takes what was predicted, and keeps its machine.

A new construct is a file in tests/data/constructs; `python -m tools.check_machines --write`
keeps its machines.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from kit.engines import compiled_run, interpreted
from kit.models import Says

from joinery.compiler.compile import compile_workflow
from joinery.compiler.opt import OPT_LEVELS
from joinery.compiler.predict import transitions_of
from joinery.workflow.validation import validate_file

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "tests/data/constructs").glob("*.yaml"))
GIVEN: list[dict[str, Any]] = [{"x": True, "kind": "two"}, {"x": False, "kind": "none"}]


def golden() -> Any:
    sys.path.insert(0, str(ROOT))
    try:
        from tools import check_machines
    finally:
        sys.path.remove(str(ROOT))
    return check_machines


@pytest.mark.parametrize("opt", OPT_LEVELS)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_construct(file: Path, opt: int) -> None:
    report = validate_file(file)
    assert report.problems == ()
    workflow = report.require()
    compiled = compile_workflow(workflow, opt=opt)
    model = Says(lambda request, _: request.messages[-1].content)
    for values in GIVEN:
        given = {name: value for name, value in values.items() if name in workflow.inputs}
        machine = compiled_run(compiled, given, model)
        reference = interpreted(compiled.plan, given, model)
        assert machine.status == reference.status == "completed"
        assert machine.nodes() == reference.nodes()
        records = machine.store.nodes(machine.run.run_id)
        assert machine.transitions == transitions_of(compiled.plan, compiled.emitted, records)
        figures = compiled.report.transitions
        assert figures.min <= machine.transitions <= figures.max


def test_machines_are_those_that_are_kept_and_lint_is_silent() -> None:
    check = golden()
    machines = dict(check.golden_machines())
    assert len(machines) >= len(OPT_LEVELS) * len(FILES)
    assert [problem for g, text in machines.items() for problem in check.problems(g, text)] == []
    assert check.strays(machines) == []
