"""Calls a user's function in a sandbox on this machine."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from joinery import limits
from joinery.code_errors import (
    PermanentCode,
    PermanentCodeNoSandbox,
    PermanentCodePackage,
    PermanentCodeTimeout,
    PermanentCodeTooLarge,
)
from joinery.errors import RunCancelled
from joinery.sandbox import process
from joinery.sandbox.answer import outcome_of
from joinery.sandbox.isolation import ALLOW_VARIABLE, Isolation
from joinery.sandbox.types import Cancelled, CodeOutcome, CodeRequest, PackageRef
from joinery.strictjson import to_json

START_S: Final = 10.0
"""Time for the sandbox to be there, on top of the code's own."""

ENVELOPE_BYTES: Final = 1_000
"""Room beside the result for what it is wrapped in."""

SYSTEM_PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"

FILE_BYTES: Final = 32 * 1024 * 1024
OPEN_FILES: Final = 64
PROCESSES: Final = 64
"""Processes and threads together, where they can be counted for a sandbox alone."""


Packages = Callable[[PackageRef], AbstractContextManager[Path]]
"""Gives the folder of a package, for as long as it is used."""


class SandboxCodeRunner:
    """Implements `CodeRunner` on this machine.

    Args:
        allow: Whether the user accepts that there may be no sandbox.
        packages: Gives the folders of packages that were built here.
    """

    def __init__(self, *, allow: bool = False, packages: Packages | None = None) -> None:
        self._meant = "allowed" if allow else "sandbox"
        self._packages = packages

    def require(self) -> None:
        """Raises: PermanentCodeNoSandbox, when no code can run here."""
        isolation(self._meant)

    def run(self, request: CodeRequest, cancelled: Cancelled) -> CodeOutcome:
        """See `CodeRunner.run`."""
        way = isolation(self._meant)
        if request.package is None:
            return run_code(request, way, cancelled)
        if self._packages is None:
            raise PermanentCodePackage("the packages of the code were not built")
        with self._packages(request.package) as folder:
            return run_code(request, way, cancelled, str(folder))


def isolation(meant: str) -> Isolation:
    """Returns the way to shut code off.

    Args:
        meant: `sandbox`; `allowed`, the same, but no sandbox will do where none works;
            or `function`, where the whole function is one.

    Raises:
        PermanentCodeNoSandbox: None works here, and that is not allowed.
    """
    if meant == "function":
        return Isolation("function")
    found, reasons = working()
    if found is not None:
        return found
    if meant == "allowed":
        return Isolation("none")
    raise PermanentCodeNoSandbox(
        f"code is run in a sandbox, and this machine has none: {reasons}. Install bubblewrap "
        f"(apt install bubblewrap), or accept that code can read your files: --allow-local-code "
        f"or {ALLOW_VARIABLE}=1"
    )


class _NoSandbox(Exception):
    """None works; the message says why. Nobody keeps it: a busy machine may have one later."""


def working() -> tuple[Isolation | None, str]:
    """Returns the first sandbox that works on this machine, or None and why there is none."""
    try:
        return _find(), ""
    except _NoSandbox as error:
        return None, str(error)


@lru_cache(maxsize=1)
def _find() -> Isolation:
    reasons: list[str] = []
    if platform.system() != "Linux":
        raise _NoSandbox(f"there is none for {platform.system()}")
    for name, need in (("bwrap", ("bwrap",)), ("unshare", ("unshare", "setpriv", "chroot"))):
        missing = [program for program in need if shutil.which(program) is None]
        if missing:
            reasons.append(f"{name}: {', '.join(missing)} is not installed")
            continue
        reason = _try(Isolation(name))
        if reason is None:
            return Isolation(name)
        reasons.append(f"{name}: {reason}")
    raise _NoSandbox("; ".join(reasons))


def _try(way: Isolation) -> str | None:
    """Returns why a sandbox does not work here, or None when it does."""
    request = CodeRequest("def main():\n    return 1", "main", {}, 5.0)
    try:
        found = run_code(request, way, lambda: False).output
    except PermanentCode as error:
        said = str(error.details.get("stdout", "")).strip().splitlines()
        return (said[-1] if said else error.message)[:200]
    return None if found == 1 else "it does not give back what it should"


