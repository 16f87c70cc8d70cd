"""What the command writes: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any, Final, TextIO

from joinery.errors import InvalidInput, InvalidRequest, InvalidWorkflow, JoineryError, NotFound
from joinery.model_errors import PermanentPricesInvalid
from joinery_cli import exits

if TYPE_CHECKING:
    from rich.console import Console

# Everything that moves a cursor, changes a terminal, or turns the direction of text.
_UNSAFE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """Returns text that a model or a server wrote without anything that steers a terminal."""
    return _UNSAFE.sub("", text.replace("\r\n", "\n")).encode("utf-8", "replace").decode()


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Prints one JSON document and nothing else."""
    # Half surrogates, which no UTF-8 can hold, are written as escapes.
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=indent)
    write(sys.stdout, text + "\n")


def write(stream: TextIO, text: str) -> None:
    """Writes at once."""
    stream.write(text)
    stream.flush()


def say(text: str) -> None:
    """Writes a line about what happens, to stderr."""
    write(sys.stderr, clean(text) + "\n")


def show(text: str) -> None:
    """Writes a line of the result, to stdout."""
    write(sys.stdout, text + "\n")


def console(*, stderr: bool = False) -> Console:
    """Returns a console; without a terminal it draws no colours."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def is_live() -> bool:
    """Whether something may be drawn and drawn over: a terminal that can, and is looked at."""
    import os

    return sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def report(error: JoineryError) -> int:
    """Says on stderr what went wrong, in a line or a few; returns the exit code."""
    if isinstance(error, InvalidWorkflow):
        if not error.problems:
            return exits.INVALID  # they were shown with their lines already
        for problem in error.problems:
            place = f" (line {problem.line})" if problem.line else ""
            hint = f"; {problem.hint}" if problem.hint else ""
            say(f"{problem.severity}: {problem.code}: {problem.message}{place}{hint}")
        return exits.INVALID
    rows = error.details.get("errors")
    if isinstance(error, InvalidInput) and isinstance(rows, list) and len(rows) > 1:
        for row in rows:
            say(f"error: {row['message']}")
        return exits.INVALID
    say(f"error: {error.message}")
    if isinstance(error, InvalidRequest | NotFound | PermanentPricesInvalid):
        return exits.INVALID
    return exits.FAILED
