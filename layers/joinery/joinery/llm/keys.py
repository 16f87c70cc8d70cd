"""Keys of model providers: where they are, read late and kept for a short time.

A key is asked for at each call, so a key that was replaced is used within
`KEPT_S` without a restart, and a function that asks no model reads none.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from joinery.errors import NodeError
from joinery.model_errors import PermanentModelAuth

KEPT_S: Final = 60.0
"""How long keys are used before they are read again."""


class Keys(Protocol):
    """Where keys are."""

    def key(self, provider: str) -> str:
        """Returns the key of a provider, `""` where there is none."""
        ...

    def forget(self) -> None:
        """Reads the keys again when one is next asked for."""
        ...

    def hint(self, provider: str) -> str:
        """Says where the key of a provider is looked for, as what to do: `set OPENAI_API_KEY`."""
        ...


VARIABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "dashscope": ("DASHSCOPE_API_KEY",),
    "siliconflow": ("SILICONFLOW_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY",),
    "ollama": ("OLLAMA_API_KEY",),
    "vllm": ("VLLM_API_KEY",),
    "llama.cpp": ("LLAMA_API_KEY",),
    "local": ("JOINERY_MODEL_API_KEY",),
    "openai-compatible": ("JOINERY_MODEL_API_KEY",),
}
"""Environment variables that may hold a provider's key; the first that is set counts."""


class EnvironmentKeys:
    """Implements `Keys` from environment variables.

    Args:
        environ: The environment.
        hint: Says how to set them, with `{names}` in it.
    """

    def __init__(self, environ: Mapping[str, str], *, hint: str = "set {names}") -> None:
        self._environ, self._hint = environ, hint

    def key(self, provider: str) -> str:
        """See `Keys.key`."""
        names = VARIABLES.get(provider, ())
        return next((v for name in names if (v := self._environ.get(name, "").strip())), "")

    def forget(self) -> None:
        """The environment is read each time."""

    def hint(self, provider: str) -> str:
        """See `Keys.hint`."""
        names = VARIABLES.get(provider, ())
        return self._hint.format(names=" or ".join(names) or "the key of this provider")


class StoredKeys:
    """Implements `Keys` from a store that is read at most once in `KEPT_S`.

    What the store lacks is looked for in `fallback`.

    Args:
        read: Returns all keys by provider.
        where: Says where a key is put, with `{provider}` in it, for messages.
        fallback: Keys that count where the store has none.
        clock: Returns the time in seconds.
    """

    def __init__(
        self,
        read: Callable[[], Mapping[str, str]],
        *,
        where: str,
        fallback: Keys,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read, self._where, self._fallback, self._clock = read, where, fallback, clock
        self._lock = threading.Lock()
        self._kept: Mapping[str, str] = {}
        self._until = self._read_at = 0.0

    def key(self, provider: str) -> str:
        """See `Keys.key`."""
        with self._lock:
            if self._clock() >= self._until:
                self._read_at = self._clock()
                self._kept = self._read()
                self._until = self._clock() + KEPT_S
            kept = self._kept.get(provider, "").strip()
        return kept or self._fallback.key(provider)

    def forget(self) -> None:
        """See `Keys.forget`; who waited while another thread read them does not read once more."""
        now = self._clock()
        with self._lock:
            if self._read_at <= now:
                self._until = 0.0
        self._fallback.forget()

    def hint(self, provider: str) -> str:
        """See `Keys.hint`."""
        return f"{self._where.format(provider=provider)}, or {self._fallback.hint(provider)}"


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """The key of one provider.

    Attributes:
        keys: Where it is; None for a provider without one.
        provider: Whose it is.
        needed: Whether a call without it is pointless.
    """

    keys: Keys | None = None
    provider: str = ""
    needed: bool = False

    @property
    def hint(self) -> str:
        """Says where to put it."""
        return self.keys.hint(self.provider) if self.keys else ""

    def read(self) -> str:
        """Returns the key.

        Raises:
            PermanentModelAuth: It is needed and missing, or no HTTP header can carry it.
            NodeError: It is needed, and where it is cannot be read.
        """
        try:
            key = self.keys.key(self.provider) if self.keys else ""
        except NodeError:
            if self.needed:
                raise
            # A model of one's own may want no key: it says so itself if it does.
            key = ""
        if not key and self.needed:
            raise PermanentModelAuth(
                f"provider '{self.provider}' has no key: {self.hint}", provider=self.provider
            )
        if not (key.isascii() and key.isprintable()):
            raise PermanentModelAuth(
                f"the key of provider '{self.provider}' has characters it cannot have: {self.hint}",
                provider=self.provider,
            )
        return key

    def renew(self) -> str:
        """Returns the key as it is now, read again. Raises: PermanentModelAuth."""
        if self.keys:
            self.keys.forget()
        return self.read()


@dataclass(frozen=True, slots=True)
class FixedKey:
    """Implements `Keys` with one key for everybody."""

    value: str = field(repr=False)

    def key(self, provider: str) -> str:
        """See `Keys.key`."""
        return self.value.strip()

    def forget(self) -> None:
        """There is nothing to read again."""

    def hint(self, provider: str) -> str:
        """See `Keys.hint`."""
        return "set the key of this provider"


NO_KEY: Final = ProviderKey()
