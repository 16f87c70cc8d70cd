"""Writes `joinery/events/types.py`: the event schema as TypedDicts."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from tools.event_schema import Definition, Schema, refs_of

HEADER = '''"""Types of everything that goes over the wire; made from `schema.json`, not by hand.

Run `python -m tools.generate` after a change of the schema.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NotRequired, TypedDict
'''

_SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}


CONSTANTS = {
    "event": "EVENT_NAMES",
    "delta": "DELTA_NAMES",
    "frame": "FRAME_NAMES",
    "command": "ACTIONS",
}


def event_types(schema: Schema) -> str:
    """Returns the module's text, not yet formatted."""
    constants = []
    for kind, title in CONSTANTS.items():
        names = " ".join(f'"{d.name}",' for d in schema.of_kind(kind))
        rows = textwrap.indent(textwrap.fill(names, 94), "    ")
        line = f"{title}: Final = ({names})"
        constants.append(line if len(line) < 88 else f"{title}: Final = (\n{rows}\n)")
        constants[-1] += "  # fmt: skip"
    parts = [HEADER + "\n" + "\n".join(constants)]
    for definition in schema.definitions:
        if definition.kind == "type" or _is_base(definition):
            parts.append(_class(schema, class_name(definition), definition))
    for kind in CONSTANTS:
        for definition in schema.of_kind(kind):
            parts.extend(_message(schema, definition))
    for kind, alias in (("event", "AnyEvent"), ("frame", "AnyFrame"), ("command", "AnyCommand")):
        names = " | ".join(class_name(d) for d in schema.of_kind(kind))
        parts.append(f"{alias} = {names}")
    parts.append("AnyMessage = AnyEvent | TextDelta | AnyFrame")
    return "\n\n".join(parts) + "\n"


def _is_base(definition: Definition) -> bool:
    return definition.kind == "part" and "properties" in definition.body


def class_name(definition: Definition) -> str:
    """Returns the name of a definition's class: `node.started` is `NodeStarted`."""
    if definition.kind == "type":
        return definition.name
    words = definition.name.replace("_", ".").split(".")
    base = "".join(word.capitalize() for word in words)
    if definition.kind == "part":
        return f"_{base}"
    return base + {"frame": "Frame", "command": "Command"}.get(definition.kind, "")


def _message(schema: Schema, definition: Definition) -> Iterator[str]:
    """Yields the class of the message's data, where it has one of its own, and the message's."""
    data = definition.body["properties"].get("data", {})
    if "$ref" not in data and data.get("properties"):
        name, about = f"{class_name(definition)}Data", f"`data` of `{definition.name}`."
        yield _class(schema, name, Definition(name, "type", about, data))
    yield _class(schema, class_name(definition), definition)


def _class(schema: Schema, name: str, definition: Definition) -> str:
    body = definition.body
    required = set(body.get("required", ()))
    lines = []
    for field, spec in body["properties"].items():
        kind = f"{name}Data" if field == "data" and spec.get("properties") else _type(schema, spec)
        lines.append(f"    {field}: {kind if field in required else f'NotRequired[{kind}]'}")
    doc = textwrap.fill(first_sentence(definition.description), 92, subsequent_indent="    ")
    bases = ", ".join(class_name(schema.target(ref)) for ref in refs_of(body)) or "TypedDict"
    return "\n".join([f"class {name}({bases}):", f'    """{doc}"""', "", *lines])


def first_sentence(text: str) -> str:
    """Returns the first sentence of a description, with its full stop."""
    for stop in (". ", ": "):
        if stop in text:
            text = text.split(stop, maxsplit=1)[0]
    return text.rstrip(".") + "."


def _type(schema: Schema, body: Mapping[str, Any]) -> str:
    """Returns the Python type of a part of the schema."""
    if "$ref" in body:
        target = schema.target(body["$ref"])
        return target.name if target.kind == "type" else _type(schema, target.body)
    if "const" in body:
        return f"Literal[{body['const']!r}]"
    if "enum" in body:
        return f"Literal[{', '.join(repr(value) for value in body['enum'])}]"
    if "type" not in body:
        return "Any"
    kinds = body["type"] if isinstance(body["type"], list) else [body["type"]]
    return " | ".join(_of_kind(schema, kind, body) for kind in kinds)


def _of_kind(schema: Schema, kind: str, body: Mapping[str, Any]) -> str:
    if kind == "array":
        items = body.get("items")
        return f"list[{_type(schema, items)}]" if isinstance(items, dict) else "list[Any]"
    if kind == "object":
        values = body.get("additionalProperties")
        return f"dict[str, {_type(schema, values) if isinstance(values, dict) else 'Any'}]"
    return _SCALARS[kind]
