"""`joinery validate`."""

from __future__ import annotations

from pathlib import Path

from joinery.errors import InvalidRequest, Problem
from joinery_cli import exits
from joinery_cli.output import clean, print_json, show
from joinery_cli.packages import needed_of
from joinery_cli.workflow_file import problem_text, read_report


def validate_command(file: Path, *, json: bool) -> int:
    """Prints everything that is wrong in a file; returns the exit code.

    Raises:
        InvalidRequest: The file cannot be read (with `json`, that is a row like any other).
    """
    try:
        report = read_report(file)
    except InvalidRequest as error:
        if not json:
            raise
        problem = Problem("file.unreadable", error.message)
        print_json({"valid": False, "errors": [problem.to_dict()]})
        return exits.INVALID
    valid = report.workflow is not None
    packages = needed_of(report) if valid else []
    if json:
        shown = {"valid": valid, "errors": [p.to_dict() for p in report.problems]}
        built = [{"requirements": list(n.requirements), "for": list(n.pointers)} for n in packages]
        print_json(shown | ({"packages": built} if built else {}))
        return exits.OK if valid else exits.INVALID
    for problem in report.problems:
        show(problem_text(file, report.source.text, problem))
    errors, warnings = len(report.errors), len(report.warnings)
    counts = [_count(errors, "error")] if errors else []
    counts += [_count(warnings, "warning")] if warnings else []
    if report.workflow is not None:
        nodes = _count(len(report.workflow.nodes), "node")
        show(clean(f"{file} is valid: {', '.join([nodes, *counts])}"))
        for needed in packages:
            places = ", ".join(pointer.removeprefix("/") for pointer in needed.pointers)
            show(clean(f"packages for {places}: {', '.join(needed.requirements)}"))
        return exits.OK
    show(clean(f"{file} is invalid: {', '.join(counts)}"))
    return exits.INVALID


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
