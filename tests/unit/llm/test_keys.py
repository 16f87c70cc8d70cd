"""Keys: read late, kept for a while, replaced without a restart, never shown."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from kit.model_server import Answer, model_server

from joinery.llm.anthropic import Anthropic
from joinery.llm.gemini import Gemini
from joinery.llm.keys import (
    KEPT_S,
    VARIABLES,
    EnvironmentKeys,
    FixedKey,
    ProviderKey,
    StoredKeys,
)
from joinery.llm.openai_compatible import OpenAICompatible
from joinery.llm.presets import PRESETS
from joinery.llm.registry import PROVIDERS
from joinery.llm.types import CallContext, Message, ModelRequest
from joinery.model_errors import PermanentModelAuth

REQUEST = ModelRequest("m", (Message("user", "hi"),))


class Store:
    def __init__(self, **keys: str) -> None:
        self.keys, self.reads, self.now = keys, 0, 100.0

    def read(self) -> Mapping[str, str]:
        self.reads += 1
        return dict(self.keys)

    def as_keys(self, **environ: str) -> StoredKeys:
        return StoredKeys(
            self.read,
            where="put it under '{provider}' into the secret s",
            fallback=EnvironmentKeys(environ),
            clock=lambda: self.now,
        )


def call() -> CallContext:
    return CallContext("n", "", 1, time.monotonic() + 5)


def test_a_store_is_read_once_in_a_while_and_not_before_it_is_needed() -> None:
    store = Store(openai="one", anthropic="two")
    keys = store.as_keys()
    assert store.reads == 0
    assert [keys.key("openai"), keys.key("anthropic"), keys.key("gemini")] == ["one", "two", ""]
    assert store.reads == 1
    store.keys["openai"] = "three"
    store.now += KEPT_S - 1
    assert keys.key("openai") == "one"
    store.now += 1
    assert (keys.key("openai"), store.reads) == ("three", 2)


def test_what_the_store_lacks_comes_from_the_environment() -> None:
    keys = Store(openai="stored").as_keys(OPENAI_API_KEY="set", GOOGLE_API_KEY=" g ")
    assert (keys.key("openai"), keys.key("gemini")) == ("stored", "g")


def test_a_store_that_cannot_be_read_stops_only_those_that_need_a_key() -> None:
    def read() -> dict[str, str]:
        raise PermanentModelAuth("the secret cannot be read")

    keys = StoredKeys(
        read, where="put it under '{provider}' into the secret s", fallback=EnvironmentKeys({})
    )
    assert ProviderKey(keys, "local").read() == ""
    with pytest.raises(PermanentModelAuth, match="cannot be read"):
        ProviderKey(keys, "openai", needed=True).read()


def test_every_provider_behind_http_has_a_variable() -> None:
    assert set(VARIABLES) == set(PROVIDERS) - {"bedrock", "scripted"}


def test_a_key_that_was_replaced_is_found_within_the_same_call() -> None:
    store = Store(test="old")

    def behave(answer: Answer) -> None:
        if answer.headers["x-api-key"] != "new":
            answer.send(401, {"type": "error", "error": {"type": "authentication_error"}})
            return
        answer.begin()
        answer.raw(b'data: {"type": "content_block_delta", "index": 0, "delta": '
                   b'{"type": "text_delta", "text": "a"}}\n\n'
                   b'data: {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}\n\n'
                   b'data: {"type": "message_stop"}\n\n')  # fmt: skip

    with model_server(behave) as server:
        made = Anthropic(
            name="test", base_url=server.url, key=ProviderKey(store.as_keys(), "test", needed=True)
        )
        with pytest.raises(PermanentModelAuth, match="put it under 'test' into the secret s"):
            list(made.stream(REQUEST, call()))
        assert len(server.requests) == 1, "the same key is not tried twice"
        store.keys["test"] = "new"
        assert len(list(made.stream(REQUEST, call()))) == 2
        made.close()


def test_nothing_is_sent_without_a_key_that_is_needed() -> None:
    with model_server(lambda answer: answer.send(200, {})) as server:
        key = ProviderKey(EnvironmentKeys({}), "deepseek", needed=True)
        made = OpenAICompatible(
            name="deepseek", base_url=server.url, key=key, preset=PRESETS["deepseek"]
        )
        with pytest.raises(PermanentModelAuth, match="DEEPSEEK_API_KEY"):
            list(made.stream(REQUEST, call()))
        assert server.requests == []
        made.close()


@pytest.mark.parametrize(
    "bad", ["sk-\u00fc", "sk-a\nb", "sk-a\r\nx-evil: 1", "sk-\x00", "sk-\u2028b"]
)
def test_a_key_that_no_header_can_carry_is_refused_unshown(bad: str) -> None:
    with pytest.raises(PermanentModelAuth) as refused:
        ProviderKey(FixedKey(bad), "openai").read()
    assert bad not in str(refused.value)


@pytest.mark.parametrize("kind", [OpenAICompatible, Anthropic, Gemini])
def test_a_key_goes_without_the_space_around_it_and_never_with_a_line_break(kind: Any) -> None:
    store = Store(test=" \tsk-padded\r\n")
    with model_server(lambda answer: answer.send(401, {})) as server:
        key = ProviderKey(store.as_keys(), "test", needed=True)
        made = kind(name="test", base_url=server.url, key=key)
        with pytest.raises(PermanentModelAuth):
            list(made.stream(REQUEST, call()))
        (asked,) = server.requests
        sent = [value for value in asked.headers.values() if "sk-padded" in value]
        assert [value.removeprefix("Bearer ") for value in sent] == ["sk-padded"]
        store.keys["test"], store.now = "sk-a\r\nx-evil: 1", store.now + KEPT_S
        with pytest.raises(PermanentModelAuth, match="the secret s") as refused:
            list(made.stream(REQUEST, call()))
        assert "evil" not in f"{refused.value.message} {refused.value.details}"
        assert len(server.requests) == 1
        made.close()


def test_many_calls_that_are_refused_together_read_the_store_twice_at_most() -> None:
    looks, all_refused, reads = itertools.count(1), threading.Event(), []

    def clock() -> float:
        # The first key looks at it three times, each refusal once, who reads again twice.
        if next(looks) >= 3 + 20 + 2:
            all_refused.set()
        return time.monotonic()

    def read() -> Mapping[str, str]:
        reads.append(1)
        assert len(reads) == 1 or all_refused.wait(10)
        return {"test": "old"}

    fallback = EnvironmentKeys({})
    keys = StoredKeys(read, where="put it into the secret s", fallback=fallback, clock=clock)
    key = ProviderKey(keys, "test", needed=True)
    assert key.read() == "old"
    with ThreadPoolExecutor(20) as pool:
        assert {each.result() for each in [pool.submit(key.renew) for _ in range(20)]} == {"old"}
    assert len(reads) <= 1 + 2


def test_keys_do_not_show() -> None:
    shown = repr(ProviderKey(FixedKey("sk-secret"), "openai"))
    assert "sk-secret" not in shown
