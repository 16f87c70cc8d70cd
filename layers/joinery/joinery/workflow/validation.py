"""Validates workflow files: everything that is wrong, at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joinery.workflow.checks.children import check_children
from joinery.workflow.checks.code import check_code, without_planned
from joinery.workflow.checks.code_files import read_code_files, with_code
from joinery.workflow.checks.edges import read_graph
from joinery.workflow.checks.expected import check_expected
from joinery.workflow.checks.fields import check_fields, read_prompts
from joinery.workflow.checks.flow import check_flow
from joinery.workflow.checks.joins import check_constants, check_joins
from joinery.workflow.checks.models import check_models
from joinery.workflow.checks.questions import check_questions
from joinery.workflow.checks.references import check_expressions
from joinery.workflow.checks.running import check_running
from joinery.workflow.checks.structure import check_structure
from joinery.workflow.children import ChildSource, FileChildren, KnownChild
from joinery.workflow.report import Collector, Report
from joinery.workflow.source import Source, load

if TYPE_CHECKING:
    from joinery.workflow.model import Workflow

__all__ = ["Report", "load_with_files", "load_workflow", "validate", "validate_file"]


def validate(
    source: Source, *, folder: Path | None = None, children: ChildSource | None = None
) -> Report:
    """Finds everything that is wrong in a workflow file.

    Args:
        source: The file.
        folder: Where files with prompts and code are; without it, both must be text.
        children: Finds the workflows that its nodes run; without it, those in files of
            the folder are found, and nothing is said of others.

    Returns:
        All problems by line, and the workflow when none is an error. Prompts and code
        in files are text in it.
    """
    out = Collector(source)
    workflow: Workflow | None = None
    known: Mapping[str, KnownChild] = {}
    if source.readable:
        data: Mapping[str, Any] = source.data
        graph = read_graph(data, out)
        prompts = read_prompts(graph, folder, out)
        codes = read_code_files(data, folder, out)
        filled = with_code(_with_prompts(data, prompts), codes)
        workflow = check_structure(without_planned(filled), out)
        check_fields(data, graph, out)
        check_questions(graph, out)
        check_models(data, out)
        check_expected(graph, out)
        check_code(data, graph, codes, out)
        structure = check_flow(graph, out)
        check_joins(graph, structure, out)
        check_constants(graph, out)
        check_running(data, graph, structure, out)
        check_expressions(data, graph, structure, prompts, out)
        if children is None and folder is not None:
            children = FileChildren(folder)
        if children is not None:
            known = check_children(data, graph, children, out)
    problems = out.ordered()
    wrong = any(problem.severity == "error" for problem in problems)
    return Report(problems, None if wrong else workflow, source, known, workflow)


def _with_prompts(data: Mapping[str, Any], prompts: Mapping[str, str]) -> Mapping[str, Any]:
    if not prompts:
        return data
    nodes = {
        name: {**node, "prompt": prompts[name]} if name in prompts else node
        for name, node in data["nodes"].items()
    }
    return {**data, "nodes": nodes}


def validate_file(path: Path) -> Report:
    """Validates a workflow file together with the prompt files it names.

    Raises:
        OSError: The file itself cannot be read.
    """
    source = load(path.read_bytes(), filename=path.name)
    children = FileChildren(path.parent, (path.resolve(),))
    return validate(source, folder=path.parent, children=children)


def load_workflow(text: str | bytes, filename: str = "workflow.yaml") -> Workflow:
    """Returns the workflow that a text holds.

    Raises:
        InvalidWorkflow: With everything that is wrong.
    """
    return validate(load(text, filename=filename)).require()


def load_with_files(path: Path) -> Workflow:
    """Returns the workflow of a file, its prompt files read in.

    Raises:
        InvalidWorkflow: With everything that is wrong.
        OSError: The file itself cannot be read.
    """
    return validate_file(path).require()
