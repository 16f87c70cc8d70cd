"""Reads the operations of an OpenAPI 3 document, as calls need them.

Only what a call needs is read; what we cannot send is said, not guessed. References are
put in where they stand, since not every model's provider follows them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from joinery.workflow.openapi_schemas import Broken, inlined, resolved
from joinery.workflow.report import did_you_mean

OPERATIONS_MAX: Final = 100
"""Most operations of one tool: each is told to the model with every call."""

DESCRIPTION_MAX: Final = 1_024
"""What most providers take of a tool's description, in characters."""

_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch")
_READING: Final = frozenset({"get", "head", "options"})
_IGNORED_HEADERS: Final = frozenset({"accept", "content-type", "authorization"})
"""OpenAPI 3.1, Parameter Object: such parameters are ignored."""

_STYLES: Final = {"path": "simple", "query": "form", "header": "simple"}
_FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class DocumentFlaw:
    """What is wrong with a document, and what to do."""

    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an entry of `tools:` says of its document.

    Attributes:
        prefix: What the names of its tools begin with: the entry's name.
        server: Where the API is, instead of the document's first server.
        operations: Names of the operations that are meant; empty: all.
        headers: Headers that are set already, which no model may set.
    """

    prefix: str
    server: str = ""
    operations: Sequence[str] = ()
    headers: frozenset[str] = frozenset()


def wanted_of(name: str, tool: Mapping[str, Any]) -> Wanted:
    """Returns what an entry of `tools:` says of its document, as a file or the model holds it."""
    set_already = (*(tool.get("headers") or {}), *(tool.get("secret_headers") or {}))
    operations = tool.get("operations") or []
    return Wanted(
        name,
        str(tool.get("server") or ""),
        [str(each) for each in operations] if isinstance(operations, list) else [],
        frozenset(str(header).lower() for header in set_already),
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """An operation where it stands in the document."""

    id: str
    path: str
    method: str
    item: Mapping[str, Any]
    operation: Mapping[str, Any]


@dataclass(slots=True)
class _Arguments:
    """The arguments of an operation, while they are gathered."""

    properties: dict[str, Any] = field(default_factory=dict)
    required: list[str] = field(default_factory=list)
    places: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, name: str, schema: Mapping[str, Any], *, required: bool) -> None:
        self.properties[name] = schema
        if required:
            self.required.append(name)


def read_operations(
    data: Mapping[str, Any], wanted: Wanted
) -> tuple[list[dict[str, Any]], list[DocumentFlaw]]:
    """Returns the operations as the plan holds them, and all that is wrong.

    Each is `{name, operation, description, method, url, parameters, body, schema,
    read_only}`; `parameters` is `{argument: {name, in}}`, `body` is
    `{media, whole, names}` or None.
    """
    flaws: list[DocumentFlaw] = []
    version = data.get("openapi")
    if not (isinstance(version, str) and version.startswith("3.")):
        hint = "convert it to OpenAPI 3" if "swagger" in data else "add 'openapi: 3.1.0'"
        return [], [DocumentFlaw("the document is not of OpenAPI 3", hint)]
    server = wanted.server or _server(data)
    if urlsplit(server).scheme not in {"http", "https"}:
        flaws.append(
            DocumentFlaw("the document does not say where the API is",
                         "add 'server: https://...' to the tool")
        )  # fmt: skip
    rows: dict[str, _Row] = {}
    for row in _operations(data):
        if row.id in rows:
            flaws.append(DocumentFlaw(f"two operations are called '{row.id}'"))
        rows[row.id] = row
    for name in wanted.operations:
        if name not in rows:
            flaws.append(
                DocumentFlaw(f"the document has no operation '{name}'", did_you_mean(name, rows))
            )
    names = [name for name in wanted.operations or rows if name in rows]
    if not rows:
        flaws.append(DocumentFlaw("the document has no operations"))
    if len(names) > OPERATIONS_MAX:
        flaws.append(
            DocumentFlaw(
                f"the document has {len(names)} operations; a tool takes {OPERATIONS_MAX}",
                "name those that are meant: operations: [...]",
            )
        )
        return [], flaws
    found = []
    for name in names:
        try:
            found.append(_read(data, rows[name], server, wanted))
        except Broken as broken:
            hint = broken.hint or "leave it out: name the others in operations: [...]"
            flaws.append(DocumentFlaw(f"operation '{name}': {broken}", hint))
    flaws += _same_names(found)
    return found, flaws


def _same_names(found: Sequence[Mapping[str, Any]]) -> Iterator[DocumentFlaw]:
    by_name: dict[str, str] = {}
    for row in found:
        other = by_name.setdefault(row["name"], row["operation"])
        if other != row["operation"]:
            yield DocumentFlaw(
                f"operations '{other}' and '{row['operation']}' have the same name for a model: "
                f"'{row['name']}'", "leave one out"
            )  # fmt: skip


def _server(data: Mapping[str, Any]) -> str:
    servers = data.get("servers")
    first = servers[0] if isinstance(servers, list) and servers else {}
    url = first.get("url") if isinstance(first, dict) else None
    variables = first.get("variables") if isinstance(first, dict) else None
    text = url if isinstance(url, str) else ""
    for name, row in variables.items() if isinstance(variables, dict) else ():
        if isinstance(row, dict):
            text = text.replace("{" + str(name) + "}", str(row.get("default", "")))
    return text


def _operations(data: Mapping[str, Any]) -> Iterator[_Row]:
    paths = data.get("paths")
    for path, item in paths.items() if isinstance(paths, dict) else ():
        if not (isinstance(item, dict) and isinstance(path, str)):
            continue
        for method in _METHODS:
            operation = item.get(method)
            if isinstance(operation, dict):
                named = operation.get("operationId")
                name = named if isinstance(named, str) and named else _slug(f"{method} {path}")
                yield _Row(name, path, method, item, operation)


def _read(data: Mapping[str, Any], row: _Row, server: str, wanted: Wanted) -> dict[str, Any]:
    arguments = _Arguments()
    for parameter in _parameters(data, row):
        _add_parameter(data, parameter, arguments, wanted.headers)
    body = _add_body(data, row.operation, arguments)
    for name in re.findall(r"\{([^{}]+)\}", row.path):
        if not any(p == {"name": name, "in": "path"} for p in arguments.places.values()):
            raise Broken(f"nothing describes '{name}' of its path")
    said = [row.operation.get("summary"), row.operation.get("description")]
    texts = [text.strip() for text in said if isinstance(text, str) and text.strip()]
    method = row.method.upper()
    return {
        "name": re.sub(r"[^A-Za-z0-9_-]", "_", f"{wanted.prefix}_{row.id}")[:64],
        "operation": row.id,
        "description": "\n".join(texts)[:DESCRIPTION_MAX] or f"{method} {row.path}",
        "method": method,
        "url": server.rstrip("/") + row.path,
        "parameters": arguments.places,
        "body": body,
        "schema": {
            "type": "object",
            "properties": arguments.properties,
            "required": arguments.required,
            "additionalProperties": False,
        },
        "read_only": row.method in _READING,
    }


def _parameters(data: Mapping[str, Any], row: _Row) -> list[Mapping[str, Any]]:
    """Returns the parameters; those of the operation replace those of its path."""
    found: dict[tuple[Any, Any], Mapping[str, Any]] = {}
    for rows in (row.item.get("parameters"), row.operation.get("parameters")):
        for written in rows if isinstance(rows, list) else ():
            parameter = resolved(data, written)
            found[parameter.get("name"), parameter.get("in")] = parameter
    return list(found.values())


def _add_parameter(
    data: Mapping[str, Any],
    parameter: Mapping[str, Any],
    arguments: _Arguments,
    fixed: frozenset[str],
) -> None:
    name, where = parameter.get("name"), parameter.get("in")
    required = parameter.get("required") is True or where == "path"
    if not isinstance(name, str) or not isinstance(where, str):
        raise Broken("a parameter has no 'name' or no 'in'")
    if where == "header" and name.lower() in _IGNORED_HEADERS | fixed:
        return
    if where not in _STYLES:
        if required:
            raise Broken(f"it needs the parameter '{name}' in a {where}, which is not supported")
        return
    schema = parameter.get("schema")
    style = parameter.get("style", _STYLES[where])
    exploded = parameter.get("explode", style == "form") is (style == "form")
    if not isinstance(schema, dict) or style != _STYLES[where] or not exploded:
        if required:
            raise Broken(f"the parameter '{name}' is written in a way that is not supported")
        return
    argument = name if name not in arguments.properties else f"{name}_{where}"
    told = inlined(data, schema)
    if isinstance(text := parameter.get("description"), str) and "description" not in told:
        told = {**told, "description": text[:DESCRIPTION_MAX]}
    arguments.add(argument, told, required=required)
    arguments.places[argument] = {"name": name, "in": where}


def _add_body(
    data: Mapping[str, Any], operation: Mapping[str, Any], arguments: _Arguments
) -> dict[str, Any] | None:
    if operation.get("requestBody") is None:
        return None
    body = resolved(data, operation["requestBody"])
    required = body.get("required") is True
    content = body.get("content")
    content = content if isinstance(content, dict) else {}
    media = _media(content)
    if media is None:
        if required:
            raise Broken("its body is neither JSON nor a form, which is not supported")
        return None
    schema = inlined(data, content[media].get("schema", {}))
    fields = schema.get("properties")
    fields = fields if isinstance(fields, dict) else {}
    plain = (
        required
        and bool(fields)
        and schema.get("type") == "object"
        and not {"oneOf", "anyOf", "allOf", "not", "if"} & schema.keys()
        and not schema.get("additionalProperties")
        and not fields.keys() & arguments.properties.keys()
    )
    if plain:
        needed = schema.get("required", [])
        for name, inner in fields.items():
            arguments.add(name, inner, required=name in needed)
        return {"media": media, "whole": False, "names": list(fields)}
    if "body" in arguments.properties:
        raise Broken("a parameter is called 'body', as the body is")
    arguments.add("body", schema, required=required)
    return {"media": media, "whole": True, "names": []}


def _media(content: Mapping[str, Any]) -> str | None:
    names = [name for name, row in content.items() if isinstance(row, dict)]
    for name in names:
        kind = name.partition(";")[0].strip().lower()
        if kind == "application/json" or kind.endswith("+json"):
            return name
    return next((name for name in names if name.lower().startswith(_FORM)), None)


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")
