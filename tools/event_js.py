"""Writes `console/protocol.js`: the event schema as names, fields and JSDoc types."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from tools.event_schema import Definition, Schema
from tools.event_types import CONSTANTS, class_name, first_sentence

HEADER = """\
/**
 * Everything that goes over the wire; made from `schema.json`, not by hand. Run
 * `python -m tools.generate` after a change of the schema.
 */

export const PROTOCOL_VERSION = 1;
"""

MESSAGE = """\
/**
 * Any message, as a client reads it before it knows which one it is. A later version may
 * add names and fields.
 *
 * @typedef {Object} Message
 * @property {string} event
 * @property {number} [v]
 * @property {string} [run_id]
 * @property {string} [session_id]
 * @property {string} [timestamp]
 * @property {number} [head]
 * @property {number} [seq]
 * @property {string} [node_id]
 * @property {string} [path]
 * @property {any} [data]
 */
"""

_SCALARS = {
    "string": "string", "integer": "number", "number": "number", "boolean": "boolean",
    "null": "null",
}  # fmt: skip


def event_js(schema: Schema) -> str:
    """Returns the module's text."""
    parts = [HEADER]
    for kind, title in CONSTANTS.items():
        names = [d.name for d in schema.of_kind(kind)]
        parts.append(f"export const {title} = Object.freeze({_list(names)});\n")
    rows = [
        f"  {_key(d.name)}: {_list(_required(schema, d), 4 + len(_key(d.name)))},"
        for kind in CONSTANTS
        for d in schema.of_kind(kind)
    ]
    parts.append(
        "/** What each message must have, `data.` before what is in its data. */\n"
        "export const REQUIRED = Object.freeze({\n" + "\n".join(rows) + "\n});\n"
    )
    parts.append(MESSAGE)
    for definition in schema.definitions:
        if definition.kind == "type":
            parts.append(_typedef(schema, definition.name, definition, definition.body))
    for kind in CONSTANTS:
        for definition in schema.of_kind(kind):
            parts.append(_typedef(schema, class_name(definition), definition, None))
    return "\n".join(parts)


def _list(names: list[str], indent: int = 0) -> str:
    quoted = ", ".join(f'"{name}"' for name in names)
    if len(quoted) + indent < 88:
        return f"[{quoted}]"
    pad = "    " if indent else "  "
    return f"[\n{textwrap.indent(textwrap.fill(quoted, 94) + ',', pad)}\n{pad[2:]}]"


def _key(name: str) -> str:
    return name if name.isidentifier() else f'"{name}"'


def _required(schema: Schema, definition: Definition) -> list[str]:
    found = []
    for name, field in schema.fields(definition).items():
        if not field.required:
            continue
        found.append(name)
        if name == "data":
            body = field.body
            if "$ref" in body:
                body = schema.target(body["$ref"]).body
            found += [f"data.{inner}" for inner in body.get("required", ())]
    return found


def _typedef(
    schema: Schema, name: str, definition: Definition, body: Mapping[str, Any] | None
) -> str:
    lines = [first_sentence(definition.description), "", f"@typedef {{Object}} {name}"]
    if body is None:
        fields = [(n, f.body, f.required) for n, f in schema.fields(definition).items()]
    else:
        required = set(body.get("required", ()))
        fields = [(n, spec, n in required) for n, spec in body["properties"].items()]
    for field, spec, is_required in fields:
        shown = field if is_required else f"[{field}]"
        lines.append(f"@property {{{_type(schema, spec)}}} {shown}")
    return _comment(lines)


def _comment(lines: list[str]) -> str:
    return "\n".join(["/**", *(row for line in lines for row in _wrapped(line)), " */", ""])


def _wrapped(line: str) -> Iterator[str]:
    if not line:
        yield " *"
        return
    for row in textwrap.wrap(line, 94, subsequent_indent="  ", break_long_words=False):
        yield f" * {row}"


def _type(schema: Schema, body: Mapping[str, Any]) -> str:
    """Returns the JSDoc type of a part of the schema."""
    if "$ref" in body:
        target = schema.target(body["$ref"])
        return target.name if target.kind == "type" else _type(schema, target.body)
    if "const" in body:
        return json.dumps(body["const"])
    if "enum" in body:
        return " | ".join(json.dumps(value) for value in body["enum"])
    if "type" not in body:
        return "any"
    kinds = body["type"] if isinstance(body["type"], list) else [body["type"]]
    return " | ".join(_of_kind(schema, kind, body) for kind in kinds)


def _of_kind(schema: Schema, kind: str, body: Mapping[str, Any]) -> str:
    if kind == "array":
        items = body.get("items")
        return f"({_type(schema, items)})[]" if isinstance(items, dict) else "any[]"
    if kind == "object":
        if body.get("properties"):
            required = set(body.get("required", ()))
            rows = [
                f"{name}{'' if name in required else '?'}: {_type(schema, spec)}"
                for name, spec in body["properties"].items()
            ]
            return "{" + ", ".join(rows) + "}"
        values = body.get("additionalProperties")
        return f"Record<string, {_type(schema, values) if isinstance(values, dict) else 'any'}>"
    return _SCALARS[kind]
