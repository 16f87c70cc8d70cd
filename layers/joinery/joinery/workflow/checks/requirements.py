"""Checks what code requires, and, where that is known, what it imports of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from joinery.errors import Problem
from joinery.packages.requirements import flaws_of, set_key
from joinery.workflow.checks.documents import Piece
from joinery.workflow.python_source import Flaw, unprovided
from joinery.workflow.report import Collector, Report, node_of
from joinery.workflow.yaml_tree import escape_pointer


def check_requirements(owner: str, said: Any, pointer: str, out: Collector) -> bool:
    """Reports what is wrong with requirements; returns whether there are any."""
    if not isinstance(said, list):
        return said is not None
    for flaw in flaws_of(said):
        place = pointer if flaw.index is None else f"{pointer}/{flaw.index}"
        out.add(flaw.code, f"{owner}: {flaw.message}", place, hint=flaw.hint)
    return bool(said)


def check_provided(report: Report, provided: Mapping[str, Collection[str]]) -> tuple[Problem, ...]:
    """Returns the imports of a valid workflow that its requirements do not bring.

    Args:
        report: The workflow.
        provided: What can be imported, by the name of the requirements; where nothing is
            known of some, their code is not checked.
    """
    out = Collector(report.source)
    workflow = report.require()
    for section, parts in (("tools", workflow.tools), ("nodes", workflow.nodes)):
        for name, part in parts.items():
            requirements = getattr(part, "requirements", ())
            modules = provided.get(set_key(requirements)) if requirements else None
            if not modules:
                continue
            owner = f"{section[:-1]} '{name}'"
            piece = _piece(report, section, name, str(getattr(part, "code", "")))
            for flaw in unprovided(piece.text, modules):
                out.problems.append(code_problem(flaw, piece, owner, out))
    return out.ordered()


def _piece(report: Report, section: str, name: str, text: str) -> Piece:
    said = report.source.data[section][name].get("code")
    file = str(said.get("file", "")) if isinstance(said, dict) else ""
    return Piece(text, f"/{section}/{escape_pointer(name)}/code", file)


def code_problem(flaw: Flaw, piece: Piece, owner: str, out: Collector) -> Problem:
    """Returns a flaw with its place in the workflow file, where its lines are those of the code."""
    line, column = out.source.place(piece.pointer)
    where = f"{piece.file}, line {flaw.line}" if piece.file else f"line {flaw.line} of the code"
    rows = out.source.text.split("\n")
    written = rows[line - 1][column - 1 :] if 0 < line <= len(rows) else ""
    if not piece.file and written.startswith("|"):
        line += flaw.line
        row = rows[line - 1] if line <= len(rows) else ""
        code_row = piece.text.split("\n")[flaw.line - 1 : flaw.line]
        column = flaw.column + max(0, len(row.rstrip("\r")) - len(code_row[0] if code_row else ""))
    return Problem(
        flaw.code, f"{owner}: {flaw.message} ({where})", flaw.hint,
        node_id=node_of(piece.pointer), pointer=piece.pointer, line=line, column=column,
    )  # fmt: skip
