"""Reads workflow files for the commands, and shows what is wrong with them."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from joinery.errors import InvalidRequest, InvalidWorkflow, Problem
from joinery_cli.output import clean, say

if TYPE_CHECKING:
    from joinery.workflow.model import Workflow
    from joinery.workflow.validation import Report

_SHOWN_CELLS: Final = 100
"""Longer source lines are shown around the place that is meant."""


def read_report(path: Path) -> Report:
    """Validates a file with the prompt files it names, and compiles it.

    Raises:
        InvalidRequest: The file cannot be read.
    """
    from joinery.compiler.check import check_file

    try:
        return check_file(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidRequest(f"cannot read '{path}': {reason}") from None


def read_workflow(path: Path) -> Report:
    """Returns the report of a valid file; all problems are told on stderr with their lines.

    Raises:
        InvalidRequest: The file cannot be read.
        InvalidWorkflow: It is invalid; holds no problems, for they were told.
    """
    report = read_report(path)
    for problem in report.problems:
        say(problem_text(path, report.source.text, problem))
    if report.workflow is None:
        raise InvalidWorkflow(())
    return report


def publishable(report: Report) -> str:
    """Returns the source as it can be published: files that it names are read into it."""
    workflow: Workflow = report.require()
    data: dict[str, Any] = report.source.data
    named = {
        node_id: getattr(workflow.nodes[node_id], "prompt", None)
        for node_id, node in data["nodes"].items()
        if isinstance(node.get("prompt"), dict)
    }
    if not named:
        return report.source.text
    nodes = {
        node_id: {**node, "prompt": named[node_id]} if node_id in named else node
        for node_id, node in data["nodes"].items()
    }
    return json.dumps({**data, "nodes": nodes}, ensure_ascii=False)


def problem_text(path: Path, source: str, problem: Problem) -> str:
    """Returns a problem with its place, its source line, a caret under it, and the hint."""
    place = f"{path}:{problem.line}:{problem.column}" if problem.line else str(path)
    lines = [f"{place}: {problem.severity}: {problem.message} [{problem.code}]"]
    lines += _excerpt(source, problem)
    if problem.hint:
        lines.append(f"  hint: {problem.hint}")
    return clean("\n".join(lines))


def _excerpt(source: str, problem: Problem) -> list[str]:
    rows = source.split("\n")
    if not 0 < problem.line <= len(rows):
        return []
    line = rows[problem.line - 1].rstrip("\r").replace("\t", " ")
    column = max(1, problem.column)
    start = max(0, column - 1 - _SHOWN_CELLS // 2) if len(line) > _SHOWN_CELLS else 0
    shown = line[start : start + _SHOWN_CELLS]
    if not shown.strip():
        return []
    margin = f"  {problem.line} | "
    before = margin + shown[: column - 1 - start]
    return [margin + shown, " " * _cells(before) + "^"]


def _cells(text: str) -> int:
    """Returns how many cells a terminal takes for a text."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )
