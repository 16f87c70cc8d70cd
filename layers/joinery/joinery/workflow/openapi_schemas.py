"""Schemas of OpenAPI documents as plain JSON Schema, with their references put in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

SCHEMA_BYTES: Final = 65_536
"""Largest schema of one argument, with all that it refers to."""

_DEPTH: Final = 40
_PARTS: Final = 2_000

_NOT_SCHEMA: Final = frozenset({"xml", "externalDocs", "example", "discriminator", "nullable"})
"""What OpenAPI adds to JSON Schema, or says in a way of its own."""

_NAMED: Final = frozenset({"properties", "patternProperties", "dependentSchemas"})
_SINGLE: Final = frozenset(
    {"items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"}
)
_MANY: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})


class Broken(Exception):
    """A document says something that cannot be used."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def resolved(data: Mapping[str, Any], node: Any) -> Mapping[str, Any]:
    """Returns an object, following its references within the document.

    Raises:
        Broken: It is none, or a reference leads nowhere, outside, or in a circle.
    """
    for _ in range(_DEPTH):
        if not isinstance(node, dict):
            raise Broken("the document has something else where an object must be")
        if "$ref" not in node:
            return node
        node = _target(data, node["$ref"])
    raise Broken("a reference leads in a circle")


def inlined(data: Mapping[str, Any], schema: Any) -> dict[str, Any]:
    """Returns a schema with its references put in, as JSON Schema 2020-12.

    Where a schema refers to itself the inner one allows everything.

    Raises:
        Broken: It is no schema, refers to what is not there, or is too large.
    """
    found = _Inliner(data).read(schema, ())
    made = {} if found is True else {"not": {}} if found is False else found
    if len(json.dumps(made, default=str)) > SCHEMA_BYTES:
        raise Broken(f"a schema has more than {SCHEMA_BYTES:,} bytes with what it refers to")
    _check(made)
    return made


def _check(schema: dict[str, Any]) -> None:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        place = "/".join(map(str, error.absolute_path))
        raise Broken(f"a schema is none: {error.message[:200]} (at '{place}')") from error


class _Inliner:
    """Puts references in; counts, since what is short to write may be endless to read."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data, self._left = data, _PARTS

    def read(self, schema: Any, inside: tuple[str, ...]) -> Any:
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            raise Broken("a schema is neither an object nor true or false")
        self._left -= 1
        if len(inside) > _DEPTH or self._left < 0:
            raise Broken("a schema has too many parts, or they are nested too deeply")
        ref = schema.get("$ref")
        if ref is not None:
            if ref in inside:
                return {"description": "the same again"}
            target = self.read(_target(self._data, ref), (*inside, str(ref)))
            beside = {k: v for k, v in schema.items() if k in {"description", "default"}}
            return {**target, **beside} if isinstance(target, dict) else target
        made: dict[str, Any] = {}
        deeper = (*inside, "")
        for key, value in schema.items():
            if key in _NOT_SCHEMA or key.startswith("x-"):
                continue
            if key in _NAMED and isinstance(value, dict):
                made[key] = {name: self.read(row, deeper) for name, row in value.items()}
            elif key in _SINGLE:
                made[key] = self.read(value, deeper)
            elif key in _MANY and isinstance(value, list):
                made[key] = [self.read(row, deeper) for row in value]
            else:
                made[key] = value
        return _modern(made, nullable=schema.get("nullable") is True)


def _modern(schema: dict[str, Any], *, nullable: bool) -> dict[str, Any]:
    """Returns a schema of OpenAPI 3.0 as 3.1 and JSON Schema write it."""
    for key, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(schema.get(key), bool) and schema.pop(key) and bound in schema:
            schema[key] = schema.pop(bound)
    if nullable and isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
        if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
    return schema


def _target(data: Mapping[str, Any], ref: Any) -> Any:
    if not isinstance(ref, str) or not ref.startswith("#/"):
        raise Broken(f"it refers to '{ref}', outside of the document",
                     "bundle the document into one file")  # fmt: skip
    node: Any = data
    for part in ref[2:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(node, dict) or key not in node:
            raise Broken(f"it refers to '{ref}', which is not there")
        node = node[key]
    return node
