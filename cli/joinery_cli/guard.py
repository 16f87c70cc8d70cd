"""Runs a command's body: every way to end becomes an exit code and a clear line."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import TextIO

from joinery.errors import JoineryError
from joinery_cli import exits
from joinery_cli.output import report, say


def guarded(body: Callable[[], int]) -> int:
    """Returns the body's exit code, or that of the error it raised, which is told on stderr.

    What the library logs meanwhile goes to a file, and a line says where that is.
    """
    log = DefectLog()
    library = logging.getLogger("joinery")
    library.addHandler(log)
    propagate, library.propagate = library.propagate, False
    try:
        return _ended(body, log)
    finally:
        library.removeHandler(log)
        library.propagate = propagate
        log.tell()


def guarded_outside(body: Callable[[], int]) -> int:
    """Does the same for what runs before and after a command's body, where nothing is logged."""
    log = DefectLog()
    try:
        return _ended(body, log)
    finally:
        log.tell()


def _ended(body: Callable[[], int], log: DefectLog) -> int:
    try:
        return body()
    except JoineryError as error:
        return report(error)
    except KeyboardInterrupt:
        say("stopped")
        return exits.CANCELLED
    except BrokenPipeError:
        # The reader, such as `head`, has had enough; the interpreter must not flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.FAILED
    except Exception as error:
        return defect(error, log)


def defect(error: BaseException, log: DefectLog) -> int:
    """Says that Joinery is at fault; the details go to the log."""
    said = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    say(f"error: this is a defect in Joinery ({said})")
    trace = (type(error), error, error.__traceback__)
    record = ("joinery", logging.ERROR, __file__, 0, "the command failed", (), trace)
    log.handle(logging.LogRecord(*record))
    return exits.FAILED


class DefectLog(logging.Handler):
    """Writes errors to a file that only its owner can read, made when there is one.

    Attributes:
        name_told: The file, or an empty text when nothing was logged.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
        self.name_told = ""
        self._file: TextIO | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record; a disk that is full must not hide the error itself."""
        try:
            if self._file is None:
                self._file = self._open()
            self._file.write(self.format(record) + "\n")
            self._file.flush()
        except OSError:
            return

    def _open(self) -> TextIO:
        import tempfile

        from joinery import __version__

        number, self.name_told = tempfile.mkstemp(prefix="joinery-defect-", suffix=".log")
        file = os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace")
        file.write(f"joinery {__version__}, Python {sys.version}, {sys.platform}\n{sys.argv}\n\n")
        return file

    def tell(self) -> None:
        """Says where the file is, if there is one, and closes it."""
        if self.name_told:
            say(f"details are in {self.name_told}")
        self.close()

    def close(self) -> None:
        """Closes the file."""
        super().close()
        if self._file is not None:
            self._file.close()
            self._file = None
