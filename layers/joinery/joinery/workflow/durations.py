"""Durations as files write them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator

_DURATION: Final = re.compile(r"^(\d+(?:\.\d+)?)(ms|s|m|h|d)$")
_UNIT_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(value: Any) -> float:
    """Returns seconds from `30s`, `5m`, `1.5h`, `250ms` or `7d`.

    Raises:
        ValueError: The text is not a duration, or not above zero.
    """
    if isinstance(value, str) and (match := _DURATION.match(value.strip())):
        seconds = float(match.group(1)) * _UNIT_SECONDS[match.group(2)]
        if seconds > 0:
            return seconds
    raise ValueError("must be a duration such as 30s, 5m, 2h or 7d")


def _duration(value: Any) -> Any:
    # A model that was dumped holds seconds already.
    return float(value) if isinstance(value, float) and value > 0 else parse_duration(value)


Seconds = Annotated[
    float,
    BeforeValidator(_duration, json_schema_input_type=str),
]
