"""`joinery compile`."""

from __future__ import annotations

from pathlib import Path

from joinery.errors import InvalidRequest
from joinery_cli import exits
from joinery_cli.output import say, show
from joinery_cli.workflow_file import read_workflow


def compile_command(file: Path, *, opt: int, output: Path | None) -> int:
    """Prints or writes the state machine of a workflow; returns the exit code.

    Raises:
        InvalidRequest: A file cannot be read or written.
        InvalidWorkflow: The workflow is invalid.
    """
    from joinery.compiler.compile import compile_workflow

    found = read_workflow(file)
    compiled = compile_workflow(found.require(), opt=opt, children=found.children)
    text = compiled.definition_json(indent=2)
    if output is None:
        show(text)
        return exits.OK
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise InvalidRequest(f"cannot write '{output}': {error.strerror}") from None
    say(f"{output}: {compiled.report.states} states, {compiled.report.definition_bytes:,} bytes")
    return exits.OK
