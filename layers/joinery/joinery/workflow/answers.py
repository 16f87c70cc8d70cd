"""What may be answered to a question, and what an answer says as text.

Standard library only, but for jsonschema, which is imported when a schema is checked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

SHOWN: Final = 20
"""Most things said to be wrong with one answer."""


def options_of(said: Any) -> dict[str, str] | None:
    """Returns a file's `options` as `{name: text}`; None where there are none."""
    if not said:
        return None
    return dict(said) if isinstance(said, Mapping) else {name: name for name in said}


def answer_errors(
    value: Any, options: Mapping[str, str] | None, schema: Mapping[str, Any] | None
) -> list[dict[str, str]]:
    """Returns all that is wrong with an answer, as rows `{path, code, message}`.

    Args:
        value: The answer.
        options: What may be answered, when it is one of several.
        schema: What it must match, when that is said.
    """
    if options is not None:
        if isinstance(value, str) and value in options:
            return []
        return [_row("", "option", f"the answer must be one of {', '.join(options)}")]
    if schema is None:
        if isinstance(value, str) and value.strip():
            return []
        return [_row("", "type", "the answer must be text, and not empty")]
    from jsonschema import Draft202012Validator

    rows = []
    for error in Draft202012Validator(dict(schema)).iter_errors(value):
        path = "".join(f"/{part}" for part in error.absolute_path)
        told = f"{path[1:] or 'the answer'}: {error.message}"
        rows.append(_row(path, "schema", told[:300]))
    return rows[:SHOWN]


def _row(path: str, code: str, message: str) -> dict[str, str]:
    return {"path": path, "code": code, "message": message}


def answer_text(value: Any, options: Mapping[str, str] | None) -> str:
    """Returns an answer as text: what an option says, text as it is, JSON of anything else."""
    if options is not None:
        return options.get(str(value), str(value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
