"""Everything that is wrong with a workflow file: what validation finds, and what compiling does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from joinery.compiler.compile import compile_workflow
from joinery.compiler.opt import DEFAULT_OPT
from joinery.errors import InvalidWorkflow, Problem
from joinery.workflow.children import ChildSource, FileChildren, KnownChild
from joinery.workflow.report import Report
from joinery.workflow.source import Source, load
from joinery.workflow.validation import validate

if TYPE_CHECKING:
    from joinery.workflow.model import Workflow

COMPILES_ANYHOW = ("agent.", "child.", "input.", "reference.")
"""Problems of a file that can be compiled nevertheless, so that all else comes at once."""


def check(
    source: Source,
    *,
    folder: Path | None = None,
    opt: int = DEFAULT_OPT,
    children: ChildSource | None = None,
) -> Report:
    """Validates a workflow file and compiles it.

    Args:
        source: The file.
        folder: Where its prompt files are; without it, prompts must be text.
        opt: Optimisation level.
        children: Finds the workflows that its nodes run; see `validate`.

    Returns:
        All problems by line, limits that are near among them, and the workflow when
        none is an error.
    """
    report = validate(source, folder=folder, children=children)
    if report.draft is None or not all(p.code.startswith(COMPILES_ANYHOW) for p in report.errors):
        return report
    known = {(problem.code, problem.pointer) for problem in report.problems}
    found = [p for p in _compiled(report.draft, opt, report.children) if not _is_known(p, known)]
    problems = sorted((*report.problems, *placed(source, found)), key=lambda p: (p.line, p.code))
    wrong = any(problem.severity == "error" for problem in problems)
    return replace(report, problems=tuple(problems), workflow=None if wrong else report.workflow)


def check_file(path: Path, *, opt: int = DEFAULT_OPT) -> Report:
    """Checks a workflow file together with the prompt files it names; see `check`.

    Raises:
        OSError: The file itself cannot be read.
    """
    source = load(path.read_bytes(), filename=path.name)
    children = FileChildren(path.parent, (path.resolve(),))
    return check(source, folder=path.parent, opt=opt, children=children)


def placed(source: Source, problems: Iterable[Problem]) -> list[Problem]:
    """Returns problems of a compiled file with the lines and columns that they stand at."""
    found = []
    for problem in problems:
        line, column = source.key_place(problem.pointer)
        found.append(replace(problem, line=line, column=column))
    return found


def _is_known(problem: Problem, known: set[tuple[str, str]]) -> bool:
    """Whether validation has told it already, of the same place or of one inside it."""
    return any(
        code == problem.code and pointer.startswith(problem.pointer) for code, pointer in known
    )


def _compiled(
    workflow: Workflow, opt: int, children: Mapping[str, KnownChild]
) -> tuple[Problem, ...]:
    try:
        return compile_workflow(workflow, opt=opt, children=children).report.problems
    except InvalidWorkflow as error:
        return error.problems
