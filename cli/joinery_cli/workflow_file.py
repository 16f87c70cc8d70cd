"""Reads workflow files for the commands, and shows what is wrong with them."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
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


Pin = tuple[str, int]
"""Name and version of a published workflow."""


def publishable(report: Report, children: Mapping[str, Pin] | None = None) -> str:
    """Returns the source as it can be published: it names no files any more.

    Args:
        report: The file; its prompts in files are read into it.
        children: What its child workflows in files were published as, by node.
    """
    workflow: Workflow = report.require()
    data: dict[str, Any] = report.source.data
    filled = {
        section: {
            name: {**entry, **_texts(entry, parts[name])} for name, entry in data[section].items()
        }
        for section, parts in (("nodes", workflow.nodes), ("tools", workflow.tools))
        if section in data
    }
    for node_id, (name, version) in (children or {}).items():
        filled["nodes"][node_id] |= {"workflow": name, "version": version}
    if all(data[section] == entries for section, entries in filled.items()):
        return report.source.text
    return json.dumps({**data, **filled}, ensure_ascii=False)


def _texts(entry: dict[str, Any], part: object) -> dict[str, Any]:
    """Returns the texts that stand in files of their own."""
    return {
        key: getattr(part, key) for key in ("prompt", "code") if isinstance(entry.get(key), dict)
    }


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
