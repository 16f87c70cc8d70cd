"""Checks single fields for what the model alone cannot say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from joinery import limits
from joinery.workflow import model as m
from joinery.workflow.checks.edges import RawGraph, RawNode
from joinery.workflow.report import Collector, did_you_mean
from joinery.workflow.syntax import OPEN
from joinery.workflow.yaml_tree import escape_pointer

PROMPT_BYTES: Final = 1_048_576
"""Largest prompt file."""

ITEMS_DEFAULT: Final = m.IterateNode.model_fields["max_items"].default

_JSON_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}


def check_fields(data: Mapping[str, Any], graph: RawGraph, out: Collector) -> None:
    """Reports what is wrong with inputs, agents, outputs' schemas and switches."""
    _check_inputs(data.get("inputs"), out)
    _check_agents(data, graph, out)
    if len(graph.nodes) > limits.NODES_MAX:
        out.add(
            "limit.nodes",
            f"the workflow has {len(graph.nodes):,} nodes; the limit is {limits.NODES_MAX:,}",
            "/nodes",
            hint="split it into several workflows",
            key=True,
        )
    for node in graph.nodes.values():
        if node.type in ("agent", "llm"):
            _check_output(node, out)
        if node.type == "llm":
            _check_verbatim(node.data.get("system"), f"{node.pointer}/system", out)
        elif node.type == "switch":
            _check_switch(node, out)
        elif node.type == "iterate":
            _check_iterate(node, out)


def _check_inputs(inputs: Any, out: Collector) -> None:
    for name, spec in inputs.items() if isinstance(inputs, dict) else ():
        if not isinstance(spec, dict):
            continue
        default, kind = spec.get("default"), spec.get("type", "string")
        pointer = f"/inputs/{escape_pointer(name)}/default"
        if default is None or not isinstance(kind, str) or kind not in _JSON_TYPES:
            continue
        if not is_of_type(default, kind):
            out.add(
                "input.default_type",
                f"input '{name}' has the type {kind}; its default is another",
                pointer,
                hint=f"write the default as {kind}, or change 'type'",
            )


def is_of_type(value: Any, kind: str) -> bool:
    """Whether a value of a file has one of the types that inputs have."""
    if isinstance(value, bool) and kind != "boolean":
        return False  # to Python true is a number
    return isinstance(value, _JSON_TYPES[kind])


def _check_agents(data: Mapping[str, Any], graph: RawGraph, out: Collector) -> None:
    agents = data.get("agents")
    known: Mapping[str, Any] = agents if isinstance(agents, dict) else {}
    used: set[str] = set()
    for node in graph.nodes.values():
        name = node.data.get("agent")
        if node.type != "agent" or not isinstance(name, str):
            continue
        used.add(name)
        if name not in known and (agents is None or isinstance(agents, dict)):
            hint = did_you_mean(name, known) or f"add it: agents: {{{name}: {{persona: ...}}}}"
            out.add("reference.unknown_agent", f"there is no agent '{name}'",
                    f"{node.pointer}/agent", hint=hint)  # fmt: skip
    for name, agent in known.items():
        pointer = f"/agents/{escape_pointer(name)}"
        if name not in used:
            out.warn("agent.unused", f"no node uses the agent '{name}'", pointer, key=True,
                     hint="remove it, or name it in a node: agent: " + name)  # fmt: skip
        if isinstance(agent, dict):
            _check_verbatim(agent.get("persona"), f"{pointer}/persona", out)


def _check_verbatim(text: Any, pointer: str, out: Collector) -> None:
    if isinstance(text, str) and OPEN in text:
        out.warn(
            "expression.not_evaluated",
            "this text is sent word for word; the expression in it is not evaluated",
            pointer,
            hint="put what changes into the prompt",
        )


def _check_switch(node: RawNode, out: Collector) -> None:
    cases = node.data.get("cases")
    if not isinstance(cases, dict):
        return
    for port, case in cases.items():
        pointer = f"{node.pointer}/cases/{escape_pointer(port)}"
        if port in ("default", "error"):
            out.add("schema.value", f"node '{node.id}': a case cannot be called '{port}'", pointer,
                    hint=f"the port '{port}' is there by itself; choose another name",
                    key=True)  # fmt: skip
        if node.data.get("value") is None:
            if not isinstance(case, str):
                out.add(
                    "schema.type",
                    f"node '{node.id}': without 'value', the case '{port}' is a condition",
                    pointer,
                    hint='add \'value: "{{ ... }}"\', or write "{{ nodes.x.output.y > 3 }}"',
                )
        elif isinstance(case, str) and OPEN in case:
            out.add(
                "expression.not_allowed",
                f"node '{node.id}': the case '{port}' is compared with 'value' as it is written",
                pointer,
                hint="remove 'value' to make the cases conditions",
            )
        elif isinstance(case, dict) and case.get("min") is None and case.get("max") is None:
            out.add("schema.value", f"node '{node.id}': the case '{port}' needs min or max",
                    pointer, hint="write {min: 0, max: 50}")  # fmt: skip


