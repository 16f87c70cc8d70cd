"""Answers made from nothing but the prompt, for what a cassette does not name."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, Final

from joinery.llm.types import ModelRequest, ToolSpec
from joinery.model_errors import PermanentModelRejected

_SENTENCE: Final = (
    "the text makes a clear point and gives a reason for it while one step stays open "
    "so a careful reader would ask for numbers and a date before saying yes or no"
)
_WORDS: Final = tuple(_SENTENCE.split(" "))

# A range that is open at one end is taken to be this wide, and to begin at 0 if it may.
_SPAN: Final = 100
# Values inside a range of fractions: coarse enough to be read, fine enough to differ.
_STEPS: Final = 20
_DEEPEST: Final = 32


def made_up(request: ModelRequest) -> str:
    """Returns an answer that depends on the prompt alone.

    With a schema it is a small JSON value that the schema allows: numbers keep to
    their range, lists are as short as they may be. `pattern`, `format`, `not` and
    `$ref` cannot be made up.

    Raises:
        PermanentModelRejected: The schema asks for what cannot be made up.
    """
    seed = _seed(request)
    if request.schema is not None:
        return json.dumps(_value(request.schema, seed, ""), ensure_ascii=False)
    start = seed[0] % len(_WORDS)
    count = 12 + seed[1] % 12
    words = [_WORDS[(start + i) % len(_WORDS)] for i in range(count)]
    return " ".join(words).capitalize() + f". ({seed.hex()[:6]})"


def made_up_for(tool: ToolSpec, request: ModelRequest) -> str:
    """Returns arguments for a tool, as JSON, that depend on the prompt alone.

    Raises:
        PermanentModelRejected: Its parameters ask for what cannot be made up.
    """
    return json.dumps(_value(tool.parameters, _seed(request), ""), ensure_ascii=False)


def _seed(request: ModelRequest) -> bytes:
    said = "\0".join(f"{m.role}\0{m.content}" for m in request.messages)
    return hashlib.sha256(said.encode("utf-8", "replace")).digest()


def _value(schema: Any, seed: bytes, place: str, depth: int = 0) -> Any:
    """Returns a value that a schema allows, picked by the seed and the place it stands at."""
    if depth > _DEEPEST:
        raise _refused(place, "it is nested too deeply")
    schema = _merged(schema, place)
    if "$ref" in schema:
        raise _refused(place, "it refers to another schema")
    pick = int.from_bytes(hashlib.sha256(seed + place.encode()).digest()[:4])
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][pick % len(schema["enum"])]
    match _kind(schema):
        case "object":
            names = [*schema.get("properties", {}), *schema.get("required", ())]
            rest = schema.get("additionalProperties", {})
            return {
                name: _value(
                    schema.get("properties", {}).get(name, rest), seed, f"{place}/{name}", depth + 1
                )
                for name in dict.fromkeys(names)
            }
        case "array":
            return _list(schema, seed, place, depth)
        case "integer":
            return int(_number(schema, pick, place, whole=True))
        case "number":
            number = _number(schema, pick, place, whole=False)
            return int(number) if number.denominator == 1 else float(number)
        case "boolean":
            return pick % 2 == 0
        case "null":
            return None
    return _text(schema, pick, place)


def _merged(schema: Any, place: str) -> Mapping[str, Any]:
    """Returns a schema with its `allOf` and the first of its alternatives taken in."""
    if not isinstance(schema, Mapping):
        if schema is False:
            raise _refused(place, "it allows no value")
        return {}
    merged = dict(schema)
    parts = [*merged.pop("allOf", ())]
    parts += [merged.pop(key)[0] for key in ("anyOf", "oneOf") if merged.get(key)]
    for part in parts:
        more = dict(_merged(part, place))
        if "properties" in more:
            more["properties"] = {**merged.get("properties", {}), **more["properties"]}
        if "required" in more:
            more["required"] = [*merged.get("required", ()), *more["required"]]
        merged.update(more)
    return merged


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    if kind is None:
        signs = {"properties": "object", "required": "object", "items": "array"}
        signs |= {"minimum": "number", "maximum": "number"}
        kind = next((meant for key, meant in signs.items() if key in schema), "string")
    return str(kind)


def _list(schema: Mapping[str, Any], seed: bytes, place: str, depth: int) -> list[Any]:
    fewest = int(schema.get("minItems", min(1, int(schema.get("maxItems", 1)))))
    first = schema.get("prefixItems", ())
    made: list[Any] = []
    tries = 0
    while len(made) < fewest:
        index = len(made)
        form = first[index] if index < len(first) else schema.get("items", {"type": "string"})
        item = _value(form, seed, f"{place}/{index}" + "+" * tries, depth + 1)
        if schema.get("uniqueItems") and item in made:
            tries += 1
            if tries > 10 * fewest + 100:
                raise _refused(place, "its items must all differ")
            continue
        made.append(item)
    return made


def _number(schema: Mapping[str, Any], pick: int, place: str, *, whole: bool) -> Fraction:
    """Returns one of the numbers that lie on a grid within the schema's range."""
    least, most = _range(schema)
    start, step = Fraction(0), Fraction(str(schema.get("multipleOf", 1)))
    if whole:
        step = Fraction(step.numerator)
    elif "multipleOf" not in schema and most - least < _STEPS:
        start, step = least, (most - least) / _STEPS or step
    low, high = math.ceil((least - start) / step), math.floor((most - start) / step)
    low += start + low * step == _exact(schema.get("exclusiveMinimum"))
    high -= start + high * step == _exact(schema.get("exclusiveMaximum"))
    if low > high:
        raise _refused(place, "its range is empty")
    return start + (low + pick % (high - low + 1)) * step


def _range(schema: Mapping[str, Any]) -> tuple[Fraction, Fraction]:
    least = _bound(schema, ("minimum", "exclusiveMinimum"), max)
    most = _bound(schema, ("maximum", "exclusiveMaximum"), min)
    if least is None:
        least = Fraction(0) if most is None or most >= 0 else most - _SPAN
    return least, least + _SPAN if most is None else most


def _bound(
    schema: Mapping[str, Any], keys: tuple[str, str], tighter: Callable[..., Fraction]
) -> Fraction | None:
    given = [Fraction(str(schema[key])) for key in keys if key in schema]
    return tighter(given) if given else None


def _exact(value: Any) -> Fraction | None:
    return None if value is None else Fraction(str(value))


def _text(schema: Mapping[str, Any], pick: int, place: str) -> str:
    words = [_WORDS[(pick + i) % len(_WORDS)] for i in range(6)]
    text = " ".join(words)[: int(schema.get("maxLength", 80))]
    text = text.ljust(int(schema.get("minLength", 0)), ".")
    pattern = schema.get("pattern")
    if pattern is not None and not re.search(str(pattern), text):
        raise _refused(place, "it has a pattern")
    return text


def _refused(place: str, why: str) -> PermanentModelRejected:
    return PermanentModelRejected(
        f"no answer can be made up for {place or 'this schema'}: {why}; give one in a cassette"
    )
