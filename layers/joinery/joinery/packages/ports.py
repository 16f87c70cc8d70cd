"""What publishing and running need of the place where packages are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Upload:
    """Where one package may be sent, once it is known what it is.

    Attributes:
        url: Address of a PUT; whoever has it may send these bytes and no others.
        headers: What must be sent with it.
        expires_at: Epoch seconds.
    """

    url: str
    headers: Mapping[str, str]
    expires_at: float


@dataclass(frozen=True, slots=True)
class Download:
    """Where one package is, for a while.

    Attributes:
        url: Address of a GET; whoever has it may read it.
        addresses: IP addresses of its host, for who has no name server.
    """

    url: str
    addresses: Sequence[str] = field(default_factory=tuple)


class PackageStore(Protocol):
    """Keeps packages, each owner's apart."""

    def size(self, owner: str, sha256: str) -> int | None:
        """Returns the bytes of an owner's package, None when it is not there."""
        ...

    def upload(self, owner: str, sha256: str, size: int) -> Upload:
        """Returns where to send it; nothing else can be stored under its name."""
        ...

    def download(self, owner: str, sha256: str) -> Download:
        """Returns where to get it.

        Raises:
            TransientCodeRunner: That cannot be found out now.
        """
        ...
