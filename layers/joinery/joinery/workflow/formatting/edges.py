"""Edges in their short form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from joinery.workflow.formatting.tree import Collection, Scalar, Unit
from joinery.workflow.yaml_scalars import plain_scalar

_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_NODE: Final = re.compile(_NAME)
_SOURCE: Final = re.compile(rf"{_NAME}(\.{_NAME})?")


def short(edge: Any) -> Any:
    """Returns an edge as it is written: `a.port, b -> c`; one that has no such form as it is."""
    if isinstance(edge, str):
        return _spaced(edge)
    if not isinstance(edge, Mapping) or not {"from", "to"} <= set(edge) <= {"from", "to", "port"}:
        return edge
    names = (edge["from"], edge["to"], edge.get("port", "_"))
    if not all(isinstance(name, str) and _NODE.fullmatch(name) for name in names):
        return edge
    return f"{edge['from']}{'.' + edge['port'] if 'port' in edge else ''} -> {edge['to']}"


def _spaced(text: str) -> str:
    groups = [[name.strip() for name in side.split(",")] for side in text.split("->")]
    known = all(_SOURCE.fullmatch(name) for group in groups for name in group)
    if len(groups) < 2 or not known or any("." in name for name in groups[-1]):
        return text
    return " -> ".join(", ".join(group) for group in groups)


def shorten(edges: Collection) -> None:
    """Writes the edges of a file in their short form, where they have one."""
    for unit in edges.units:
        value = unit.value
        if isinstance(value, Scalar) and not value.anchor and isinstance(_meant(value), str):
            written = _spaced(value.value)
            if written != value.value:
                unit.value = Scalar(written, "", written)
        elif isinstance(value, Collection) and value.mapping:
            _shorten_mapping(unit, value)


def _meant(scalar: Scalar) -> Any:
    return scalar.value if scalar.style else plain_scalar(scalar.value)


def _shorten_mapping(unit: Unit, mapping: Collection) -> None:
    entries: dict[str, Any] = {}
    anchored = mapping.anchor
    for entry in mapping.units:
        if not isinstance(entry.key, Scalar) or not isinstance(entry.value, Scalar):
            return
        anchored = anchored or entry.key.anchor or entry.value.anchor
        entries[entry.key.value] = _meant(entry.value)
    written = short(entries)
    if anchored or not isinstance(written, str):
        return
    unit.value = Scalar(written, "", written)
    for entry in mapping.units:
        unit.before += [line for line in entry.before if line]
        if entry.comment:
            unit.annotate(entry.comment, entry.column)
    unit.before += [line for line in (*mapping.head, *mapping.foot) if line]
