"""The OpenAI-compatible provider against real sockets: tokens, and every way it can go wrong."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import ThreadingHTTPServer
from typing import Any

import pytest
from kit.model_server import Answer, model_server

from joinery.errors import NodeError
from joinery.llm.openai_compatible import OpenAICompatible
from joinery.llm.timeouts import Timeouts
from joinery.llm.types import CallContext, Chunk, Finished, Message, ModelRequest, TextChunk
from joinery.model_errors import (
    PermanentContextTooLong,
    PermanentModelAuth,
    PermanentModelRejected,
    PermanentModelUnknown,
    TransientModelRateLimited,
    TransientModelStream,
    TransientModelTimeout,
    TransientModelUnavailable,
)

QUICK = Timeouts(connect=1, first_token=0.6, idle=0.4, ending=0.3, question=1)
PATIENT = Timeouts(connect=10, first_token=10, idle=10, ending=0.3, question=10)
"""For what is not about time: a machine with other work may stand still for a second."""
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
    with provider(fine, "sk-secret", timeouts=PATIENT) as (made, server):
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

    with provider(slowly, timeouts=PATIENT) as (made, _):
        stream = made.stream(REQUEST, call(deadline=time.monotonic() + 10))
        assert next(stream) == TextChunk("first")
        go_on.set()
        assert text(list(stream)) == " last"


def test_a_schema_is_sent_as_response_format() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    with provider(fine, timeouts=PATIENT) as (made, server):
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

    with provider(split, timeouts=PATIENT) as (made, _):
        assert text(ask(made)) == "né 🙂😀!"


def test_reasoning_is_a_stream_of_its_own() -> None:
    def thinks(answer: Answer) -> None:
        answer.begin()
        answer.chunk(delta={"reasoning_content": "hm"})
        answer.chunk("yes", finish_reason="length")

    with provider(thinks, timeouts=PATIENT) as (made, _):
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


@pytest.mark.parametrize("value", ["7", "date", "soon", "-3", "nan", "1e999"])
def test_retry_after_is_told(value: str) -> None:
    header = format_datetime(datetime.now(UTC) + timedelta(seconds=7)) if value == "date" else value
    limited = provider(status(429, said("x"), retry_after=header))
    with limited as (made, _), pytest.raises(TransientModelRateLimited) as raised:
        ask(made)
    seconds = raised.value.details.get("retry_after_s")
    expected = {"7": 7, "date": pytest.approx(6, abs=1.1), "-3": 0}
    assert seconds == expected.get(value)


@pytest.mark.parametrize(
    ("error", "sizes"),
    [
        (
            {"message": "The input token count (1048580) exceeds the maximum (1048576)."},
            (1048580, 1048576),
        ),
        ({"message": "maximum context length is 4,096 tokens; you asked for 5,002"}, (5002, 4096)),
        (
            {"type": "exceed_context_size_error", "n_prompt_tokens": 9031, "n_ctx": 8192},
            (9031, 8192),
        ),
        ({"code": "context_length_exceeded", "message": "too long"}, (None, None)),
    ],
)
def test_both_sizes_of_a_prompt_that_is_too_long_are_named(
    error: dict[str, Any], sizes: tuple[int, int]
) -> None:
    refuses = provider(status(400, {"error": error}))
    with refuses as (made, _), pytest.raises(PermanentContextTooLong) as raised:
        ask(made)
    told = raised.value.details
    assert (told.get("prompt_tokens"), told.get("window_tokens")) == sizes


def test_a_model_that_lacks_a_setting_is_not_unknown() -> None:
    error = {"message": "'seed' is not supported with model m", "param": "seed"}
    refuses = provider(status(400, {"error": error}))
    with refuses as (made, _), pytest.raises(PermanentModelRejected, match="seed"):
        ask(made)


@pytest.mark.parametrize(
    "url", ["ftp://host/v1", "host:80", "http://", "http://h:99999/v1", "http://h:x/v1", "http://["]
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(PermanentModelUnknown, match="http"):
        OpenAICompatible(name="test", base_url=url)


def test_half_characters_of_a_prompt_do_not_break_the_call() -> None:
    with provider(fine, timeouts=PATIENT) as (made, server):
        ask(made, ModelRequest("m", (Message("user", "a\ud83d b"),), stop=("\ude00",)))
    assert server.requests[0].body["messages"][0]["content"] == "a\ufffd b"


@pytest.mark.parametrize("reason", ["stop", None])
def test_an_end_that_never_closes_is_still_an_end(reason: str | None) -> None:
    def lingers(answer: Answer) -> None:
        answer.begin()
        answer.chunk("all", finish_reason=reason)
        if reason is None:
            answer.done()
        answer.hang()

    with provider(lingers) as (made, server):
        chunks = ask(made)
        assert server.closed.wait(2)
    assert text(chunks) == "all"
    assert isinstance(chunks[-1], Finished)


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
    with provider(_silent, timeouts=PATIENT) as (made, server):
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


def test_twenty_calls_at_once_share_one_client(monkeypatch: pytest.MonkeyPatch) -> None:
    # With the usual backlog of 5, the kernel resets some of twenty connections at once.
    monkeypatch.setattr(ThreadingHTTPServer, "request_queue_size", 64)
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


def test_threads_that_ask_for_the_window_together_ask_once() -> None:
    def tells(answer: Answer) -> None:
        time.sleep(0.1)
        answer.send(200, {"default_generation_settings": {"n_ctx": 77}})

    with model_server(tells) as server:
        made = OpenAICompatible(name="test", base_url=server.url, timeouts=QUICK)
        try:
            with ThreadPoolExecutor(8) as pool:
                assert set(pool.map(made.context_window, ["m"] * 8)) == {77}
            assert len(server.requests) == 1
        finally:
            made.close()


def test_a_server_that_does_not_tell_the_window_in_time_is_left_alone() -> None:
    with model_server(lambda answer: answer.hang()) as server:
        made = OpenAICompatible(name="test", base_url=server.url, timeouts=Timeouts(question=0.2))
        try:
            began = time.monotonic()
            assert [made.context_window("m"), made.context_window("m")] == [None, None]
            assert time.monotonic() - began < 1
            assert len(server.requests) == 1
        finally:
            made.close()
