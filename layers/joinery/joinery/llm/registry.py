"""Finds the provider that a node's model names; each is made once, when it is first asked for."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from joinery.llm.keys import EnvironmentKeys, Keys, ProviderKey
from joinery.llm.presets import CUSTOM, PRESETS
from joinery.model_errors import PermanentEmbeddingsUnsupported, PermanentModelUnknown

if TYPE_CHECKING:
    from joinery.llm.scripted import Cassette
    from joinery.llm.types import Embedder, Provider

BASE_URL: Final = "JOINERY_MODEL_BASE_URL"
NAME: Final = "JOINERY_MODEL_NAME"
API_KEY: Final = "JOINERY_MODEL_API_KEY"
BASE_URLS: Final = "JOINERY_MODEL_BASE_URLS"

DEFAULT_PROVIDER: Final = "local"

CONFIGURED: Final = ("local", "openai-compatible")
"""Providers that are wherever the environment says."""

PROVIDERS: Final = (*CONFIGURED, *PRESETS, "anthropic", "gemini", "bedrock", "scripted")

_ALSO_CALLED: Final[Mapping[str, str]] = {
    "claude": "anthropic",
    "google": "gemini",
    "llamacpp": "llama.cpp",
    "llama-cpp": "llama.cpp",
}

# Names that no two providers share. Repo-style ids (`Qwen/…`) are served by many.
_VENDORS: Final = (("gpt-", "openai"), ("claude-", "anthropic"), ("gemini-", "gemini"))
_OPEN_WEIGHTS: Final = ("gpt-oss", "gpt-neo", "gpt-j")


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Where models are.

    Attributes:
        base_url: Of the providers `local` and `openai-compatible`.
        name: The model there; overrides the workflow's name for it.
        base_urls: Of other providers, by name, where they are not at their usual place.
    """

    base_url: str = ""
    name: str = ""
    base_urls: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def from_env(environ: Mapping[str, str]) -> ModelSettings:
        """Reads the settings from environment variables.

        `JOINERY_MODEL_BASE_URLS` is `provider=address`, several with commas between them.
        """
        urls: dict[str, str] = {}
        for part in environ.get(BASE_URLS, "").split(","):
            name, sign, url = part.partition("=")
            if sign:
                urls[provider_name(name)] = url.strip()
        return ModelSettings(environ.get(BASE_URL, ""), environ.get(NAME, ""), urls)


@dataclass(frozen=True, slots=True)
class ModelFlag:
    """A model named on the command line: a provider, and a model there if one was given."""

    provider: str
    name: str | None = None


def provider_name(text: str) -> str:
    """Returns the name of a provider as it is known here: small letters, other names resolved."""
    name = text.strip().lower()
    return _ALSO_CALLED.get(name, name)


def provider_of(ref: Mapping[str, Any]) -> str:
    """Returns the provider that a ref asks for.

    What is named explicitly counts. Without it the model's name decides if it can only be
    one maker's (`gpt-…`, `claude-…`, `gemini-…`); everything else is `local`.
    """
    said = ref.get("provider")
    if said:
        return provider_name(str(said))
    name = str(ref.get("name") or "").strip().lower()
    if "/" not in name and not name.startswith(_OPEN_WEIGHTS):
        for prefix, provider in _VENDORS:
            if name.startswith(prefix):
                return provider
    return DEFAULT_PROVIDER


def parse_model_flag(text: str) -> ModelFlag:
    """Returns what `provider:name` or `provider` names.

    Raises:
        PermanentModelUnknown: There is no such provider.
    """
    provider, _, name = text.partition(":")
    known = provider_name(provider)
    if known not in PROVIDERS:
        raise _unknown(provider)
    return ModelFlag(known, name or None)


def _unknown(provider: str) -> PermanentModelUnknown:
    return PermanentModelUnknown(
        f"no provider '{provider}'; there are {', '.join(PROVIDERS)}", provider=provider
    )


