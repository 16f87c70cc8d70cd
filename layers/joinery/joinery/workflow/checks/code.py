"""Checks tools, and the code of tools and code nodes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from joinery import limits
from joinery.workflow import model as m
from joinery.workflow.checks.documents import Piece, check_document
from joinery.workflow.checks.edges import RawGraph, RawNode
from joinery.workflow.checks.fields import schema_problems
from joinery.workflow.checks.requirements import check_requirements, code_problem
from joinery.workflow.python_source import Signature, argument_flaws, read_source
from joinery.workflow.report import Collector, did_you_mean
from joinery.workflow.tool_model import kind_of
from joinery.workflow.yaml_tree import escape_pointer

READ_RESULT: Final = "read_result"
"""A tool that agents are given once a result was too long to be told whole."""

Codes = Mapping[str, str]
"""Texts of code that stands in files, by the pointer of `code`."""


def check_code(data: Mapping[str, Any], graph: RawGraph, codes: Codes, out: Collector) -> None:
    """Reports what is wrong with tools, code, and the arguments that nodes pass."""
    tools = data.get("tools")
    known: Mapping[str, Any] = tools if isinstance(tools, dict) else {}
    takes = {name: _check_tool(name, tool, codes, out) for name, tool in known.items()}
    used = _check_agents(data, known, out)
    for node in graph.nodes.values():
        if node.type == "code":
            _check_node(node, codes, out)
        elif node.type == "tool" and isinstance(name := node.data.get("tool"), str):
            used.add(name)
            if name in known:
                _check_arguments(node, "arguments", takes[name], out)
                _check_callable(node, name, known[name], out)
            elif tools is None or isinstance(tools, dict):
                _unknown(name, known, f"{node.pointer}/tool", out)
    for name in known:
        if name not in used:
            out.warn("tool.unused", f"no node and no agent uses the tool '{name}'",
                     f"/tools/{escape_pointer(name)}", key=True,
                     hint="remove it, or call it in a node: tool: " + name)  # fmt: skip


def _check_agents(data: Mapping[str, Any], known: Mapping[str, Any], out: Collector) -> set[str]:
    """Reports what is wrong with the tools of agents; returns the names of those that are used."""
    agents = data.get("agents")
    used: set[str] = set()
    for agent, spec in agents.items() if isinstance(agents, dict) else ():
        names = spec.get("tools", []) if isinstance(spec, dict) else []
        own: set[str] = set()
        for place, name in enumerate(names if isinstance(names, list) else []):
            pointer = f"/agents/{escape_pointer(agent)}/tools/{place}"
            if not isinstance(name, str):
                continue
            if name in own:
                out.add("tool.duplicate", f"agent '{agent}' has the tool '{name}' twice", pointer,
                        hint="remove one of them")  # fmt: skip
            elif name == READ_RESULT:
                out.add("tool.reserved", f"'{name}' is the name of a tool that agents have anyway",
                        pointer, hint="give the tool another name")  # fmt: skip
            elif name not in known:
                _unknown(name, known, pointer, out)
            elif isinstance(known[name], dict) and _untold(known[name]):
                out.warn("tool.no_description",
                         f"agent '{agent}': its model is not told what the tool '{name}' does",
                         f"/tools/{escape_pointer(name)}", key=True,
                         hint="add a description to the tool")  # fmt: skip
            own.add(name)
        used |= own
    return used


def _unknown(name: str, known: Mapping[str, Any], pointer: str, out: Collector) -> None:
    hint = did_you_mean(name, known) or f"add it: tools: {{{name}: {{code: ...}}}}"
    out.add("reference.unknown_tool", f"there is no tool '{name}'", pointer, hint=hint)


def without_planned(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the data without the tools that are refused by their kind."""
    tools = data.get("tools")
    if not isinstance(tools, dict):
        return data
    kept = {n: tool for n, tool in tools.items() if kind_of(tool) not in m.PLANNED_TOOL_KINDS}
    return {**data, "tools": kept}


def _untold(tool: Mapping[str, Any]) -> bool:
    """Whether nobody tells a model what a tool does; other kinds say it themselves."""
    return kind_of(tool) in {"python", "workflow"} and not tool.get("description")


def _check_callable(node: RawNode, name: str, tool: Any, out: Collector) -> None:
    kind = kind_of(tool)
    if kind in m.TOOL_KINDS and kind != "python" and isinstance(tool, dict):
        out.add("tool.agents_only", f"node '{node.id}': tools of the kind '{kind}' are for agents",
                f"{node.pointer}/tool",
                hint=f"add it to an agent: agents: {{x: {{tools: [{name}]}}}}")  # fmt: skip


# -- tools ----------------------------------------------------------------------------------


