"""The `run_code` Lambda: the whole function is the sandbox.

On AWS it has no network and a role without rights; what is left to guard is the
function from the call before: nothing of a call may stay for the next one.
"""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from joinery.code_errors import (
    PermanentCode,
    PermanentCodePackage,
    PermanentCodeTimeout,
    TransientCodeRunner,
)
from joinery.errors import InvalidRequest
from joinery.sandbox.isolation import ISOLATION_VARIABLE
from joinery.sandbox.run import isolation, run_code
from joinery.sandbox.types import CodeRequest

if TYPE_CHECKING:
    from joinery.packages.unpacked import Unpacked

log = logging.getLogger(__name__)

RESERVE_S: Final = 2.0
"""Kept back from the function's own deadline, to end the code and answer."""

AWS_TASK_ROOT: Final = "/var/task"
"""Where a function's files are on AWS, and nowhere else: only there all children are the
code's, and all files in the temporary folder."""

SWEEPS: Final = 20
_NOT_DUMPABLE, _SUBREAPER = 4, 36  # linux/prctl.h


def harden() -> None:
    """Hides this process's memory and environment from the code that it will run.

    Code runs as the same user, to whom Linux would otherwise show both. Orphans of
    the code become children of this process, which can then end them.
    """
    if platform.system() == "Linux":
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        prctl(_NOT_DUMPABLE, 0, 0, 0, 0)
        prctl(_SUBREAPER, 1, 0, 0, 0)


def answer(
    event: Mapping[str, Any], left_s: float, environ: Mapping[str, str] = os.environ
) -> dict[str, Any]:
    """Does what `LambdaCodeRunner` asks for; the whole body of the `run_code` function.

    Args:
        event: `{code, function, arguments, timeout_s, package?}`; a package is
            `{sha256, bytes, url, addresses}`.
        left_s: Time until the function's deadline.
        environ: Says which isolation is meant.

    Returns:
        `{output, stdout}`, or `{error: {code, message, retryable, details?}}`.
    """
    alone = environ.get("LAMBDA_TASK_ROOT") == AWS_TASK_ROOT
    try:
        request = _request(event, left_s)
        way = isolation(environ.get(ISOLATION_VARIABLE, "sandbox"))
        with _packages(event, time.monotonic() + request.timeout_s, alone) as (folder, left):
            outcome = run_code(replace(request, timeout_s=left), way, _never, folder)
        return {"output": outcome.output, "stdout": outcome.stdout}
    except (PermanentCode, TransientCodeRunner, InvalidRequest) as error:
        return {"error": error.to_dict()}
    finally:
        if alone:
            clean(tempfile.gettempdir(), but=_kept_folder().name)


def _never() -> bool:
    return False


@contextmanager
def _packages(
    event: Mapping[str, Any], deadline: float, alone: bool
) -> Iterator[tuple[str, float]]:
    """Gives the folder of the packages that a call may import, and the time that is left."""
    said = event.get("package")
    if said is None:
        if alone and _kept_folder().is_dir():
            _kept(alone).clear()  # or code that has none would see those of the call before
        yield "", deadline - time.monotonic()
        return
    from joinery.packages.errors import PackageRefused, PackageTooLarge
    from joinery.sandbox.download import download

    def fetch(into: IO[bytes]) -> None:
        download(str(said["url"]), said["addresses"], into, said["bytes"], deadline)

    with ExitStack() as held:
        try:
            kept = _kept(alone).held(said["sha256"], said["bytes"], fetch)
            folder = held.enter_context(kept)
        except (PackageRefused, PackageTooLarge) as error:
            raise PermanentCodePackage(error.message) from None
        except OSError as error:
            raise TransientCodeRunner(
                f"the packages of the code cannot be unpacked: {error.strerror}"
            ) from None
        left = deadline - time.monotonic()
        if left <= 0:
            raise PermanentCodeTimeout("fetching the packages took all the time that there was")
        yield str(folder), left


@cache
def _kept(alone: bool) -> Unpacked:
    from joinery.packages.unpacked import Unpacked

    return Unpacked(_kept_folder(), alone=alone)


def _kept_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"joinery-packages-{os.geteuid()}"


def _request(event: Mapping[str, Any], left_s: float) -> CodeRequest:
    code, function = event.get("code"), event.get("function")
    arguments, timeout_s = event.get("arguments"), event.get("timeout_s")
    if (
        not isinstance(code, str)
        or not isinstance(function, str)
        or not isinstance(arguments, dict)
        or not isinstance(timeout_s, int | float)
    ):
        raise InvalidRequest("code, function, arguments and timeout_s are needed")
    left = min(float(timeout_s), left_s - RESERVE_S)
    if left <= 0:
        raise PermanentCodeTimeout("there was no time left to run the code")
    return CodeRequest(code, function, arguments, left)


def clean(folder: str, *, but: str = "") -> None:
    """Ends what the code left running and removes what it left lying about in a folder.

    Args:
        folder: The folder.
        but: A folder in it that stays.
    """
    for _ in range(SWEEPS):
        children = _children()
        if not children:
            break
        for pid in children:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.005)
    else:
        log.error("processes of the code are still there")
    for entry in Path(folder).iterdir():
        if entry.is_dir() and not entry.is_symlink():
            if entry.name == but:
                continue
            shutil.rmtree(entry, ignore_errors=True)
        else:
            with suppress(OSError):
                entry.unlink()


def _children() -> list[int]:
    try:
        text = Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii")
    except OSError:
        return []
    return [int(pid) for pid in text.split()]