class Registry:
    """Resolves models; implements `Models`.

    Args:
        settings: Where models are.
        cassette: When given, the script answers in place of every model.
        override: When given, this model answers in place of every model.
        keys: Where the keys are; the environment when nothing is given.
        makers: What makes providers that need more than HTTP, by name.
    """

    def __init__(
        self,
        settings: ModelSettings,
        *,
        cassette: Cassette | None = None,
        override: ModelFlag | None = None,
        keys: Keys | None = None,
        makers: Mapping[str, Callable[[], Provider]] | None = None,
    ) -> None:
        self._settings = settings
        self._cassette = cassette
        self._override = override
        self._keys = keys or EnvironmentKeys(os.environ)
        self._makers = dict(makers or {})
        self._made: dict[str, Provider] = {}
        self._lock = threading.Lock()

    def resolve(self, ref: Mapping[str, Any]) -> tuple[Provider, str]:
        """Returns the provider and the name of the model that `{provider?, name?}` asks for.

        Raises:
            PermanentModelUnknown: There is no such provider, or no model is named.
        """
        if self._cassette is not None:
            return self.provider("scripted"), str(ref.get("name") or "scripted")
        if ref.get("missing") and self._override is None:
            raise PermanentModelUnknown(str(ref["missing"]))
        provider = provider_of(ref)
        name = ref.get("name")
        if self._override is not None:
            name = self._override.name or (name if provider == self._override.provider else None)
            provider = self._override.provider
        found = self.provider(provider)
        chosen = self._override.name if self._override else None
        if provider in CONFIGURED and self._settings.name and not chosen:
            name = self._settings.name
        return found, self._named(provider, name)

    def embedder(self, ref: Mapping[str, Any]) -> tuple[Embedder, str]:
        """Returns what makes the embeddings that `{provider?, name}` asks for.

        A cassette or an override for answers does not change it: vectors of two models do
        not mix.

        Raises:
            PermanentModelUnknown: There is no such provider, or no model is named.
            PermanentEmbeddingsUnsupported: The provider has none.
        """
        provider = provider_of(ref)
        found: Any = self.provider(provider)
        preset = PRESETS.get(provider)
        if (
            not hasattr(found, "embed")
            or provider == "anthropic"
            or (preset is not None and not preset.embeddings)
        ):
            able = [n for n in PROVIDERS if n not in ("anthropic", "deepseek")]
            raise PermanentEmbeddingsUnsupported(
                f"provider '{provider}' has no embeddings; these have: {', '.join(able)}",
                provider=provider,
            )
        name = ref.get("name")
        if not name and provider in CONFIGURED:
            name = self._settings.name
        return found, self._named(provider, name)

    def provider(self, name: str) -> Provider:
        """Returns the one instance of a provider.

        Raises:
            PermanentModelUnknown: There is none of this name, or it is not configured.
        """
        name = provider_name(name)
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

    def _named(self, provider: str, name: Any) -> str:
        if not name and provider == "scripted":
            return "scripted"
        if not name:
            raise PermanentModelUnknown(
                f"no model is named for provider '{provider}'; set model.name or {NAME}"
            )
        return str(name)

    def _make(self, name: str) -> Provider:
        if name in self._makers:
            return self._makers[name]()
        if name == "scripted":
            from joinery.llm.scripted import Scripted

            return Scripted(self._cassette)
        if name not in PROVIDERS:
            raise _unknown(name)
        if name == "bedrock":
            raise PermanentModelUnknown(
                "provider 'bedrock' needs an AWS account, and none is set up here", provider=name
            )
        return self._over_http(name)

    def _over_http(self, name: str) -> Provider:
        url = self._settings.base_urls.get(name, "")
        key = ProviderKey(self._keys, name, needed=name in ("anthropic", "gemini"))
        if name == "anthropic":
            from joinery.llm.anthropic import BASE_URL as ANTHROPIC
            from joinery.llm.anthropic import Anthropic

            return Anthropic(name=name, base_url=url or ANTHROPIC, key=key)
        if name == "gemini":
            from joinery.llm.gemini import BASE_URL as GEMINI
            from joinery.llm.gemini import Gemini

            return Gemini(name=name, base_url=url or GEMINI, key=key)
        from joinery.llm.openai_compatible import OpenAICompatible

        preset = PRESETS.get(name, CUSTOM)
        url = url or preset.base_url or self._settings.base_url
        if not url:
            raise PermanentModelUnknown(
                f"provider '{name}' is nowhere: set {BASE_URL}, or start a model with "
                "`joinery local up`",
                provider=name,
            )
        key = ProviderKey(self._keys, name, needed=preset.key_needed)
        return OpenAICompatible(name=name, base_url=url, key=key, preset=preset)
