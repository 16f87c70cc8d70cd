"""Anthropic's Messages API on the wire."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from kit.wires import (
    CLOCK,
    KEY,
    PIXEL,
    SCHEMA,
    WEATHER,
    answer_of,
    asked,
    at,
    body_of,
    call,
    conversation,
    refuses,
    says,
)

from joinery.errors import NodeError
from joinery.llm.anthropic import MAX_TOKENS, Anthropic
from joinery.llm.types import Media, Message, TextChunk, Usage
from joinery.model_errors import (
    PermanentContextTooLong,
    PermanentMediaUnsupported,
    PermanentModelAuth,
    PermanentModelQuota,
    PermanentModelRejected,
    PermanentModelUnknown,
    TransientModelRateLimited,
    TransientModelStream,
    TransientModelUnavailable,
)


def start(**usage: int) -> dict[str, Any]:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": []}
    return {"type": "message_start", "message": {**message, "usage": usage}}


def begin(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    block = {"type": kind, **fields}
    return {"type": "content_block_start", "index": index, "content_block": block}


def more(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    delta = {"type": f"{kind}_delta", **fields}
    return {"type": "content_block_delta", "index": index, "delta": delta}


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def end(reason: str, **usage: int) -> list[Any]:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return [{"type": "message_delta", "delta": delta, "usage": usage}, {"type": "message_stop"}]


def stream(*events: Any) -> Any:
    return says(*events, named=True)


FINE = stream(
    start(input_tokens=9, output_tokens=1),
    begin(0, "text", text=""),
    {"type": "ping"},
    more(0, "text", text="ok"),
    stop(0),
    *end("end_turn", output_tokens=2),
)

THINKS_AND_CALLS = stream(
    start(input_tokens=20, cache_read_input_tokens=70, cache_creation_input_tokens=10,
          output_tokens=3),
    begin(0, "thinking", thinking="", signature=""),
    more(0, "thinking", thinking="Two "),
    more(0, "thinking", thinking="calls."),
    more(0, "signature", signature="EqQBCg=="),
    stop(0),
    begin(1, "redacted_thinking", data="abc"),
    stop(1),
    begin(2, "text", text=""),
    more(2, "text", text="Let me see."),
    stop(2),
    begin(3, "tool_use", id="toolu_a", name="weather", input={}),
    begin(4, "tool_use", id="toolu_b", name="clock", input={}),
    more(3, "input_json", partial_json=""),
    more(3, "input_json", partial_json='{"city": "Pa'),
    more(4, "input_json", partial_json="{}"),
    more(3, "input_json", partial_json='ris"}'),
    stop(3),
    stop(4),
    *end("tool_use", output_tokens=57),
)  # fmt: skip


def test_two_calls_interleaved_with_thinking_and_usage() -> None:
    heard = answer_of(Anthropic, THINKS_AND_CALLS, tools=(WEATHER, CLOCK))
    calls = [("toolu_a", "weather", '{"city": "Paris"}'), ("toolu_b", "clock", "{}")]
    assert heard.whole() == heard.rebuilt() == calls
    assert [p.index for p in heard.pieces][:2] == [0, 1]
    assert (heard.text("reasoning"), heard.text()) == ("Two calls.", "Let me see.")
    assert heard.end.reason == "tool_calls"
    assert heard.end.usage == Usage(100, 57, cached_tokens=70)


def test_thinking_goes_back_word_for_word_before_its_calls() -> None:
    made = answer_of(Anthropic, THINKS_AND_CALLS, tools=(WEATHER, CLOCK)).end.tool_calls
    sent = body_of(Anthropic, FINE, messages=conversation(made[0].opaque))["messages"]
    assert [m["role"] for m in sent] == ["user", "assistant", "user"]
    assert sent[1]["content"] == [
        {"type": "thinking", "thinking": "Two calls.", "signature": "EqQBCg=="},
        {"type": "redacted_thinking", "data": "abc"},
        {"type": "text", "text": "let me see"},
        {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Paris"}},
        {"type": "tool_use", "id": "c2", "name": "clock", "input": {}},
    ]
    first, second = sent[2]["content"]
    assert (first["tool_use_id"], first.get("is_error")) == ("c1", None)
    assert (second["tool_use_id"], second["is_error"]) == ("c2", True)


def test_thinking_of_another_maker_is_left_out() -> None:
    from joinery.llm.tool_calls import pack_opaque

    sent = body_of(Anthropic, FINE, messages=conversation(pack_opaque("gemini", "sig")))
    assert sent["messages"][1]["content"][0]["type"] == "text"


def test_what_is_asked() -> None:
    heard = answer_of(
        Anthropic, FINE, temperature=0.5, stop=("x",), tools=(WEATHER,), tool_choice="required"
    )
    sent = heard.asked.body
    assert (heard.asked.path, heard.asked.headers["x-api-key"]) == ("/v1/messages", KEY)
    assert heard.asked.headers["anthropic-version"] == "2023-06-01"
    assert (sent["system"], sent["max_tokens"]) == ("be brief", MAX_TOKENS)
    assert sent["stop_sequences"] == ["x"]
    assert sent["tool_choice"] == {"type": "any"}
    assert sent["tools"][0]["input_schema"] == WEATHER.parameters


def test_a_schema_is_a_forced_call_whose_arguments_are_the_answer() -> None:
    behave = stream(
        start(input_tokens=9),
        begin(0, "tool_use", id="t", name="answer", input={}),
        more(0, "input_json", partial_json='{"score"'),
        more(0, "input_json", partial_json=": 7}"),
        stop(0),
        *end("tool_use", output_tokens=8),
    )
    heard = answer_of(Anthropic, behave, schema=SCHEMA)
    assert heard.text() == '{"score": 7}'
    assert (heard.end.tool_calls, heard.end.reason) == ((), "stop")
    assert heard.asked.body["tool_choice"] == {"type": "tool", "name": "answer"}


def test_a_model_that_thinks_is_not_forced() -> None:
    old = body_of(Anthropic, FINE, model="claude-sonnet-4-5", reasoning="low", schema=SCHEMA)
    assert old["thinking"] == {"type": "enabled", "budget_tokens": 1024}
    assert old["max_tokens"] == MAX_TOKENS + 1024
    form = old["output_config"]["format"]
    assert form["schema"]["properties"]["score"] == {"type": "integer"}  # bounds are checked here
    new = body_of(Anthropic, FINE, model="claude-opus-4-7", reasoning="high")
    assert new["thinking"]["type"] == "adaptive"
    assert new["output_config"] == {"effort": "high"}
    off = body_of(Anthropic, FINE, reasoning="none")
    assert off["thinking"] == {"type": "disabled"}


def test_images_and_documents_are_blocks() -> None:
    files = (
        Media("image/png", PIXEL),
        Media("application/pdf", b"%PDF-1", "b.pdf"),
        Media("text/plain", b"words", "c.txt"),
    )
    messages = (Message("user", "what?", media=files),)
    blocks = body_of(Anthropic, FINE, messages=messages)["messages"][0]["content"]
    assert [b["type"] for b in blocks] == ["image", "document", "document", "text"]
    assert base64.b64decode(blocks[0]["source"]["data"]) == PIXEL
    assert blocks[1]["title"] == "b.pdf"
    assert blocks[2]["source"] == {"type": "text", "media_type": "text/plain", "data": "words"}
    sheet = (Message("user", "?", media=(Media("application/zip", b"PK"),)),)
    with at(Anthropic, FINE) as (made, _), pytest.raises(PermanentMediaUnsupported, match="zip"):
        list(made.stream(asked(messages=sheet), call()))


def problem(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, problem("authentication_error", f"invalid x-api-key {KEY}"), PermanentModelAuth),
        (403, problem("permission_error", "not allowed"), PermanentModelAuth),
        (400, problem("invalid_request_error", "Your credit balance is too low to access the "
                      "Anthropic API."), PermanentModelQuota),
        (402, problem("billing_error", "pay"), PermanentModelQuota),
        (404, problem("not_found_error", "model: m-1"), PermanentModelUnknown),
        (429, problem("rate_limit_error", "slow down"), TransientModelRateLimited),
        (500, problem("api_error", "oops"), TransientModelUnavailable),
        (529, problem("overloaded_error", "Overloaded"), TransientModelUnavailable),
        (400, problem("invalid_request_error", "prompt is too long: 200251 tokens > 200000 "
                      "maximum"), PermanentContextTooLong),
        (400, problem("invalid_request_error", "temperature: range"), PermanentModelRejected),
    ],
)  # fmt: skip
def test_errors_are_named(status: int, body: Any, kind: type[NodeError]) -> None:
    with at(Anthropic, refuses(status, body)) as (made, _), pytest.raises(kind) as caught:
        list(made.stream(asked(), call()))
    assert type(caught.value) is kind
    assert KEY not in f"{caught.value.message} {caught.value.details}"


def test_an_overload_is_told_within_the_stream() -> None:
    overloaded = problem("overloaded_error", "Overloaded")
    early = stream(start(input_tokens=1), overloaded)
    with at(Anthropic, early) as (made, _), pytest.raises(TransientModelUnavailable):
        list(made.stream(asked(), call()))
    words = [start(input_tokens=1), begin(0, "text", text=""), more(0, "text", text="a")]
    with at(Anthropic, stream(*words, overloaded)) as (made, _):
        answer = made.stream(asked(), call())
        assert next(answer) == TextChunk("a")
        with pytest.raises(TransientModelStream, match="Overloaded"):
            list(answer)


@pytest.mark.parametrize("bad", ["data: {\n\n", "event: content_block_delta\ndata: 3\n\n", ""])
def test_streams_that_break(bad: str) -> None:
    behave = stream(start(input_tokens=1), begin(0, "text", text="a"), bad)
    with at(Anthropic, behave) as (made, _), pytest.raises(TransientModelStream):
        list(made.stream(asked(), call()))


def test_a_refusal_is_no_answer() -> None:
    behave = stream(start(input_tokens=1), *end("refusal", output_tokens=0))
    with at(Anthropic, behave) as (made, _), pytest.raises(PermanentModelRejected):
        list(made.stream(asked(), call()))


def test_events_that_are_new_are_passed_over() -> None:
    behave = stream(
        start(input_tokens=1),
        {"type": "something_new", "index": 0},
        begin(0, "server_tool_use", id="s", name="web_search", input={}),
        begin(1, "text", text="fine"),
        *end("max_tokens", output_tokens=1),
    )
    heard = answer_of(Anthropic, behave)
    assert (heard.text(), heard.end.reason) == ("fine", "length")
    assert heard.end.tool_calls == ()
