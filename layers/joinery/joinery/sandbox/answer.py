"""Reads what came out of a sandbox: every byte of it may be forged."""

from __future__ import annotations

import json
import signal
from typing import Any, NoReturn

from joinery.code_errors import (
    PermanentCode,
    PermanentCodeEnded,
    PermanentCodeMemory,
    PermanentCodeNotJson,
    PermanentCodeRaised,
)
from joinery.sandbox.types import CodeOutcome

DEPTH_MAX = 110
"""A little deeper than what `child.py` lets pass."""

MESSAGE_CHARS = 2_000
NAME_CHARS = 100


def outcome_of(answer: bytes, status: int, stdout: str) -> CodeOutcome:
    """Returns what the function gave.

    Args:
        answer: What came over the channel.
        status: Exit status of the process; below 0 the signal that ended it.
        stdout: The end of what it printed.

    Raises:
        PermanentCode: There is nothing, or nothing that can be read.
    """
    if not answer:
        _ended(status, stdout)
    found = _parsed(answer, stdout)
    if set(found) == {"output"}:
        return CodeOutcome(found["output"], stdout)
    kind = found.get("error")
    message = _text(found, "message", MESSAGE_CHARS)
    if kind == "not_json":
        raise PermanentCodeNotJson(message, **_printed(stdout))
    if kind == "memory":
        raise PermanentCodeMemory("the code needed more memory than it may have",
                                  **_place(found), **_printed(stdout))  # fmt: skip
    if kind in ("raised", "ended"):
        _raised(found, kind, message, stdout)
    raise _not_ours(stdout)


def _parsed(answer: bytes, stdout: str) -> dict[str, Any]:
    try:
        found = json.loads(answer, parse_constant=_refuse)
        shallow = _depth_within(found, DEPTH_MAX)
        json.dumps(found, ensure_ascii=False).encode()  # no halves of surrogate pairs
    except (ValueError, RecursionError):
        raise _not_ours(stdout) from None
    if not isinstance(found, dict) or not shallow:
        raise _not_ours(stdout)
    return found


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def _depth_within(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return True
    return False


def _not_ours(stdout: str) -> PermanentCode:
    return PermanentCodeNotJson(
        "the code gave no readable result: it wrote to the channel of results, or broke "
        "the interpreter that it runs in",
        **_printed(stdout),
    )


def _raised(found: dict[str, Any], kind: str, message: str, stdout: str) -> NoReturn:
    name = _text(found, "type", NAME_CHARS) or "an exception"
    place = _place(found)
    where = f" (line {place['line']}: {place['source']})" if place else ""
    if kind == "ended":
        raise PermanentCodeEnded(
            f"the code called for its own end: {name}({message[:100]}){where}",
            **place,
            **_printed(stdout),
        )
    said = f"{name}: {message}" if message else name
    raise PermanentCodeRaised(f"{said}{where}", type=name, **place, **_printed(stdout))


def _place(found: dict[str, Any]) -> dict[str, Any]:
    """Returns line and text of the user's code, when there is one."""
    line = found.get("line")
    if not isinstance(line, int) or isinstance(line, bool) or not 0 < line < 1_000_000:
        return {}
    return {"line": line, "source": _text(found, "source", 200)}


def _text(found: dict[str, Any], key: str, most: int) -> str:
    value = found.get(key)
    return value[:most] if isinstance(value, str) else ""


def _printed(stdout: str) -> dict[str, str]:
    return {"stdout": stdout} if stdout else {}


def _ended(status: int, stdout: str) -> NoReturn:
    """Tells how a process ended that gave no answer."""
    # Bubblewrap and shells tell of a signal as 128 + its number.
    number = -status if status < 0 else status - 128
    # Out of memory inside an allocation that cannot fail, or at the hand of the system.
    if number in (signal.SIGKILL, signal.SIGABRT) or "MemoryError" in stdout[-200:]:
        raise PermanentCodeMemory(
            "the code was ended by the system, most likely for want of memory", **_printed(stdout)
        )
    try:
        how = f"signal {signal.Signals(number).name}"
    except ValueError:
        how = f"exit status {status}"
    raise PermanentCodeEnded(f"the code ended its process without a result ({how})", exit=status,
                             **_printed(stdout))  # fmt: skip
