"""What a package is, and which one a tool or a node has.

A package is one zip with everything that some requirements resolve to for one target.
This module imports nothing but the standard library.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

SHA256: Final = r"^[0-9a-f]{64}$"

_PREFIX: Final = "packages"


@dataclass(frozen=True, slots=True)
class Package:
    """A package as a published version holds it.

    Attributes:
        requirements: What was asked for, in one order whatever the file's.
        sha256: SHA-256 of the zip in hexadecimal, which names it.
        bytes: Size of the zip.
        resolved: Everything in it, as `name==version`.
        modules: What can be imported from it; empty where nobody knows.
    """

    requirements: tuple[str, ...]
    sha256: str
    bytes: int
    resolved: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON-ready data."""
        return {
            "requirements": list(self.requirements),
            "sha256": self.sha256,
            "bytes": self.bytes,
            "resolved": list(self.resolved),
            "modules": list(self.modules),
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Package:
        """Returns what `to_dict` wrote."""
        return Package(
            tuple(data["requirements"]),
            str(data["sha256"]),
            int(data["bytes"]),
            tuple(data.get("resolved", ())),
            tuple(data.get("modules", ())),
        )


def object_key(owner: str, sha256: str) -> str:
    """Returns where an owner's package is in the bucket."""
    return f"{_PREFIX}/{hashlib.sha256(owner.encode()).hexdigest()[:32]}/{sha256}.zip"