def _check_tool(name: str, tool: Any, codes: Codes, out: Collector) -> Signature | None:
    """Returns what a tool takes, when that is known."""
    pointer = f"/tools/{escape_pointer(name)}"
    kind = kind_of(tool)
    if kind in m.PLANNED_TOOL_KINDS:
        out.add(
            "tool.not_available",
            f"tool '{name}': the kind '{kind}' is planned and does not run in this release",
            f"{pointer}/kind",
            hint=f"this release runs tools of the kinds {', '.join(m.TOOL_KINDS)}",
        )
    if kind == "openapi":
        check_document(name, tool, _piece(tool.get("document"), f"{pointer}/document", codes), out)
    if kind != "python":
        return None
    parameters = tool.get("parameters", {})
    sound = isinstance(parameters, dict) and all(isinstance(p, dict) for p in parameters.values())
    if sound:
        _check_parameters(name, parameters, f"{pointer}/parameters", out)
    piece = _piece(tool.get("code"), f"{pointer}/code", codes)
    owner = f"tool '{name}'"
    packages = check_requirements(owner, tool.get("requirements"), f"{pointer}/requirements", out)
    function = None if piece is None else _check_piece(piece, name, owner, out, packages=packages)
    if not sound:
        return None
    with_default = tuple(key for key, schema in parameters.items() if "default" in schema)
    takes = Signature(tuple(key for key in parameters if key not in with_default), with_default)
    if function is not None:
        _check_signature(name, takes, function, pointer, out)
    return takes


def _check_parameters(
    name: str, parameters: Mapping[str, Any], pointer: str, out: Collector
) -> None:
    wrong = schema_problems(json.dumps(parameters))
    for path, message, hint in wrong:
        place = pointer + "".join(f"/{escape_pointer(part)}" for part in path)
        out.add("tool.parameters", f"tool '{name}': {message}", place, hint=hint)
    if wrong:
        return
    from jsonschema import Draft202012Validator

    for key, schema in parameters.items():
        if "default" in schema and not Draft202012Validator(schema).is_valid(schema["default"]):
            out.add("tool.parameters", f"tool '{name}': the default of '{key}' does not match it",
                    f"{pointer}/{escape_pointer(key)}/default")  # fmt: skip


def _check_signature(
    name: str, takes: Signature, function: Signature, pointer: str, out: Collector
) -> None:
    """Reports where parameters and the function's own differ."""
    for key in function.required:
        if key not in takes.names:
            out.add("tool.signature", f"tool '{name}': the function needs '{key}', which is no "
                    "parameter", pointer, key=True,
                    hint=f"add it: parameters: {{{key}: {{type: string}}}}")  # fmt: skip
    for key in takes.names:
        if key not in function.names and not function.anything:
            out.add("tool.signature", f"tool '{name}': the function does not take '{key}'",
                    f"{pointer}/parameters/{escape_pointer(key)}", key=True,
                    hint=did_you_mean(key, function.names) or "remove it")  # fmt: skip


# -- nodes ----------------------------------------------------------------------------------


def _check_node(node: RawNode, codes: Codes, out: Collector) -> None:
    owner, required = f"node '{node.id}'", node.data.get("requirements")
    packages = check_requirements(owner, required, f"{node.pointer}/requirements", out)
    piece = _piece(node.data.get("code"), f"{node.pointer}/code", codes)
    function = node.data.get("function", "main")
    if piece is None or not isinstance(function, str):
        return
    takes = _check_piece(piece, function, owner, out, packages=packages)
    _check_arguments(node, "inputs", takes, out)


def _check_arguments(node: RawNode, key: str, takes: Signature | None, out: Collector) -> None:
    given = node.data.get(key, {})
    if takes is None or not isinstance(given, dict):
        return
    for name, flaw in argument_flaws(given, takes):
        place = f"{node.pointer}/{key}"
        if flaw.code == "code.unknown_argument":
            place += f"/{escape_pointer(name)}"
        out.add(flaw.code, f"node '{node.id}': {flaw.message}", place, hint=flaw.hint, key=True)


# -- code -----------------------------------------------------------------------------------


def _piece(code: Any, pointer: str, codes: Codes) -> Piece | None:
    if isinstance(code, str):
        return Piece(code, pointer)
    if pointer in codes:
        return Piece(codes[pointer], pointer, str(code.get("file")))
    return None


def _check_piece(
    piece: Piece, function: str, owner: str, out: Collector, *, packages: bool
) -> Signature | None:
    """Returns what the function takes, when that is known."""
    size = len(piece.text.encode("utf-8", "replace"))
    if size > limits.CODE_BYTES:
        out.add("limit.code", f"{owner}: the code has {size:,} bytes; the limit is "
                f"{limits.CODE_BYTES:,}", piece.pointer,
                hint="split it into several nodes, or pass data as inputs")  # fmt: skip
        return None
    flaws, takes = read_source(piece.text, function, packages=packages)
    for flaw in flaws:
        out.problems.append(code_problem(flaw, piece, owner, out))
    return takes
