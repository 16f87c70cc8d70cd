"""Checks nodes that run other workflows: that these exist, and what they are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joinery import limits
from joinery.workflow.checks.edges import RawGraph, RawNode
from joinery.workflow.checks.fields import is_of_type
from joinery.workflow.checks.words import what
from joinery.workflow.children import (
    ChildProblem,
    ChildSource,
    KnownChild,
    child_of_tool,
    is_file,
    too_deep,
)
from joinery.workflow.expressions import parse_template, syntax_errors
from joinery.workflow.report import Collector, did_you_mean
from joinery.workflow.syntax import OPEN
from joinery.workflow.tool_model import kind_of
from joinery.workflow.yaml_tree import escape_pointer


def check_children(
    data: Mapping[str, Any], graph: RawGraph, children: ChildSource, out: Collector
) -> dict[str, KnownChild]:
    """Reports what is wrong with child workflows.

    Returns:
        Those that are known, by node, and those of tools by `child_of_tool`.
    """
    known: dict[str, KnownChild] = {}
    for node in graph.nodes.values():
        if node.type == "workflow":
            place = _Place(f"node '{node.id}'", node.pointer, node.data)
            child = _find(place, data.get("name"), children, out)
            if child is not None:
                known[node.id] = child
                _check_inputs(node, child, out)
    tools = data.get("tools")
    for name, tool in tools.items() if isinstance(tools, dict) else ():
        if kind_of(tool) == "workflow":
            place = _Place(f"tool '{name}'", f"/tools/{escape_pointer(name)}", tool)
            child = _find(place, data.get("name"), children, out)
            if child is not None:
                known[child_of_tool(name)] = child
    return known


@dataclass(frozen=True, slots=True)
class _Place:
    """What names a workflow: a node or a tool."""

    what: str
    pointer: str
    data: Mapping[str, Any]


def _find(place: _Place, name: Any, children: ChildSource, out: Collector) -> KnownChild | None:
    workflow, version = place.data.get("workflow"), place.data.get("version")
    if not isinstance(workflow, str):
        return None
    if is_file(workflow) and version is not None:
        out.add("schema.value", f"{place.what}: a file has no 'version'",
                f"{place.pointer}/version", hint="remove it", key=True)  # fmt: skip
    try:
        child = children.find(workflow, version if isinstance(version, int) else None)
        if child is not None:
            _check_nesting(name, child)
    except ChildProblem as problem:
        out.add(problem.code, f"{place.what}: {problem.message}",
                f"{place.pointer}/workflow", hint=problem.hint)  # fmt: skip
        return None
    return child


def _check_nesting(name: Any, child: KnownChild) -> None:
    # Workflows of one owner are told apart by their names alone.
    way = child.way_to(name) if isinstance(name, str) else []
    if way:
        raise ChildProblem(
            "child.circle",
            f"the workflows run each other in a circle: {' -> '.join([str(name), *way])}",
            "a workflow cannot run itself; repeat steps with a loop",
        )
    if child.levels() > limits.CHILD_DEPTH_MAX:
        raise too_deep(child.levels())


def _check_inputs(node: RawNode, child: KnownChild, out: Collector) -> None:
    given = node.data.get("inputs")
    if given is not None and not isinstance(given, dict):
        return
    given = given or {}
    for name, value in given.items():
        pointer = f"{node.pointer}/inputs/{escape_pointer(name)}"
        spec = child.inputs.get(name)
        if spec is None:
            out.add("child.unknown_input",
                    f"node '{node.id}': the workflow '{child.name}' takes no input '{name}'",
                    pointer, hint=did_you_mean(name, child.inputs), key=True)  # fmt: skip
        elif not _may_be(value, str(spec["type"])):
            out.add("child.input_type",
                    f"node '{node.id}': the input '{name}' of '{child.name}' has the type "
                    f"{spec['type']}; this is {what(value)}", pointer,
                    hint=f"write the value as {spec['type']}")  # fmt: skip
    for name, spec in child.inputs.items():
        if spec.get("required") and name not in given:
            out.add("child.missing_input",
                    f"node '{node.id}': the workflow '{child.name}' needs the input '{name}'",
                    node.pointer, hint=f'add \'inputs: {{{name}: "{{{{ ... }}}}"}}\'',
                    key=True)  # fmt: skip


def _may_be(value: Any, kind: str) -> bool:
    """Whether a value may be of a type when the node runs; of one expression nobody knows."""
    if isinstance(value, str) and OPEN in value:
        if syntax_errors(value) or parse_template(value).single:
            return True
        return kind == "string"
    return is_of_type(value, kind)
