"""For which Python and system packages are built: that of the place where code runs.

This module imports nothing but the standard library.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from joinery.errors import Unavailable

_MANYLINUX: Final = ((2, 40), (2, 39), (2, 38), (2, 37), (2, 36), (2, 35), (2, 34), (2, 33),
                     (2, 32), (2, 31), (2, 28), (2, 17))  # fmt: skip
"""What uv knows of: https://docs.astral.sh/uv/reference/cli/#uv-pip-compile--python-platform"""

_PYTHON: Final = re.compile(r"3\.\d{1,2}")
_SYSTEM: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class PackageTarget:
    """An interpreter and a system.

    Attributes:
        python: Version of Python, such as `3.13`.
        platform: What it runs on, as uv calls it, such as `aarch64-manylinux_2_34`.
    """

    python: str
    platform: str

    @staticmethod
    def here() -> PackageTarget:
        """Returns the target of the interpreter that runs this line."""
        return PackageTarget(f"{sys.version_info[0]}.{sys.version_info[1]}", _platform())

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> PackageTarget:
        """Returns what `to_dict` wrote, here or elsewhere. Raises: Unavailable, when it did not."""
        python, system = str(data.get("python")), str(data.get("platform"))
        if not _PYTHON.fullmatch(python) or not _SYSTEM.fullmatch(system):
            raise Unavailable("the installation does not say for what packages are built")
        return PackageTarget(python, system)

    def to_dict(self) -> dict[str, str]:
        """Returns `{python, platform}`."""
        return {"python": self.python, "platform": self.platform}

    def __str__(self) -> str:
        return f"Python {self.python} on {self.platform}"


def _platform() -> str:
    machine = platform.machine().lower()
    processor = {"arm64": "aarch64", "amd64": "x86_64"}.get(machine, machine)
    if sys.platform == "darwin":
        return f"{processor}-apple-darwin"
    glibc = _glibc()
    if glibc is None:
        return f"{processor}-unknown-linux-musl"
    for version in _MANYLINUX:
        if version <= glibc:
            return f"{processor}-manylinux_{version[0]}_{version[1]}"
    return f"{processor}-manylinux2014"


def _glibc() -> tuple[int, int] | None:
    """Returns the version of the C library, None where it is another one than glibc."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        major, minor = version.split(".")[:2]
    except (AttributeError, OSError, ValueError):
        return None
    return (int(major), int(minor)) if name == "glibc" else None
