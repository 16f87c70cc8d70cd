"""JSON as RFC 8259 has it, for what comes from outside, and compact JSON for what goes out."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from joinery.errors import InvalidRequest

_SURROGATE: Final = re.compile(rb"(?i)\\ud[89a-f]")


def parse_json(body: bytes, what: str = "the body") -> Any:
    """Returns what JSON holds.

    Args:
        body: UTF-8.
        what: What to call it in a message.

    Raises:
        InvalidRequest: It is not valid, or holds what cannot be stored; says where.
    """
    try:
        value = json.loads(body, parse_constant=_no_constant)
        if _SURROGATE.search(body):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeDecodeError:
        raise InvalidRequest(f"{what} is not UTF-8") from None
    except UnicodeEncodeError:
        raise InvalidRequest(f"{what} has half of a surrogate pair in a string") from None
    except json.JSONDecodeError as error:
        raise InvalidRequest(
            f"{what} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise InvalidRequest(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise InvalidRequest(f"{what} is not JSON: {error}") from None
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def to_json(value: Any) -> bytes:
    """Returns compact UTF-8; half of a surrogate pair stays an escape."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()
