"""Checks what a run is given against what its workflow declares."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from joinery import limits
from joinery.errors import InvalidInput, TooLarge

_CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda v: isinstance(v, str),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "boolean": lambda v: isinstance(v, bool),
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
}


def check_inputs(
    declared: Mapping[str, Mapping[str, Any]], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the inputs of a run, defaults filled in.

    Args:
        declared: `{name: {type, required, default}}` from the plan.
        given: What the caller gave.

    Raises:
        InvalidInput: Lists every input that is missing, unknown or of a wrong type.
        TooLarge: Names the input, its size in bytes and the limit.
    """
    errors: list[dict[str, str]] = []
    checked: dict[str, Any] = {}
    for name in given:
        if name not in declared:
            known = ", ".join(declared) or "none"
            errors.append(_error(name, "unknown", f"no input '{name}'; declared: {known}"))
    for name, spec in declared.items():
        if name in given:
            value = given[name]
            if not _CHECKS[spec["type"]](value):
                message = f"input '{name}' must be {_article(spec['type'])}, not {_kind(value)}"
                errors.append(_error(name, "type", message))
            checked[name] = value
        elif spec.get("required"):
            errors.append(_error(name, "missing", f"input '{name}' is required"))
        elif spec.get("default") is not None:
            checked[name] = spec["default"]
    if errors:
        raise InvalidInput("; ".join(e["message"] for e in errors), errors=errors)
    _check_sizes(checked)
    return checked


def _check_sizes(values: Mapping[str, Any]) -> None:
    total = 0
    for name, value in values.items():
        try:
            size = value_bytes(value)
        except UnicodeEncodeError:
            raise InvalidInput(
                f"input '{name}' holds half of a surrogate pair, which no UTF-8 can hold"
            ) from None
        total += size
        if size > limits.INPUT_BYTES:
            raise TooLarge(
                f"input '{name}' has {size:,} bytes; the limit is {limits.INPUT_BYTES:,}",
                input=name,
                limit=limits.INPUT_BYTES,
                actual=size,
            )
    if total > limits.INPUTS_TOTAL_BYTES:
        raise TooLarge(
            f"the inputs have {total:,} bytes together; the limit is {limits.INPUTS_TOTAL_BYTES:,}",
            limit=limits.INPUTS_TOTAL_BYTES,
            actual=total,
        )


def value_bytes(value: Any) -> int:
    """Returns the size of a value: bytes of UTF-8 for text, of JSON for anything else."""
    if isinstance(value, str):
        return len(value.encode())
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def _error(name: str, code: str, message: str) -> dict[str, str]:
    return {"input": name, "code": code, "message": message}


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aio" else f"a {kind}"


def _kind(value: Any) -> str:
    for kind, check in _CHECKS.items():
        if check(value):
            return _article(kind)
    return "null"
