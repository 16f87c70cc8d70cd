"""`joinery diff`."""

from __future__ import annotations

import difflib
from pathlib import Path

from joinery_cli import exits
from joinery_cli.output import say, show
from joinery_cli.workflow_file import read_workflow


def diff_command(before: Path, after: Path, *, opt: int) -> int:
    """Prints how the state machines of two workflows differ; returns the exit code.

    Raises:
        InvalidRequest: A file cannot be read.
        InvalidWorkflow: A workflow is invalid.
    """
    from joinery.compiler.compile import compile_workflow

    first, second = read_workflow(before), read_workflow(after)
    old = compile_workflow(first.require(), opt=opt, children=first.children)
    new = compile_workflow(second.require(), opt=opt, children=second.children)
    lines = difflib.unified_diff(
        old.definition_json(indent=2).splitlines(),
        new.definition_json(indent=2).splitlines(),
        str(before),
        str(after),
        lineterm="",
    )
    text = "\n".join(lines)
    if text:
        show(text)
    names = set(old.emitted.info), set(new.emitted.info)
    was, now = old.report, new.report
    say(
        f"{len(names[1] - names[0])} states added, {len(names[0] - names[1])} removed; "
        f"transitions at most {was.transitions.max:g} before, {now.transitions.max:g} after"
    )
    return exits.OK
