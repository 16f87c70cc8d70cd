"""Workflow files in JSON: the same order of keys, two spaces, numbers as they were written."""

from __future__ import annotations

import json
from typing import Any

from joinery.workflow.formatting.edges import short
from joinery.workflow.formatting.order import ordered
from joinery.workflow.formatting.texts import escaped


class _Number(str):
    """A number by its digits."""

    __slots__ = ()


def format_json(text: str) -> str:
    """Returns the text of a JSON object that the reader has read without a problem."""
    data = ordered(json.loads(text, parse_int=_Number, parse_float=_Number))
    if isinstance(data.get("edges"), list):
        data["edges"] = [short(edge) for edge in data["edges"]]
    return _written(data, "") + "\n"


def _written(value: Any, indent: str) -> str:
    inside = f"{indent}  "
    match value:
        case _Number():
            return str(value)
        case dict() if value:
            rows = [f"{escaped(key)}: {_written(item, inside)}" for key, item in value.items()]
            return _lines("{", rows, "}", indent)
        case list() if value:
            return _lines("[", [_written(item, inside) for item in value], "]", indent)
        case str():
            return escaped(value)
        case _:
            return json.dumps(value)


def _lines(begin: str, rows: list[str], end: str, indent: str) -> str:
    inside = ",\n".join(f"{indent}  {row}" for row in rows)
    return f"{begin}\n{inside}\n{indent}{end}"
