"""Checks what a question may be answered by, and its default."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from joinery import limits
from joinery.workflow import model as m
from joinery.workflow.answers import answer_errors, options_of
from joinery.workflow.checks.edges import RawGraph, RawNode
from joinery.workflow.checks.fields import schema_problems
from joinery.workflow.report import Collector
from joinery.workflow.syntax import OPEN
from joinery.workflow.yaml_tree import escape_pointer

_NAME: Final = re.compile(m.NODE_ID)


def check_questions(graph: RawGraph, out: Collector) -> None:
    """Reports what is wrong with the options, the schema and the default of questions."""
    for node in graph.nodes.values():
        if node.type == "question":
            _check(node, out)


def _check(node: RawNode, out: Collector) -> None:
    options, schema = node.data.get("options"), node.data.get("schema")
    if options is not None and schema is not None:
        out.add("schema.value", f"node '{node.id}' has options and a schema",
                f"{node.pointer}/schema", key=True,
                hint="keep one: an answer that is one of the options needs no schema")  # fmt: skip
    right = _check_options(node, options, out)
    if isinstance(schema, dict):
        right = _check_schema(node, schema, out) and right
    if right and "default" in node.data:
        _check_default(node, options, schema, out)


def _check_options(node: RawNode, options: Any, out: Collector) -> bool:
    """Reports options that cannot be; returns whether a default can be compared with them."""
    if not isinstance(options, list | dict):
        return options is None
    base = f"{node.pointer}/options"
    if not options or len(options) > limits.QUESTION_OPTIONS_MAX:
        out.add("schema.value", f"node '{node.id}': a question has 1 to "
                f"{limits.QUESTION_OPTIONS_MAX} options, or none named", base,
                hint="leave 'options' out to take any text")  # fmt: skip
        return False
    before = len(out.problems)
    seen: set[str] = set()
    for index, name in enumerate(options):
        pointer = f"{base}/{escape_pointer(str(name)) if isinstance(options, dict) else index}"
        if isinstance(name, str):
            _check_name(node, name, pointer, name in seen, out, key=isinstance(options, dict))
            seen.add(name)
        text = options[name] if isinstance(options, dict) else ""
        if isinstance(text, str) and OPEN in text:
            out.warn("expression.not_evaluated",
                     "this text is shown word for word; the expression in it is not evaluated",
                     pointer, hint="put what changes into the prompt")  # fmt: skip
    return not any(problem.severity == "error" for problem in out.problems[before:])


def _check_name(
    node: RawNode, name: str, pointer: str, again: bool, out: Collector, *, key: bool
) -> None:
    if again:
        out.add("schema.value", f"node '{node.id}': the option '{name}' is there twice", pointer)
    elif not _NAME.match(name) or len(name) > limits.NODE_ID_CHARS:
        out.add(
            "schema.value",
            f"node '{node.id}': '{name[:80]}' cannot be the name of an option",
            pointer,
            hint="names are letters, digits and _, such as options: {yes: 'Yes, send it'}",
            key=key,
        )
    elif name == "error":
        out.add("schema.value", f"node '{node.id}': an option cannot be called 'error'", pointer,
                hint="the port 'error' is there by itself; choose another name",
                key=key)  # fmt: skip


def _check_schema(node: RawNode, schema: dict[str, Any], out: Collector) -> bool:
    """Reports what is no schema; returns whether it is one."""
    found = schema_problems(json.dumps({"answer": schema}))
    for path, message, hint in found:
        place = "".join(f"/{escape_pointer(part)}" for part in path[1:])
        out.add("output.schema", f"node '{node.id}': {message}", f"{node.pointer}/schema{place}",
                hint=hint)  # fmt: skip
    return not found


def _check_default(node: RawNode, options: Any, schema: Any, out: Collector) -> None:
    for row in answer_errors(node.data["default"], options_of(options), schema):
        message = row["message"].replace("the answer", "the default", 1)
        out.add("question.default", f"node '{node.id}': {message}", f"{node.pointer}/default",
                hint="the default is an answer: it must be one that is allowed")  # fmt: skip
