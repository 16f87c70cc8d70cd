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
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from joinery.code_errors import PermanentCode, PermanentCodeTimeout
from joinery.errors import InvalidRequest
from joinery.sandbox.isolation import ISOLATION_VARIABLE
from joinery.sandbox.run import isolation, run_code
from joinery.sandbox.types import CodeRequest

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
        event: `{code, function, arguments, timeout_s}`.
        left_s: Time until the function's deadline.
        environ: Says which isolation is meant.

    Returns:
        `{output, stdout}`, or `{error: {code, message, retryable, details?}}`.
    """
    try:
        request = _request(event, left_s)
        outcome = run_code(
            request, isolation(environ.get(ISOLATION_VARIABLE, "sandbox")), lambda: False
        )
        return {"output": outcome.output, "stdout": outcome.stdout}
    except (PermanentCode, InvalidRequest) as error:
        return {"error": error.to_dict()}
    finally:
        if environ.get("LAMBDA_TASK_ROOT") == AWS_TASK_ROOT:
            clean(tempfile.gettempdir())


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


def clean(folder: str) -> None:
    """Ends what the code left running and removes what it left lying about in a folder."""
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
