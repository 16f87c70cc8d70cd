"""Reads `--input`: `name=text`, `name=@file` and `name:=json`."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from joinery import limits
from joinery.errors import InvalidInput, TooLarge
from joinery.runs.inputs import check_inputs

_FORM: Final = re.compile(r"^([A-Za-z_][A-Za-z0-9_]*)(:?=)(.*)$", re.DOTALL)
_INTEGER: Final = re.compile(r"^[+-]?[0-9]+$")


def read_inputs(
    arguments: Iterable[str], declared: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Returns the inputs of a run, checked, with defaults filled in.

    Args:
        arguments: What followed each `--input`.
        declared: `{name: {type, required, default}}` from the plan.

    Raises:
        InvalidInput: Lists everything that is wrong at once.
        TooLarge: An input passes the limit.
    """
    given, errors = _read(arguments, declared)
    return _checked(declared, given, errors)


def parse_inputs(arguments: Iterable[str]) -> dict[str, Any]:
    """Returns inputs whose declarations only the server knows; text stays text.

    Raises:
        InvalidInput: Lists everything that is wrong at once.
    """
    given, errors = _read(arguments, {})
    if errors:
        raise InvalidInput("; ".join(error["message"] for error in errors), errors=errors)
    return given


def _read(
    arguments: Iterable[str], declared: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    given: dict[str, Any] = {}
    errors: list[dict[str, str]] = []
    for argument in arguments:
        match = _FORM.match(argument)
        if not match:
            raise InvalidInput(
                f"--input '{_short(argument)}' is not name=text, name=@file or name:=json"
            )
        name, sign, text = match.groups()
        if name in given or any(error["input"] == name for error in errors):
            raise InvalidInput(f"input '{name}' is given twice")
        kind = declared[name]["type"] if name in declared else "string"
        try:
            given[name] = _json_value(name, text) if sign == ":=" else _value(name, text, kind)
        except ValueError as error:
            errors.append({"input": name, "code": "type", "message": str(error)})
    return given, errors


def _checked(
    declared: Mapping[str, Mapping[str, Any]],
    given: Mapping[str, Any],
    errors: list[dict[str, str]],
) -> dict[str, Any]:
    if not errors:
        return check_inputs(declared, given)
    broken = {error["input"] for error in errors}
    try:
        check_inputs(declared, given)
    except InvalidInput as error:
        rows = error.details.get("errors", ())
        errors = [*errors, *(row for row in rows if row["input"] not in broken)]
    raise InvalidInput("; ".join(error["message"] for error in errors), errors=errors)


# -- values ----------------------------------------------------------------------------


def _value(name: str, text: str, kind: str) -> Any:
    """Returns text as the declared type. Raises: ValueError."""
    if text.startswith("@"):
        text = read_text(name, text[1:])
        if kind != "string":
            text = text.strip()
    convert = _CONVERT.get(kind)
    if convert is None:
        raise ValueError(
            f"input '{name}' is an {kind}: write {name}:='{_EXAMPLE[kind]}' or {name}:=@file.json"
        )
    try:
        return convert(text)
    except ValueError:
        raise ValueError(f"input '{name}' must be {_WANTED[kind]}, not '{_short(text)}'") from None


def _integer(text: str) -> int:
    if not _INTEGER.match(text):
        raise ValueError
    return int(text)


def _number(text: str) -> int | float:
    if _INTEGER.match(text):
        return int(text)
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def _boolean(text: str) -> bool:
    return {"true": True, "false": False}[text] if text in ("true", "false") else _refuse(text)


def _refuse(text: str) -> NoReturn:
    raise ValueError(text)


_CONVERT: Final[Mapping[str, Callable[[str], Any]]] = {
    "string": str,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
}
_WANTED: Final = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}
_EXAMPLE: Final = {"object": '{"key": 1}', "array": "[1, 2]"}


def _json_value(name: str, text: str) -> Any:
    """Returns what JSON text or a JSON file holds. Raises: ValueError."""
    where = "what follows :="
    if text.startswith("@"):
        where = f"'{text[1:]}'"
        text = read_text(name, text[1:])
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError(f"input '{name}': {where} is nested too deeply") from None
    except ValueError as error:
        hint = "" if text[:1] in '{["' else f"; for plain text write {name}=…"
        raise ValueError(f"input '{name}': {where} is not JSON: {error}{hint}") from None


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


# -- files -----------------------------------------------------------------------------


def read_text(name: str, path: str) -> str:
    """Returns a file's text, byte for byte; `-` is standard input.

    Args:
        name: The input it is for.
        path: The file.

    Raises:
        InvalidInput: It cannot be read or is not UTF-8; names file and reason.
        TooLarge: It is larger than an input may be; names file, size and limit.
    """
    try:
        data = _bytes(path)
    except (OSError, ValueError, RuntimeError) as error:  # no home to expand ~ to
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput(f"input '{name}': cannot read '{path}': {reason}") from None
    if len(data) > limits.INPUT_BYTES:
        raise TooLarge(
            f"input '{name}': '{path}' has {_size(path, data)} bytes; "
            f"the limit is {limits.INPUT_BYTES:,}",
            input=name,
            limit=limits.INPUT_BYTES,
            actual=len(data),
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"input '{name}': '{path}' is not UTF-8 text: "
            f"byte 0x{data[error.start]:02x} at offset {error.start:,}"
        ) from None


def _bytes(path: str) -> bytes:
    # One byte above the limit is enough to know, whatever is behind the name.
    if path == "-":
        return sys.stdin.buffer.read(limits.INPUT_BYTES + 1)
    with Path(path).expanduser().open("rb") as file:
        return file.read(limits.INPUT_BYTES + 1)


def _size(path: str, data: bytes) -> str:
    try:
        size = Path(path).stat().st_size
    except OSError:
        size = 0
    return f"{size:,}" if size >= len(data) else f"more than {limits.INPUT_BYTES:,}"


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…"
