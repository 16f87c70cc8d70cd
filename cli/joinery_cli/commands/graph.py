"""`joinery graph`."""

from __future__ import annotations

from pathlib import Path

from joinery_cli import exits
from joinery_cli.output import show
from joinery_cli.workflow_file import read_workflow


def graph_command(file: Path) -> int:
    """Prints a workflow as a Mermaid diagram; returns the exit code.

    Raises:
        InvalidRequest: The file cannot be read.
        InvalidWorkflow: The workflow is invalid.
    """
    from joinery.workflow.mermaid import mermaid

    show(mermaid(read_workflow(file).require()).rstrip("\n"))
    return exits.OK