def _check_iterate(node: RawNode, out: Collector) -> None:
    items, most = node.data.get("items"), node.data.get("max_items", ITEMS_DEFAULT)
    expected = node.data.get("expected_items")
    if not isinstance(most, int) or not 1 <= most <= limits.ITERATE_ITEMS_MAX:
        return
    if isinstance(expected, int) and expected > most:
        out.add("schema.value", f"node '{node.id}': expected_items must be at most max_items, "
                f"which is {most}", f"{node.pointer}/expected_items",
                hint="write a smaller number, or a larger max_items")  # fmt: skip
    if isinstance(items, list) and len(items) > most:
        out.add("schema.value", f"node '{node.id}' has {len(items):,} items; max_items is {most}",
                f"{node.pointer}/items", hint=f"write 'max_items: {len(items)}'")  # fmt: skip


# -- output schemas -----------------------------------------------------------------------


def _check_output(node: RawNode, out: Collector) -> None:
    output = node.data.get("output")
    if not isinstance(output, dict) or not all(isinstance(v, dict) for v in output.values()):
        return
    base = f"{node.pointer}/output"
    for path, message, hint in schema_problems(json.dumps(output)):
        pointer = base + "".join(f"/{escape_pointer(part)}" for part in path)
        out.add("output.schema", f"node '{node.id}': {message}", pointer, hint=hint)


@lru_cache(maxsize=256)
def schema_problems(output: str) -> list[tuple[tuple[str, ...], str, str]]:
    """Returns path, message and hint of everything wrong in a map of property schemas."""
    from jsonschema import Draft202012Validator

    properties = json.loads(output)
    found: list[tuple[tuple[str, ...], str, str]] = []
    meta = Draft202012Validator(Draft202012Validator.META_SCHEMA)
    types = ("array", "boolean", "integer", "null", "number", "object", "string")
    for error in meta.iter_errors({"type": "object", "properties": properties}):
        path = tuple(str(part) for part in error.absolute_path)[1:]
        hint = "see https://json-schema.org/draft/2020-12"
        if path and path[-1] == "type":
            message = f"there is no type {json.dumps(error.instance)}"
            hint = did_you_mean(str(error.instance), types)
        else:
            message = f"'{'.'.join(path)}' is no JSON Schema: {error.message[:200]}"
        found.append((path, message, hint))
    for path, key, value in _keywords(properties, ()):
        if key in ("$ref", "$dynamicRef"):
            found.append(((*path, key), f"'{key}' is not available in an output",
                          "write the schema out"))  # fmt: skip
        elif key == "pattern":
            try:
                re.compile(value)
            except re.error as error:
                found.append(((*path, key), f"the pattern is malformed: {error}", ""))
    return list(dict.fromkeys(found))


def _keywords(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, str):
                yield path, key, item
            yield from _keywords(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _keywords(item, (*path, str(index)))


# -- prompt files -------------------------------------------------------------------------


def read_prompts(graph: RawGraph, folder: Path | None, out: Collector) -> dict[str, str]:
    """Returns the texts of prompts in files by node id, reporting what cannot be read.

    Args:
        graph: The nodes.
        folder: The workflow file's folder; None when there is none, as in a request.
        out: Takes problems.
    """
    found: dict[str, str] = {}
    for node in graph.nodes.values():
        prompt = node.data.get("prompt")
        name = prompt.get("file") if isinstance(prompt, dict) else None
        if node.type not in ("agent", "llm", "question") or not isinstance(name, str):
            continue
        pointer = f"{node.pointer}/prompt/file"
        if folder is None:
            out.add("prompt.file_missing", f"'{name}': there is no folder to read from", pointer,
                    hint="send the prompt as text")  # fmt: skip
            continue
        text = _read_prompt(folder, name, pointer, out)
        if text is not None:
            found[node.id] = text
    return found


def _read_prompt(folder: Path, name: str, pointer: str, out: Collector) -> str | None:
    base = folder.resolve()
    try:
        path = (base / name).resolve()
        inside = path.is_relative_to(base)
        if inside and path.is_file():
            with path.open("rb") as file:
                raw = file.read(PROMPT_BYTES + 1)
        else:
            raw = None
    except (OSError, ValueError):  # ValueError: a null byte in the name
        inside, raw = True, None
    if not inside:
        out.add("prompt.file_outside", f"'{name}' is outside the workflow's folder", pointer,
                hint="keep prompt files beside or below the workflow file")  # fmt: skip
    elif raw is None:
        out.add("prompt.file_missing", f"there is no file '{name}'", pointer,
                hint="paths are relative to the workflow file")  # fmt: skip
    elif len(raw) > PROMPT_BYTES:
        out.add("limit.prompt", f"'{name}' has more than {PROMPT_BYTES:,} bytes", pointer)
    else:
        try:
            return raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            out.add("prompt.encoding", f"'{name}' is not UTF-8", pointer,
                    hint="save the file as UTF-8")  # fmt: skip
    return None
