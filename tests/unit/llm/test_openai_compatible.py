"""The OpenAI-compatible provider against real sockets: tokens, and every way it can go wrong."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kit.model_server import Answer, model_server

from joinery.errors import (
    NodeError,
    PermanentContextTooLong,
    PermanentModelAuth,
    PermanentModelRejected,
    PermanentModelUnknown,
    TransientModelRateLimited,
    TransientModelStream,
    TransientModelTimeout,
    TransientModelUnavailable,
)
from joinery.llm.openai_compatible import OpenAICompatible
from joinery.llm.timeouts import Timeouts
from joinery.llm.types import CallContext, Chunk, Finished, Message, ModelRequest, TextChunk

QUICK = Timeouts(connect=1, first_token=0.6, idle=0.4, ending=0.3, question=1)
REQUEST = ModelRequest(
    model="m", messages=(Message("system", "be brief"), Message("user", "hi 🙂")), max_tokens=5
)


@contextmanager
def provider(
    behave: Callable[[Answer], None], key: str = "", timeouts: Timeouts = QUICK
) -> Iterator[Any]:
    with model_server(behave) as server:
        made = OpenAICompatible(
            name="test", base_url=server.url, api_key=key, timeouts=timeouts, context_window=100
        )
        try:
            yield made, server
        finally:
            made.close()


def call(**more: Any) -> CallContext:
    return CallContext("n", "", 1, more.pop("deadline", time.monotonic() + 10), **more)


def ask(made: OpenAICompatible, request: ModelRequest = REQUEST, **more: Any) -> list[Chunk]:
    return list(made.stream(request, call(**more)))


def text(chunks: list[Chunk], stream: str = "text") -> str:
    return "".join(c.text for c in chunks if isinstance(c, TextChunk) and c.stream == stream)


def fine(answer: Answer) -> None:
    answer.begin()
    for word in ("Hel", "lo ", "🙂"):
        answer.chunk(word)
    answer.chunk(finish_reason="stop")
    answer.usage(11, 3)
    answer.done()


def test_tokens_arrive_one_by_one_with_usage_at_the_end() -> None:
    with provider(fine, "sk-secret") as (made, server):
        chunks = ask(made)
    assert [c.text for c in chunks[:-1]] == ["Hel", "lo ", "🙂"]
    assert chunks[-1] == Finished(chunks[-1].usage, "stop")
    assert (chunks[-1].usage.input_tokens, chunks[-1].usage.output_tokens) == (11, 3)
    assert not chunks[-1].usage.estimated
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer sk-secret"
    assert request.body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "hi 🙂"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 5,
    }


def test_the_first_token_does_not_wait_for_the_last() -> None:
    go_on = threading.Event()

    def slowly(answer: Answer) -> None:
        answer.begin()
        answer.chunk("first")
        assert go_on.wait(5)
        answer.chunk(" last", finish_reason="stop")
        answer.done()

    with provider(slowly) as (made, _):
        stream = made.stream(REQUEST, call(deadline=time.monotonic() + 10))
        assert next(stream) == TextChunk("first")
        go_on.set()
        assert text(list(stream)) == " last"


def test_a_schema_is_sent_as_response_format() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    with provider(fine) as (made, server):
        ask(made, ModelRequest(model="m", messages=REQUEST.messages, schema=schema))
    sent = server.requests[0].body["response_format"]
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["schema"] == schema


def test_characters_split_over_packets_and_escapes_are_whole() -> None:
    def split(answer: Answer) -> None:
        answer.begin()
        line = 'data: {"choices":[{"delta":{"content":"né 🙂"}}]}\n\n'.encode()
        for index in range(len(line)):
            answer.raw(line[index : index + 1])
        answer.raw(b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\n')
        answer.raw(b'data: {"choices":[{"delta":{"content":"\\ude00!"}}]}\n\n')
        answer.chunk(finish_reason="stop")

    with provider(split) as (made, _):
        assert text(ask(made)) == "né 🙂😀!"


def test_reasoning_is_a_stream_of_its_own() -> None:
    def thinks(answer: Answer) -> None:
        answer.begin()
        answer.chunk(delta={"reasoning_content": "hm"})
        answer.chunk("yes", finish_reason="length")

    with provider(thinks) as (made, _):
        chunks = ask(made)
    assert (text(chunks, "reasoning"), text(chunks)) == ("hm", "yes")
    assert chunks[-1].reason == "length"
    assert chunks[-1].usage.estimated


def status(code: int, body: Any, **headers: str) -> Callable[[Answer], None]:
    return lambda answer: answer.send(code, body, **headers)


def said(message: str, code: str = "") -> dict[str, Any]:
    return {"error": {"message": message, "code": code}}


@pytest.mark.parametrize(
    ("behave", "error", "word"),
    [
        (status(401, said("bad key sk-secret-key")), PermanentModelAuth, "401"),
        (status(403, said("no")), PermanentModelAuth, "403"),
        (status(404, said("no such model 'm'", "model_not_found")), PermanentModelUnknown, "m"),
        (status(400, said("temperature is too high")), PermanentModelRejected, "temperature"),
        (status(429, said("slow down"), retry_after="7"), TransientModelRateLimited, "429"),
        (status(500, said("boom")), TransientModelUnavailable, "500"),
        (status(503, {"weird": True}), TransientModelUnavailable, "503"),
        (
            status(
                400,
                said(
                    "maximum context length is 4097 tokens, however you requested 5000 tokens",
                    "context_length_exceeded",
                ),
            ),
            PermanentContextTooLong,
            "5",
        ),
    ],
)
def test_refusals(behave: Any, error: type[NodeError], word: str) -> None:
    with provider(behave, "sk-secret-key") as (made, _), pytest.raises(error) as raised:
        ask(made)
    assert word in str(raised.value.to_dict())
    assert "sk-secret-key" not in str(raised.value.to_dict())


def test_retry_after_is_told() -> None:
    limited = provider(status(429, said("x"), retry_after="7"))
    with limited as (made, _), pytest.raises(TransientModelRateLimited) as raised:
        ask(made)
    assert raised.value.details["retry_after_s"] == 7


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = OpenAICompatible(name="test", base_url=f"http://127.0.0.1:{port}/v1", timeouts=QUICK)
    try:
        with pytest.raises(TransientModelUnavailable) as raised:
            ask(made)
        assert str(port) in raised.value.message
    finally:
        made.close()


def _cut(answer: Answer) -> None:
    answer.begin()
    answer.chunk("half an ans")


def _reset(answer: Answer) -> None:
    _cut(answer)
    answer.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    answer.handler.connection.close()


def _malformed(answer: Answer) -> None:
    _cut(answer)
    answer.raw(b"data: {not json\n\n")
    answer.done()


def _error_inside(answer: Answer) -> None:
    _cut(answer)
    answer.raw(b"data: " + json.dumps(said("the GPU fell over")).encode() + b"\n\n")


@pytest.mark.parametrize("behave", [_cut, _reset, _malformed, _error_inside])
def test_streams_that_break(behave: Callable[[Answer], None]) -> None:
    with provider(behave) as (made, _):
        seen: list[Chunk] = []
        with pytest.raises(TransientModelStream):
            for chunk in made.stream(REQUEST, call()):
                seen.append(chunk)
    assert text(seen) == "half an ans"


def _silent(answer: Answer) -> None:
    answer.begin()
    answer.hang()


def _only_keep_alives(answer: Answer) -> None:
    answer.begin()
    for _ in range(40):
        answer.raw(b": ping\n\n")
        answer.chunk("")
        time.sleep(0.05)


def _stops_in_the_middle(answer: Answer) -> None:
    _cut(answer)
    answer.hang()


@pytest.mark.parametrize(
    ("behave", "phase"),
    [(_silent, "first_token"), (_only_keep_alives, "first_token"), (_stops_in_the_middle, "idle")],
)
def test_models_that_hang(behave: Callable[[Answer], None], phase: str) -> None:
    with provider(behave) as (made, server):
        began = time.monotonic()
        with pytest.raises(TransientModelTimeout) as raised:
            ask(made)
        assert time.monotonic() - began < 2
        assert raised.value.details["phase"] == phase
        assert server.closed.wait(2), "the connection was left open"


def test_the_deadline_of_the_node_comes_first() -> None:
    with provider(_silent) as (made, _), pytest.raises(TransientModelTimeout) as raised:
        ask(made, deadline=time.monotonic() + 0.2)
    assert raised.value.details["phase"] == "deadline"


def test_cancel_closes_the_connection_while_nothing_arrives() -> None:
    cancelled = threading.Event()
    threading.Timer(0.1, cancelled.set).start()
    with provider(_silent) as (made, server):
        began = time.monotonic()
        assert ask(made, cancelled=cancelled.is_set) == []
        assert time.monotonic() - began < 1
        assert server.closed.wait(2), "the server still works for nobody"


def test_a_reader_that_leaves_closes_the_connection() -> None:
    with provider(_stops_in_the_middle) as (made, server):
        stream = made.stream(REQUEST, call())
        next(iter(stream))
        stream.close()
        assert server.closed.wait(2)


def test_twenty_calls_at_once_share_one_client() -> None:
    with provider(fine, timeouts=Timeouts()) as (made, server):
        texts: list[str] = []
        threads = [
            threading.Thread(target=lambda: texts.append(text(ask(made)))) for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert texts == ["Hello 🙂"] * 20
        assert len(server.requests) == 20


@pytest.mark.parametrize(
    ("props", "models", "window"),
    [
        ({"default_generation_settings": {"n_ctx": 8192}}, None, 8192),
        (None, {"data": [{"id": "m", "max_model_len": 4096}]}, 4096),
        (None, {"data": [{"id": "m", "meta": {"n_ctx_train": 2048}}]}, 2048),
        (None, {"data": [{"id": "other", "max_model_len": 1}]}, None),
        (None, None, None),
    ],
)
def test_the_window_is_asked_for_once(props: Any, models: Any, window: int | None) -> None:
    def tells(answer: Answer) -> None:
        told = props if answer.path == "/props" else models
        answer.send(404 if told is None else 200, told or {})

    with model_server(tells) as server:
        made = OpenAICompatible(name="test", base_url=server.url, timeouts=QUICK)
        try:
            assert made.context_window("m") == window
            asked = len(server.requests)
            assert made.context_window("m") == window
            assert len(server.requests) == asked
        finally:
            made.close()
