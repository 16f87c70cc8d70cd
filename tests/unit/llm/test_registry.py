"""Which provider answers: lazily made, once each, as the settings say."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from joinery.llm.registry import ModelFlag, ModelSettings, Registry, parse_model_flag
from joinery.llm.scripted import Cassette
from joinery.model_errors import PermanentModelUnknown

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
        {"JOINERY_MODEL_BASE_URL": "u", "JOINERY_MODEL_NAME": "n", "JOINERY_MODEL_API_KEY": "k",
         "OPENAI_API_KEY": "o"}
    )  # fmt: skip
    assert settings == ModelSettings("u", "n", "k", {"openai": "o"})


def test_settings_do_not_show_their_keys() -> None:
    keys = {"JOINERY_MODEL_API_KEY": "sk-one", "OPENAI_API_KEY": "sk-two"}
    assert "sk-" not in repr(ModelSettings.from_env(keys))


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