def run_code(
    request: CodeRequest, way: Isolation, cancelled: Cancelled, packages: str = ""
) -> CodeOutcome:
    """Calls the function and returns what it gave.

    Args:
        request: The call.
        way: How it is shut off.
        cancelled: Asked now and then.
        packages: The folder of the packages that it asks for, if it does.

    Raises:
        PermanentCode: It gave nothing; the subclass says why.
        RunCancelled: `cancelled` said so meanwhile.
    """
    with _scratch() as scratch:
        ends = os.pipe()
        sent = _request(request, way, scratch, ends[1], packages)
        command = way.command(program(), scratch, packages)
        bounds = process.Bounds(
            limits.CODE_RESULT_BYTES + ENVELOPE_BYTES,
            limits.CODE_STDOUT_BYTES,
            request.timeout_s,
            START_S,
        )
        try:
            ran = process.run(
                command, sent, ends, bounds, environment=_environment(way), cancelled=cancelled
            )
        except OSError as error:
            raise PermanentCodeNoSandbox(f"{command[0]} does not start: {error.strerror}") from None
        return _outcome(request, ran)


def _outcome(request: CodeRequest, ran: process.Ran) -> CodeOutcome:
    stdout = bytes(ran.printed).decode("utf-8", errors="replace")
    printed = {"stdout": stdout} if stdout else {}
    answer = bytes(ran.answer).strip()
    if ran.cancelled:
        raise RunCancelled("the run was cancelled while the code ran")
    if len(ran.answer) > limits.CODE_RESULT_BYTES + ENVELOPE_BYTES:
        raise PermanentCodeTooLarge(
            f"the result has more than {limits.CODE_RESULT_BYTES:,} bytes as JSON",
            limit=limits.CODE_RESULT_BYTES, **printed,
        )  # fmt: skip
    used_up = ran.status in (-signal.SIGXCPU, 128 + signal.SIGXCPU) and not answer
    if ran.timed_out or used_up:
        raise PermanentCodeTimeout(
            f"the code did not end within {round(request.timeout_s, 1):g} s",
            timeout_s=request.timeout_s, **printed,
        )  # fmt: skip
    return outcome_of(answer, ran.status, stdout)


def _request(
    request: CodeRequest, way: Isolation, scratch: str, channel: int, packages: str
) -> bytes:
    bounds = {
        "RLIMIT_AS": limits.CODE_MEMORY_BYTES,
        # The clock on the wall ends it sooner, unless its threads compute side by side.
        "RLIMIT_CPU": 2 * int(request.timeout_s) + 2,
        "RLIMIT_CORE": 0,
        "RLIMIT_FSIZE": FILE_BYTES,
        "RLIMIT_NOFILE": OPEN_FILES,
    }
    if way.name != "none":
        # Elsewhere the kernel counts all processes of the user, the desktop's among them.
        bounds["RLIMIT_NPROC"] = PROCESSES
    data: dict[str, Any] = {
        "code": request.code,
        "function": request.function,
        "arguments": dict(request.arguments),
        "channel": channel,
        "folder": way.folder(scratch),
        "packages": way.packages(packages),
        "limits": bounds,
        "filter": filter_program() if platform.system() == "Linux" else "",
    }
    sent = to_json(data)
    if len(sent) > limits.CODE_ARGUMENTS_BYTES + limits.CODE_BYTES + 20_000:
        raise PermanentCodeTooLarge(
            f"the arguments have more than {limits.CODE_ARGUMENTS_BYTES:,} bytes as JSON",
            limit=limits.CODE_ARGUMENTS_BYTES,
        )
    return sent


@lru_cache(maxsize=1)
def program() -> str:
    """Returns the text of the program that runs in the sandbox."""
    return Path(__file__).with_name("child.py").read_text("utf-8") + "\nmain()\n"


@lru_cache(maxsize=1)
def filter_program() -> str:
    """Returns the text of what takes system calls away."""
    return Path(__file__).with_name("syscall_filter.py").read_text("utf-8")


def _environment(way: Isolation) -> dict[str, str]:
    # Nothing of ours but what finds the interpreter's own libraries, and the programs that
    # build the sandbox: those of the system, which are seen inside it too.
    kept = {n: os.environ[n] for n in ("LD_LIBRARY_PATH",) if n in os.environ}
    if not way.namespaces:
        return kept
    return {**kept, "PATH": f"{SYSTEM_PATH}:{os.environ.get('PATH', '')}".rstrip(":")}


@contextmanager
def _scratch() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="joinery-code-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
