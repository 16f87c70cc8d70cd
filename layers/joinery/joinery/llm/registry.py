"""Finds the provider that a node's model names; each is made once, when it is first asked for."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from joinery.model_errors import PermanentModelUnknown

if TYPE_CHECKING:
    from joinery.llm.scripted import Cassette
    from joinery.llm.types import Provider

BASE_URL: Final = "JOINERY_MODEL_BASE_URL"
NAME: Final = "JOINERY_MODEL_NAME"
API_KEY: Final = "JOINERY_MODEL_API_KEY"

DEFAULT_PROVIDER: Final = "local"


@dataclass(frozen=True, slots=True)
class Preset:
    """A well-known endpoint: its address, and the variable that holds its key."""

    base_url: str
    api_key_variable: str = ""
    max_tokens_field: str = "max_tokens"


PRESETS: Final[Mapping[str, Preset]] = {
    # https://platform.openai.com/docs/api-reference/chat
    "openai": Preset("https://api.openai.com/v1", "OPENAI_API_KEY", "max_completion_tokens"),
    # https://github.com/ollama/ollama/blob/main/docs/openai.md
    "ollama": Preset("http://127.0.0.1:11434/v1"),
}

CONFIGURED: Final = ("local", "openai-compatible")
"""Providers that are wherever the environment says."""

PROVIDERS: Final = (*CONFIGURED, *PRESETS, "scripted")


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Where models are.

    Attributes:
        base_url: Of the providers `local` and `openai-compatible`.
        name: The model there; overrides the workflow's name for it.
        api_key: The key there.
        keys: Keys of presets, by provider.
    """

    base_url: str = ""
    name: str = ""
    api_key: str = field(default="", repr=False)
    keys: Mapping[str, str] | None = field(default=None, repr=False)

    @staticmethod
    def from_env(environ: Mapping[str, str]) -> ModelSettings:
        """Reads the settings from environment variables."""
        keys = {
            name: environ[preset.api_key_variable]
            for name, preset in PRESETS.items()
            if preset.api_key_variable and environ.get(preset.api_key_variable)
        }
        return ModelSettings(
            base_url=environ.get(BASE_URL, ""),
            name=environ.get(NAME, ""),
            api_key=environ.get(API_KEY, ""),
            keys=keys,
        )


@dataclass(frozen=True, slots=True)
class ModelFlag:
    """A model named on the command line: a provider, and a model there if one was given."""

    provider: str
    name: str | None = None


def parse_model_flag(text: str) -> ModelFlag:
    """Returns what `provider:name` or `provider` names.

    Raises:
        PermanentModelUnknown: There is no such provider.
    """
    provider, _, name = text.partition(":")
    if provider not in PROVIDERS:
        raise PermanentModelUnknown(
            f"no provider '{provider}'; there are {', '.join(PROVIDERS)}", provider=provider
        )
    return ModelFlag(provider, name or None)


class Registry:
    """Resolves models; implements `Models`.

    Args:
        settings: Where models are.
        cassette: When given, the script answers in place of every model.
        override: When given, this model answers in place of every model.
    """

    def __init__(
        self,
        settings: ModelSettings,
        *,
        cassette: Cassette | None = None,
        override: ModelFlag | None = None,
    ) -> None:
        self._settings = settings
        self._cassette = cassette
        self._override = override
        self._made: dict[str, Provider] = {}
        self._lock = threading.Lock()

    def resolve(self, ref: Mapping[str, Any]) -> tuple[Provider, str]:
        """Returns the provider and the name of the model that `{provider?, name?}` asks for.

        Raises:
            PermanentModelUnknown: There is no such provider, or no model is named.
        """
        if self._cassette is not None:
            return self.provider("scripted"), str(ref.get("name") or "scripted")
        provider = str(ref.get("provider") or DEFAULT_PROVIDER)
        name = ref.get("name")
        if self._override is not None:
            name = self._override.name or (name if provider == self._override.provider else None)
            provider = self._override.provider
        found = self.provider(provider)
        chosen = self._override.name if self._override else None
        if provider in CONFIGURED and self._settings.name and not chosen:
            name = self._settings.name
        if not name and provider == "scripted":
            name = "scripted"
        if not name:
            raise PermanentModelUnknown(
                f"no model is named for provider '{provider}'; set model.name or {NAME}"
            )
        return found, str(name)

    def provider(self, name: str) -> Provider:
        """Returns the one instance of a provider.

        Raises:
            PermanentModelUnknown: There is none of this name, or it is not configured.
        """
        with self._lock:
            if name not in self._made:
                self._made[name] = self._make(name)
            return self._made[name]

    def close(self) -> None:
        """Closes the connections of every provider that has been used."""
        with self._lock:
            for provider in self._made.values():
                close = getattr(provider, "close", None)
                if close:
                    close()
            self._made.clear()

    def _make(self, name: str) -> Provider:
        if name == "scripted":
            from joinery.llm.scripted import Scripted

            return Scripted(self._cassette)
        if name in PRESETS:
            preset = PRESETS[name]
            keys = self._settings.keys or {}
            return _compatible(name, preset.base_url, keys.get(name, ""), preset.max_tokens_field)
        if name not in CONFIGURED:
            raise PermanentModelUnknown(
                f"no provider '{name}'; there are {', '.join(PROVIDERS)}", provider=name
            )
        if not self._settings.base_url:
            raise PermanentModelUnknown(
                f"provider '{name}' is nowhere: set {BASE_URL}, or start a model with "
                "`joinery local up`",
                provider=name,
            )
        return _compatible(name, self._settings.base_url, self._settings.api_key)


def _compatible(
    name: str, base_url: str, api_key: str, max_tokens_field: str = "max_tokens"
) -> Provider:
    from joinery.llm.openai_compatible import OpenAICompatible

    return OpenAICompatible(
        name=name, base_url=base_url, api_key=api_key, max_tokens_field=max_tokens_field
    )
