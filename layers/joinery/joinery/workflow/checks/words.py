"""What places, types and rules are called in messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from joinery.workflow.report import did_you_mean

Location = tuple[str | int, ...]

TYPES: Final[Mapping[str, str]] = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
}


_NAMED: Final = (
    "inputs", "models", "defaults", "agents", "tools", "nodes", "edges", "outputs"
)  # fmt: skip


def general(place: Location) -> Location:
    """Returns a place with the names that authors choose replaced by `*`."""
    if len(place) < 2 or place[0] not in _NAMED:
        return place
    shown = [place[0], "*", *place[2:]] if place[0] != "defaults" else list(place)
    for key in ("stages", "fallback"):
        if key in shown[:-1]:
            shown[shown.index(key) + 1] = "*"
    if place[0] == "nodes" and len(place) > 3 and place[2] in ("cases", "output", "probabilities"):
        shown[3] = "*"
    if place[0] == "nodes" and place[2:3] == ("check",):
        shown[3:] = ["*" if isinstance(part, int) else part for part in place[3:]]
    return tuple(shown)


def rule(kind: str, context: Mapping[str, Any]) -> str:
    """Returns what a broken rule asks for, to follow a name."""
    match kind:
        case "literal_error":
            expected = str(context["expected"]).replace("'", "")
            return f"must be {expected}"
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "greater_than":
            return f"must be more than {context['gt']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case "less_than":
            return f"must be less than {context['lt']}"
        case "too_short":
            return "must not be empty"
        case "too_long":
            return f"must have at most {context['max_length']} entries"
        case "string_pattern_mismatch":
            return "must be small letters, digits, - and _"
        case "string_too_long":
            return f"must have at most {context['max_length']} characters"
        case "value_error":
            return str(context.get("error", "is not allowed"))
    return "is not allowed"


def type_hint(place: Location, kind: str, value: Any) -> str:
    """Returns what to write where the type is wrong."""
    written = str(value).lower() if isinstance(value, bool) else value
    if kind == "string_type" and isinstance(value, bool | int | float):
        return f'put quotes around it: "{written}"'
    if kind == "string_type" and isinstance(value, dict):
        return "put quotes around text that contains { or ': '"
    if general(place)[:4] == ("nodes", "*", "output", "*"):
        return "output maps names to their schemas: output: {score: {type: integer}}"
    if kind in ("int_type", "float_type") and isinstance(value, str):
        return "remove the quotes" if value.strip().lstrip("-").isdigit() else ""
    return ""


def value_hint(place: Location, value: Any, context: Mapping[str, Any]) -> str:
    """Returns what to write where the value is wrong."""
    if place == ("version",):
        return "write 'version: 1'"
    if "expected" in context and isinstance(value, str):
        options = [o.strip("' ") for o in str(context["expected"]).replace(" or ", ", ").split(",")]
        return did_you_mean(value, options)
    if place == ("name",) and isinstance(value, str):
        plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in value.lower()).strip("-")
        return f"write 'name: {plain[:64]}'" if plain else ""
    return ""


def name_of(place: Location) -> str:
    """Returns what a place is called in a message."""
    if not place:
        return "the workflow"
    if place[0] == "edges" and len(place) > 1:
        rest = ".".join(map(str, place[2:]))
        return f"edge {int(place[1]) + 1}" + (f": '{rest}'" if rest else "")
    singular = {
        "nodes": "node",
        "agents": "agent",
        "tools": "tool",
        "inputs": "input",
        "outputs": "output",
    }
    if len(place) > 1 and place[0] in singular:
        rest = ".".join(map(str, place[2:]))
        return f"{singular[str(place[0])]} '{place[1]}'" + (f": '{rest}'" if rest else "")
    return f"'{'.'.join(map(str, place))}'"


def what(value: Any) -> str:
    """Returns what a value is, in a word."""
    match value:
        case None:
            return "empty"
        case bool():
            return str(value).lower()
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
    return "a mapping"
