"""Which provider answers: lazily made, once each, as the settings say."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
from kit.model_server import Answer, model_server

from joinery.llm.keys import EnvironmentKeys, FixedKey
from joinery.llm.registry import (
    PROVIDERS,
    ModelFlag,
    ModelSettings,
    Registry,
    parse_model_flag,
    provider_of,
)
from joinery.llm.scripted import Cassette, Scripted
from joinery.llm.types import CallContext, Message, ModelRequest
from joinery.model_errors import (
    PermanentEmbeddingsUnsupported,
    PermanentModelAuth,
    PermanentModelUnknown,
)

SETTINGS = ModelSettings(base_url="http://127.0.0.1:1/v1", name="here")


def test_each_provider_is_made_once_under_fifty_threads() -> None:
    registry = Registry(SETTINGS)
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda: found.append(registry.provider("local"))) for _ in range(50)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 50
    assert len({id(provider) for provider in found}) == 1
    registry.close()


def test_the_environment_names_the_local_model() -> None:
    registry = Registry(SETTINGS)
    assert registry.resolve({"provider": "local", "name": "in the file"})[1] == "here"
    assert registry.resolve({})[1] == "here"
    unnamed = Registry(ModelSettings(base_url="http://127.0.0.1:1/v1"))
    assert unnamed.resolve({"name": "in the file"})[1] == "in the file"
    assert unnamed.resolve({"provider": "openai", "name": "gpt-4o"})[0].name == "openai"


def test_a_flag_answers_in_place_of_every_model() -> None:
    registry = Registry(SETTINGS, override=ModelFlag("openai", "gpt-4o"))
    provider, name = registry.resolve({"provider": "local", "name": "x"})
    assert (provider.name, name) == ("openai", "gpt-4o")
    kept = Registry(SETTINGS, override=ModelFlag("openai"))
    assert kept.resolve({"provider": "openai", "name": "gpt-4o"})[1] == "gpt-4o"
    with pytest.raises(PermanentModelUnknown, match="no model is named"):
        kept.resolve({"provider": "local", "name": "x"})


def test_a_cassette_answers_in_place_of_every_model() -> None:
    registry = Registry(ModelSettings(), cassette=Cassette())
    assert registry.resolve({"provider": "openai", "name": "gpt-4o"})[0].name == "scripted"


@pytest.mark.parametrize(
    ("provider", "word"), [("nope", "there are"), ("local", "JOINERY_MODEL_BASE_URL")]
)
def test_providers_that_are_not_there(provider: str, word: str) -> None:
    with pytest.raises(PermanentModelUnknown, match=word):
        Registry(ModelSettings()).resolve({"provider": provider, "name": "x"})


def test_settings_come_from_the_environment() -> None:
    settings = ModelSettings.from_env(
        {"JOINERY_MODEL_BASE_URL": "u", "JOINERY_MODEL_NAME": "n",
         "JOINERY_MODEL_BASE_URLS": "vllm=http://gpu:8000/v1, google=http://proxy/v1beta"}
    )  # fmt: skip
    urls = {"vllm": "http://gpu:8000/v1", "gemini": "http://proxy/v1beta"}
    assert settings == ModelSettings("u", "n", urls)


@pytest.mark.parametrize(
    ("ref", "provider"),
    [
        ({"provider": "siliconflow", "name": "Qwen/Qwen2.5-72B-Instruct"}, "siliconflow"),
        ({"provider": "openrouter", "name": "anthropic/claude-opus-4"}, "openrouter"),
        ({"provider": "openai-compatible", "name": "gpt-4o"}, "openai-compatible"),
        ({"provider": "Bedrock", "name": "claude-x"}, "bedrock"),
        ({"provider": "claude", "name": "x"}, "anthropic"),
        ({"name": "gpt-4o"}, "openai"),
        ({"name": "claude-opus-4-1"}, "anthropic"),
        ({"name": "gemini-2.5-pro"}, "gemini"),
        ({"name": "Qwen/Qwen2.5-72B-Instruct"}, "local"),
        ({"name": "anthropic/claude-opus-4"}, "local"),
        ({"name": "gpt-oss-20b"}, "local"),
        ({"name": "smollm2"}, "local"),
        ({}, "local"),
    ],
)
def test_what_is_said_wins_over_what_a_name_looks_like(ref: dict[str, str], provider: str) -> None:
    assert provider_of(ref) == provider


def test_every_provider_is_made_of_its_name_alone() -> None:
    registry = Registry(SETTINGS, keys=FixedKey("k"), makers={"bedrock": Scripted})
    made = {name: registry.provider(name) for name in PROVIDERS}
    assert len({id(each) for each in made.values()}) == len(PROVIDERS)
    assert made["deepseek"].base_url == "https://api.deepseek.com"
    assert made["gemini"].base_url == "https://generativelanguage.googleapis.com/v1beta"
    assert registry.provider("google") is made["gemini"]
    elsewhere = Registry(ModelSettings(base_urls={"anthropic": "http://proxy:1/v1"}))
    assert elsewhere.provider("anthropic").base_url == "http://proxy:1/v1"
    registry.close()


def test_two_agents_on_two_providers_ask_two_servers() -> None:
    with model_server(_hello) as one, model_server(_hello) as two:
        urls = {"vllm": one.url, "ollama": two.url}
        registry = Registry(ModelSettings(base_urls=urls))
        for _ in range(2):
            for provider in urls:
                found, name = registry.resolve({"provider": provider, "name": f"of-{provider}"})
                list(found.stream(ModelRequest(name, (Message("user", "hi"),)), _call()))
        registry.close()
        asked = [[r.body["model"] for r in s.requests if r.body] for s in (one, two)]
        assert asked == [["of-vllm"] * 2, ["of-ollama"] * 2]


def test_a_key_that_is_missing_says_where_to_put_it() -> None:
    registry = Registry(ModelSettings(), keys=EnvironmentKeys({}))
    for provider, word in {"openai": "OPENAI_API_KEY", "gemini": "GOOGLE_API_KEY"}.items():
        found, name = registry.resolve({"provider": provider, "name": "x"})
        with pytest.raises(PermanentModelAuth, match=word):
            list(found.stream(ModelRequest(name, (Message("user", "hi"),)), _call()))
    registry.close()


def test_bedrock_needs_an_account() -> None:
    with pytest.raises(PermanentModelUnknown, match="AWS account"):
        Registry(ModelSettings()).resolve({"provider": "bedrock", "name": "x"})


def test_an_alias_that_was_not_found_fails_when_it_is_used() -> None:
    registry = Registry(SETTINGS)
    with pytest.raises(PermanentModelUnknown, match="no entry for the stage"):
        registry.resolve({"missing": "the alias 'fast' has no entry for the stage 'dev'"})
    assert Registry(SETTINGS, cassette=Cassette()).resolve({"missing": "?"})[1] == "scripted"


@pytest.mark.parametrize("provider", ["deepseek", "anthropic"])
def test_providers_without_embeddings_say_so_before_any_call(provider: str) -> None:
    registry = Registry(ModelSettings(), keys=FixedKey("k"))
    with pytest.raises(PermanentEmbeddingsUnsupported, match="openai"):
        registry.embedder({"provider": provider, "name": "e"})
    assert registry.embedder({"provider": "openai", "name": "e"})[1] == "e"


def _hello(answer: Answer) -> None:
    if answer.body is None:
        answer.send(404, {})
        return
    answer.begin()
    answer.chunk("hello")
    answer.chunk(finish_reason="stop")
    answer.done()


def _call() -> CallContext:
    return CallContext("n", "", 1, time.monotonic() + 5)


def test_flags() -> None:
    assert parse_model_flag("openai:org/model:tag") == ModelFlag("openai", "org/model:tag")
    assert parse_model_flag("scripted") == ModelFlag("scripted")
    with pytest.raises(PermanentModelUnknown):
        parse_model_flag("gpt-4o")


def test_asking_for_a_registry_imports_little() -> None:
    code = (
        "import sys, joinery.llm.registry, joinery.llm.scripted;"
        "print([m for m in ('httpx', 'pydantic', 'ruamel.yaml', 'boto3') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
