"""Reads the event schema for what is made from it: types and documentation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATH = Path("layers/joinery/joinery/events/schema.json")


@dataclass(frozen=True, slots=True)
class Definition:
    """One entry of `$defs`; `kind` is event, delta, frame, command, type or part."""

    name: str
    kind: str
    description: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message."""

    body: Mapping[str, Any]
    required: bool


class Schema:
    """The definitions in the order of the file.

    Args:
        body: The schema as it was parsed.
    """

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.body = body
        self.definitions = [
            Definition(name, spec["x-kind"], spec["description"], spec)
            for name, spec in body["$defs"].items()
        ]
        self._by_name = {definition.name: definition for definition in self.definitions}

    @staticmethod
    def read(root: Path) -> Schema:
        """Returns the schema of a checkout."""
        return Schema(json.loads((root / PATH).read_text(encoding="utf-8")))

    def of_kind(self, kind: str) -> list[Definition]:
        """Returns the definitions of a kind."""
        return [d for d in self.definitions if d.kind == kind]

    def target(self, ref: str) -> Definition:
        """Returns what `#/$defs/<name>` names."""
        return self._by_name[ref.removeprefix("#/$defs/")]

    def fields(self, definition: Definition) -> dict[str, Field]:
        """Returns all fields of a message, those of what it refers to first."""
        return self._fields(definition.body)

    def _fields(self, body: Mapping[str, Any]) -> dict[str, Field]:
        found: dict[str, Field] = {}
        for ref in refs_of(body):
            found.update(self._fields(self.target(ref).body))
        required = set(body.get("required", ()))
        for name, spec in body.get("properties", {}).items():
            found[name] = Field(spec, name in required)
        return found


def refs_of(body: Mapping[str, Any]) -> list[str]:
    """Returns what a message is built on."""
    own = [body["$ref"]] if "$ref" in body else []
    return own + [part["$ref"] for part in body.get("allOf", ())]
