"""The way from a file's text to its one form, and the check that it says the same."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from joinery.errors import InvalidWorkflow, Problem
from joinery.workflow.formatting.arrange import arrange
from joinery.workflow.formatting.as_json import format_json
from joinery.workflow.formatting.edges import short
from joinery.workflow.formatting.order import ordered
from joinery.workflow.formatting.read import Comment, lines_of, read, scan
from joinery.workflow.formatting.write import write
from joinery.workflow.source import Source, json_object, load
from joinery.workflow.yaml_tree import escape_pointer


def format_text(text: str | bytes, *, filename: str = "workflow.yaml") -> str:
    """Returns a workflow file in the one form; it need not be a valid workflow.

    Args:
        text: The file's content; bytes must be UTF-8. JSON stays JSON.
        filename: What to call it in messages; one that ends with `.json` must be JSON.

    Raises:
        InvalidWorkflow: It cannot be read (`yaml.*`, `limit.*`), is not the JSON that its
            name says (`format.not_json`), or would not say the same (`format.unsafe`).
    """
    source = load(text, filename=filename)
    if any(problem.severity == "error" for problem in source.problems):
        raise InvalidWorkflow(source.problems)
    is_json = json_object(source.text) is not None
    if filename.lower().endswith(".json") and not is_json:
        raise InvalidWorkflow([
            Problem(
                "format.not_json", "the file is called JSON, but it is YAML",
                "call it .yaml, or write it as JSON", line=1, column=1,
            )
        ])  # fmt: skip
    if is_json:
        formatted = format_json(source.text)
        problem = _changed(source, formatted)
    else:
        tree, comments = read(lines_of(source.text))
        arrange(tree)
        formatted = write(tree)
        problem = _changed(source, formatted) or _lost(comments, formatted)
    if problem:
        raise InvalidWorkflow([problem])
    return formatted


def _changed(source: Source, formatted: str) -> Problem | None:
    """Returns where a text says something else than its source, if it does."""
    after = load(formatted)
    before = meaning(source.data)
    if not after.problems and _spelled(before) == _spelled(meaning(after.data)):
        return None
    pointer = _difference(before, meaning(after.data), "")
    line, column = source.place(pointer)
    return _unsafe(f"what stands at '{pointer or '/'}'", line, column, pointer)


def _lost(comments: list[Comment], formatted: str) -> Problem | None:
    """Returns the first comment that a text has not, or not as often, if there is one."""
    left = Counter(comment.text for comment in scan(formatted).comments)
    for comment in comments:
        left[comment.text] -= 1
        if left[comment.text] < 0:
            return _unsafe("a comment", comment.line, comment.column + 1, "")
    return _unsafe("a comment", 1, 1, "") if +left else None


def _unsafe(what: str, line: int, column: int, pointer: str) -> Problem:
    return Problem(
        "format.unsafe",
        f"formatting would change {what}, so the file is left as it is",
        "write this place in a plainer way",
        pointer=pointer,
        line=line,
        column=column,
    )


def meaning(data: Any) -> Any:
    """Returns a file's data as it is compared: keys in their order, edges in their short form."""
    found = ordered(data)
    if isinstance(found, dict) and isinstance(found.get("edges"), list):
        found["edges"] = [short(edge) for edge in found["edges"]]
    return found


def _spelled(data: Any) -> str:
    """Returns data as a text that tells `1` from `1.0` and `true`, and one order from another."""
    return json.dumps(data)


def _difference(before: Any, after: Any, pointer: str) -> str:
    """Returns the JSON pointer of the first value that is not the same."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before:
            inside = f"{pointer}/{escape_pointer(key)}"
            if key not in after:
                return inside
            if _spelled(before[key]) != _spelled(after[key]):
                return _difference(before[key], after[key], inside)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            if _spelled(old) != _spelled(new):
                return _difference(old, new, f"{pointer}/{index}")
    return pointer
