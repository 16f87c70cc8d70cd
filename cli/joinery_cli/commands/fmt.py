"""`joinery fmt`."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from joinery.errors import InvalidRequest, InvalidWorkflow
from joinery_cli import exits
from joinery_cli.output import clean, say, show, write
from joinery_cli.workflow_file import problem_text

_STANDARD_INPUT: Final = "-"
_SHOWN: Final = "<stdin>"


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it is and as it would be."""

    name: str
    before: bytes
    after: bytes

    @property
    def changed(self) -> bool:
        return self.before != self.after


def fmt_command(names: Sequence[str], *, check: bool, diff: bool) -> int:
    """Brings files to their one form; returns the exit code.

    Args:
        names: The files; `-` is standard input, whose form goes to standard output.
        check: Write nothing, and return `UNFORMATTED` when a file would change.
        diff: Write nothing, and print what would change.
    """
    refused = changed = False
    for name in names:
        try:
            file = _formatted(name)
            _tell(file, check=check, diff=diff)
        except InvalidRequest as error:
            say(f"error: {error.message}")
            refused = True
        else:
            changed = changed or file.changed
    if refused:
        return exits.INVALID
    return exits.UNFORMATTED if check and changed else exits.OK


def _tell(file: _File, *, check: bool, diff: bool) -> None:
    """Prints or writes what became of a file."""
    if diff:
        if file.changed:
            _show_diff(file)
    elif check:
        if file.changed:
            show(clean(file.name))
    elif file.name == _SHOWN:
        sys.stdout.buffer.write(file.after)
        sys.stdout.flush()
    elif file.changed:
        _replace(file)
        show(clean(file.name))


def _formatted(name: str) -> _File:
    """Reads and formats a file.

    Raises:
        InvalidRequest: It cannot be read or formatted; what is wrong with it has been told.
    """
    from joinery.workflow.formatting import format_text

    shown = _SHOWN if name == _STANDARD_INPUT else name
    before = sys.stdin.buffer.read() if name == _STANDARD_INPUT else _read(name)
    try:
        after = format_text(before, filename=shown)
    except InvalidWorkflow as error:
        text = before.decode("utf-8", "replace").removeprefix("\ufeff")
        for problem in error.problems:
            say(problem_text(Path(shown), text, problem))
        raise InvalidRequest(f"'{shown}' is left as it is") from None
    return _File(shown, before, after.encode())


def _read(name: str) -> bytes:
    try:
        # A pipe has no place to write to, and a folder no text.
        if not stat.S_ISREG(os.stat(name).st_mode):  # noqa: PTH116 - follows links, also broken ones
            raise InvalidRequest(f"cannot format '{name}': it is not a file")
        return Path(name).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidRequest(f"cannot read '{name}': {reason}") from None


def _replace(file: _File) -> None:
    """Puts a file in place of the old one, all at once, with its owner and mode; links stay links.

    Raises:
        InvalidRequest: The file may not be written; the old one is still there.
    """
    target = Path(file.name).resolve()
    try:
        if not os.access(target, os.W_OK):
            raise PermissionError(0, "it is read-only")
        number, made = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)
        try:
            with os.fdopen(number, "wb") as stream:
                stream.write(file.after)
                stream.flush()
                os.fsync(stream.fileno())
            known = target.stat()
            with suppress(OSError):  # only root may give files away
                os.chown(made, known.st_uid, known.st_gid)
            Path(made).chmod(stat.S_IMODE(known.st_mode))
            Path(made).replace(target)
        except BaseException:
            Path(made).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InvalidRequest(f"cannot write '{file.name}': {error.strerror or error}") from None


def _show_diff(file: _File) -> None:
    """Prints a unified diff that `patch` takes."""
    import difflib

    before, after = (_lines(text) for text in (file.before, file.after))
    lines = []
    for line in difflib.unified_diff(before, after, file.name, file.name):
        ended = line.endswith("\n")
        lines.append(line if ended else f"{line}\n\\ No newline at end of file\n")
    text = "".join(lines)
    write(sys.stdout, clean(text) if sys.stdout.isatty() else text)


def _lines(text: bytes) -> list[str]:
    # Not str.splitlines, which also parts lines where YAML does not.
    *ended, rest = text.decode().split("\n")
    return [f"{line}\n" for line in ended] + ([rest] if rest else [])
