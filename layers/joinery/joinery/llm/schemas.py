"""JSON Schemas as providers take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_NOT_ALL: Final = frozenset(
    {
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
        "minLength", "maxLength", "maxItems", "minItems", "uniqueItems", "minProperties",
        "maxProperties",
    }
)  # fmt: skip
"""Keywords that some providers refuse; the answer is checked against the whole schema later."""


def is_strict(schema: Any) -> bool:
    """Whether every object in a schema names all its properties as required and allows no other.

    That is what the strict mode of OpenAI's `response_format` asks for.
    """
    if isinstance(schema, list):
        return all(is_strict(item) for item in schema)
    if not isinstance(schema, Mapping):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False:
            return False
        if set(schema.get("required", ())) != set(properties):
            return False
        rest = {k: v for k, v in schema.items() if k not in ("properties", "required")}
        return is_strict(list(properties.values())) and is_strict(list(rest.values()))
    return is_strict(list(schema.values()))


def without_bounds(schema: Any) -> Any:
    """Returns a schema without keywords that bound numbers and sizes."""
    if isinstance(schema, list):
        return [without_bounds(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    named = ("properties", "$defs", "definitions")
    return {
        key: {name: without_bounds(item) for name, item in value.items()}
        if key in named and isinstance(value, Mapping)
        else without_bounds(value)
        for key, value in schema.items()
        if key not in _NOT_ALL
    }
