"""What tools may use of the place where they run: secrets, and the way out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from joinery.tool_errors import PermanentToolSecret

VARIABLE: Final = "JOINERY_SECRET_"
"""The environment variable of a secret: this and the name in capitals, `-` as `_`."""

OTHER_NAMES: Final[Mapping[str, str]] = {
    "tavily": "TAVILY_API_KEY",
    "serper": "SERPER_API_KEY",
}
"""Variables that services name themselves, by the secret."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that goes out with requests.

    Attributes:
        value: What a header is set to, whole.
        hosts: Where it may be sent: host names, `*.` in front for all below one. None: to
            any, which only the owner of the machine may say.
    """

    value: str = field(repr=False)
    hosts: tuple[str, ...] | None = None

    def may_go_to(self, host: str) -> bool:
        """Returns whether it may be sent to a host."""
        if self.hosts is None:
            return True
        host = host.lower().rstrip(".")
        return any(
            host.endswith(allowed[1:]) if allowed.startswith("*.") else host == allowed
            for allowed in map(str.lower, self.hosts)
        )


class Secrets(Protocol):
    """Where secrets of tools are."""

    def secret(self, name: str) -> Secret | None:
        """Returns a secret, None where there is none of this name."""
        ...

    def hint(self, name: str) -> str:
        """Says where a secret is to be put."""
        ...


class EnvironmentSecrets:
    """Implements `Secrets` from environment variables: for a machine of one's own."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def secret(self, name: str) -> Secret | None:
        """See `Secrets.secret`."""
        value = self._environ.get(variable_of(name), "").strip()
        value = value or self._environ.get(OTHER_NAMES.get(name, ""), "").strip()
        return Secret(value) if value else None

    def hint(self, name: str) -> str:
        """See `Secrets.hint`."""
        return f"set {OTHER_NAMES.get(name) or variable_of(name)}"


def variable_of(name: str) -> str:
    """Returns the environment variable that holds a secret."""
    return VARIABLE + name.upper().replace("-", "_")


@dataclass(frozen=True, slots=True)
class ToolServices:
    """What tools may use.

    Attributes:
        secrets: Where secrets are.
        private_addresses: Whether tools may reach this machine and private networks. On
            AWS they may not: whoever publishes a workflow would reach what only the
            installation may.
        search_urls: Other addresses of search services, by their name.
    """

    secrets: Secrets = field(default_factory=lambda: EnvironmentSecrets({}))
    private_addresses: bool = False
    search_urls: Mapping[str, str] = field(default_factory=dict)

    def secret_for(self, name: str, host: str) -> str:
        """Returns the value of a secret that is about to be sent to a host.

        Raises:
            PermanentToolSecret: There is none, it may not go there, or no header can carry it.
        """
        found = self.secrets.secret(name)
        if found is None:
            raise PermanentToolSecret(
                f"there is no secret '{name}': {self.secrets.hint(name)}", secret=name
            )
        if not found.may_go_to(host):
            raise PermanentToolSecret(
                f"the secret '{name}' may not be sent to '{host}': its `hosts` do not name it",
                secret=name,
                host=host,
            )
        if not (found.value.isascii() and found.value.isprintable()):
            raise PermanentToolSecret(
                f"the secret '{name}' has characters that no header can carry", secret=name
            )
        return found.value

    def headers_for(self, names: Mapping[str, str], host: str) -> dict[str, str]:
        """Returns the headers that carry secrets, by header.

        Raises:
            PermanentToolSecret: See `secret_for`.
        """
        return {header: self.secret_for(name, host) for header, name in names.items()}
