"""Writes plain data as YAML that reads back as the same data.

Equal data gives equal text. Short collections stand on one line, texts of several
lines as blocks; whatever YAML might take for something else stands in quotes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from joinery.workflow.yaml_scalars import plain_scalar

LINE_CHARS: Final = 90
"""Collections longer than this stand on several lines."""

_PLAIN: Final = re.compile(
    r"[A-Za-z_](?:[A-Za-z0-9_ .,'()?!/>-]*[A-Za-z0-9_.'()?!/])?"
    r"|[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d)"  # durations
)

# Not printable by YAML, or a line break to some of its readers; the JSON writer leaves
# them as they are. https://yaml.org/spec/1.2.2/#51-character-set
_UNPRINTABLE: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def dump(data: Mapping[str, Any]) -> str:
    """Returns a mapping of plain data as YAML 1.2; parts of the top level on their own lines."""
    return "\n".join(_mapping(data, 0)) + "\n"


def _mapping(data: Mapping[str, Any], indent: int) -> Iterable[str]:
    for key, value in data.items():
        yield from _entry(f"{' ' * indent}{_scalar(key, flow=True)}:", value, indent)


def _sequence(items: Iterable[Any], indent: int) -> Iterable[str]:
    for item in items:
        yield from _entry(f"{' ' * indent}-", item, indent)


def _entry(head: str, value: Any, indent: int) -> Iterable[str]:
    """Yields the lines of a value behind its key or dash."""
    inside = indent + 2
    if isinstance(value, dict | list):
        line = _flow(value)
        top = indent == 0 and head.endswith(":")
        if not value or (line and not top and len(head) + 1 + len(line) <= LINE_CHARS):
            yield f"{head} {line}"
            return
        yield head
        yield from _mapping(value, inside) if isinstance(value, dict) else _sequence(value, inside)
    elif isinstance(value, str) and _fits_block(value):
        yield f"{head} {'|' if value.endswith(chr(10)) else '|-'}"
        for line in value.removesuffix("\n").split("\n"):
            yield f"{' ' * inside}{line}" if line else ""
    else:
        yield f"{head} {_scalar(value)}"


def _fits_block(text: str) -> bool:
    """Whether a block holds exactly this text without saying how it is indented."""
    lines = text.removesuffix("\n").split("\n")
    if "\n" not in text or not lines[-1] or any(_CONTROL.search(line) for line in lines):
        return False
    first = next((line for line in lines if line), " ")
    return not first.startswith(" ") and all(line.strip() or not line for line in lines)


def _flow(value: Any) -> str | None:
    """Returns a collection on one line, or None when a text in it has several."""
    if isinstance(value, str) and "\n" in value:
        return None
    if isinstance(value, dict):
        entries = [(_scalar(key, flow=True), _flow(item)) for key, item in value.items()]
        if any(item is None for _, item in entries):
            return None
        return f"{{{', '.join(f'{key}: {item}' for key, item in entries)}}}"
    if isinstance(value, list):
        items = [_flow(item) for item in value]
        return None if None in items else f"[{', '.join(map(str, items))}]"
    return _scalar(value, flow=True)


def _scalar(value: Any, *, flow: bool = False) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    plain = _PLAIN.fullmatch(value) and isinstance(plain_scalar(value), str)
    if plain and not (flow and "," in value):
        return value
    if '"' in value and "\\" not in value and not _CONTROL.search(value):
        return f"'{value.replace(chr(39), chr(39) * 2)}'"
    quoted = json.dumps(value, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found.group()):04x}", quoted)
