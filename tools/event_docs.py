"""Writes the reference part of `docs/events.md` from the event schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tools.event_schema import Definition, Field, Schema

_REGION = re.compile(r"(<!-- made from schema\.json: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

TITLES = {"event": "events", "delta": "deltas", "frame": "frames", "command": "commands"}


def with_reference(text: str, schema: Schema) -> str:
    """Returns a page with the marked regions filled in.

    A region stands between `<!-- made from schema.json: NAME -->` and `<!-- end -->`;
    its name is `envelope`, `events`, `deltas`, `frames`, `commands` or `types`.
    """
    return _REGION.sub(lambda m: f"{m[1]}{_region(schema, m[2])}{m[3]}", text)


def _region(schema: Schema, name: str) -> str:
    if name == "envelope":
        return "\n".join(_envelope(schema)) + "\n"
    if name == "types":
        return "\n".join(_types(schema)) + "\n"
    kind = next(kind for kind, title in TITLES.items() if title == name)
    parts = [_message(schema, definition) for definition in schema.of_kind(kind)]
    return "\n".join(parts)


def _envelope(schema: Schema) -> Iterator[str]:
    yield from _table_head()
    sources = {
        "message": "all",
        "of_run": "events, deltas",
        "event": "events",
        "of_node": "those of a node",
    }
    yield "| `event` | text | all | Its name. |"
    for part, who in sources.items():
        for name, spec in schema.target(f"#/$defs/{part}").body["properties"].items():
            yield f"| `{name}` | {_kind(schema, spec)} | {who} | {_text(schema, spec)} |"
    yield "| `data` | object | all | The rest; see below. |"


def _table_head() -> Iterator[str]:
    yield ""
    yield "| field | type | in | |"
    yield "| --- | --- | --- | --- |"


def _message(schema: Schema, definition: Definition) -> str:
    lines = [f"#### `{definition.name}`", "", definition.description, ""]
    fields = schema.fields(definition)
    if definition.kind == "command":
        shown = {name: field for name, field in fields.items() if name != "action"}
    else:
        shown = _data_fields(schema, definition, fields)
    if shown:
        lines += ["| field | type | required | |", "| --- | --- | --- | --- |"]
        lines += [_row(schema, name, field) for name, field in shown.items()]
        lines.append("")
    for example in definition.body.get("examples", ()):
        lines += ["```json", json.dumps(example, ensure_ascii=False), "```", ""]
    return "\n".join(lines)


def _data_fields(
    schema: Schema, definition: Definition, fields: Mapping[str, Field]
) -> dict[str, Field]:
    """Returns the fields that are this message's own, those of `data` with their place."""
    shown = {
        name: field
        for name, field in fields.items()
        if definition.kind == "frame" and name in {"request_id", "run_id", "head"}
    }
    data: Mapping[str, Any] = fields["data"].body
    if "$ref" in data:
        data = schema.target(data["$ref"]).body
    required = set(data.get("required", ()))
    for name, spec in data.get("properties", {}).items():
        shown[f"data.{name}"] = Field(spec, name in required)
    return shown


def _row(schema: Schema, name: str, field: Field) -> str:
    required = "yes" if field.required else ""
    kind, text = _kind(schema, field.body), _text(schema, field.body)
    return f"| `{name}` | {kind} | {required} | {text} |"


def _types(schema: Schema) -> Iterator[str]:
    for definition in schema.of_kind("type"):
        yield f"#### {definition.name}"
        yield ""
        yield definition.description
        yield ""
        yield "| field | type | required | |"
        yield "| --- | --- | --- | --- |"
        for name, field in schema.fields(definition).items():
            yield _row(schema, name, field)
        yield ""


def _text(schema: Schema, spec: Mapping[str, Any]) -> str:
    text = spec.get("description") or schema.target(spec["$ref"]).description
    return str(text).replace("|", "\\|")


def _kind(schema: Schema, spec: Mapping[str, Any]) -> str:
    """Returns a type for a person."""
    if "$ref" in spec:
        target = schema.target(spec["$ref"])
        if target.kind == "type":
            return f"[{target.name}](#{target.name.lower()})"
        return _kind(schema, target.body)
    if "const" in spec:
        return f"`{json.dumps(spec['const'])}`"
    if "enum" in spec:
        return ", ".join(f"`{value}`" for value in spec["enum"])
    if "type" not in spec:
        return "any JSON"
    kinds = spec["type"] if isinstance(spec["type"], list) else [spec["type"]]
    return " or ".join(_of_kind(schema, kind, spec) for kind in kinds)


def _of_kind(schema: Schema, kind: str, spec: Mapping[str, Any]) -> str:
    if kind == "array" and isinstance(spec.get("items"), dict):
        return f"list of {_kind(schema, spec['items'])}"
    if kind == "object" and isinstance(spec.get("additionalProperties"), dict):
        return f"object of {_kind(schema, spec['additionalProperties'])}"
    return {"string": "text", "array": "list"}.get(kind, kind)
