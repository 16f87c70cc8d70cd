"""Takes the secrets that went out with a call out of what comes back.

Some servers send back what they were sent; a result is stored, shown and told to a model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from joinery.errors import NodeError

INSTEAD: Final = "[secret]"

LEAST_CHARS: Final = 8
"""A shorter part of a header's value, such as `Bearer`, is no secret."""


def parts_of(values: Iterable[str]) -> tuple[str, ...]:
    """Returns what must not come back of the values of headers, the longest first."""
    found = {value for value in values if value}
    for value in tuple(found):
        found |= {part for part in value.split() if len(part) >= LEAST_CHARS}
    return tuple(sorted(found, key=lambda part: (-len(part), part)))


def hide_in_body(body: bytearray, parts: Iterable[str]) -> bytearray:
    """Returns a body, JSON or text, without the parts of secrets."""
    for part in parts:
        for form in {part, json.dumps(part)[1:-1]}:
            if form.encode() in body:
                body = body.replace(form.encode(), INSTEAD.encode())
    return body


def hide(value: Any, parts: Iterable[str]) -> Any:
    """Returns JSON data without the parts of secrets; the same where there are none in it."""
    parts = tuple(parts)
    if not parts:
        return value
    if isinstance(value, str):
        for part in parts:
            value = value.replace(part, INSTEAD)
        return value
    if isinstance(value, dict):
        return {hide(key, parts): hide(item, parts) for key, item in value.items()}
    if isinstance(value, list):
        return [hide(item, parts) for item in value]
    return value


def without_secrets(error: NodeError, parts: Iterable[str]) -> NodeError:
    """Returns an error without the parts of secrets; the same where there are none in it."""
    parts = tuple(parts)
    message, details = hide(error.message, parts), hide(dict(error.details), parts)
    if (message, details) == (error.message, dict(error.details)):
        return error
    return type(error)(message, **details)
