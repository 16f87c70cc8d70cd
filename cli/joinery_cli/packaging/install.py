"""Installs a function's packages at the locked versions."""

from __future__ import annotations

import compileall
import os
import py_compile
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from joinery_cli.packaging.errors import PackagingFailed
from joinery_cli.packaging.trim import trim

if TYPE_CHECKING:
    from joinery_cli.packaging.target import Target

LOCAL_RUNTIME: Final = "awslambdaric"
"""The Lambda runtime client, which AWS brings along and the laptop's bundles carry."""

_LOCKED_NAME: Final = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)


def install(requirements: Path, lock: Path, target: Target, into: Path) -> None:
    """Installs the packages named in `requirements` and all they need.

    Args:
        requirements: File of package names.
        lock: Lock file with hashes; every installed package must be in it.
        target: For which interpreter.
        into: Empty folder to fill.

    Raises:
        PackagingFailed: uv failed, or a package is not in the lock.
    """
    command = [
        *(_uv(), "pip", "install", "--quiet", "--no-config", "--no-progress"),
        *("--target", str(into), "--constraint", str(lock), *target.install_options),
        *("--requirement", str(requirements)),
        *((LOCAL_RUNTIME,) if target.local else ()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PackagingFailed(
            f"cannot install the packages of {requirements.parent.name}: {done.stderr.strip()}"
        )
    _refuse_unlocked(lock, into)
    trim(into)


def compile_bytecode(folder: Path) -> None:
    """Compiles all modules once, so that a cold start does not.

    The bytecode is not checked against file times: bundles never change, and
    copying and unpacking them changes the times.
    """
    compileall.compile_dir(
        folder,
        quiet=2,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )


def _refuse_unlocked(lock: Path, installed: Path) -> None:
    locked = {_normal(name) for name in _LOCKED_NAME.findall(lock.read_text())}
    found = {_normal(info.name.split("-")[0]) for info in installed.glob("*.dist-info")}
    if missing := sorted(found - locked):
        raise PackagingFailed(
            f"not in {lock.name}: {', '.join(missing)};"
            " add them to pyproject.toml and run make lock"
        )


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv.exe" if os.name == "nt" else "uv")
    return str(beside) if beside.exists() else "uv"
