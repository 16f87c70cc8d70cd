"""Asks uv which versions meet requirements, and has it install them: wheels only."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from joinery.errors import Unavailable
from joinery.packages.errors import IndexUnavailable, RequirementsUnsolvable
from joinery.packages.target import PackageTarget

TIMEOUT_S: Final = 600.0
SAID_CHARS: Final = 600

_LOCKED: Final = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)", re.MULTILINE)
_NETWORK: Final = (
    "error sending request",
    "Failed to fetch",
    "dns error",
    "network was disabled",
    "operation timed out",
    "client error",
)
"""What uv says when it cannot reach an index."""


def resolve(requirements: Sequence[str], target: PackageTarget, folder: Path) -> str:
    """Returns a lock file: every version with its hashes.

    Args:
        requirements: What is asked for.
        target: For where.
        folder: For files in between.

    Raises:
        RequirementsUnsolvable: Nothing meets them there.
        IndexUnavailable: The package index does not answer.
        Unavailable: uv is not installed.
    """
    asked = folder / "requirements.in"
    asked.write_text("".join(f"{one}\n" for one in requirements), "utf-8")
    return _uv(
        ("compile", str(asked), "--generate-hashes", "--no-header", "--no-annotate",
         "--no-emit-index-url", "--quiet"),
        requirements, target, folder,
    )  # fmt: skip


def install(
    lock: str, requirements: Sequence[str], target: PackageTarget, folder: Path, into: Path
) -> None:
    """Installs what a lock file names into a folder.

    Raises:
        RequirementsUnsolvable: A version or its file is not there any more.
        IndexUnavailable: The package index does not answer.
        Unavailable: uv is not installed.
    """
    locked = folder / "requirements.lock"
    locked.write_text(lock, "utf-8")
    _uv(
        ("install", "--target", str(into), "--require-hashes", "--no-deps", "--link-mode", "copy",
         "--quiet", "--requirement", str(locked)),
        requirements, target, folder,
    )  # fmt: skip


def locked_versions(lock: str) -> tuple[str, ...]:
    """Returns what a lock file names, as `name==version`."""
    return tuple(sorted(f"{name}=={version}" for name, version in _LOCKED.findall(lock)))


def _uv(
    arguments: Sequence[str], requirements: Sequence[str], target: PackageTarget, folder: Path
) -> str:
    command = [
        *(_program(), "pip", *arguments, "--no-progress", "--only-binary", ":all:"),
        *("--python", sys.executable, "--python-version", target.python),
        *("--python-platform", target.platform),
    ]
    try:
        # In a folder of its own: the settings of whatever project is around say nothing here.
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=folder, timeout=TIMEOUT_S
        )
    except FileNotFoundError:
        raise Unavailable("building packages needs uv: pip install uv") from None
    except subprocess.TimeoutExpired:
        _fail(requirements, target, "operation timed out")
    if done.returncode != 0:
        _fail(requirements, target, done.stderr)
    return done.stdout


def _fail(requirements: Sequence[str], target: PackageTarget, stderr: str) -> NoReturn:
    said = " ".join(stderr.split()).removeprefix("error: ")[:SAID_CHARS]
    facts = {"requirements": _named(requirements, said), "target": str(target), "said": said}
    names = ", ".join(facts["requirements"])
    if any(words in said for words in _NETWORK):
        raise IndexUnavailable(
            f"the package index does not answer, so {names} cannot be had: {said}", **facts
        )
    raise RequirementsUnsolvable(f"there is no {names} for {target}: {said}", **facts)


def _named(requirements: Sequence[str], said: str) -> list[str]:
    """Returns the requirements that a message speaks of, all of them where it names none."""
    found = [one for one in requirements if re.split(r"[\[<>=!~]", one, maxsplit=1)[0] in said]
    return found or list(requirements)


def _program() -> str:
    beside = Path(sys.executable).with_name("uv.exe" if os.name == "nt" else "uv")
    return str(beside) if beside.exists() else "uv"
