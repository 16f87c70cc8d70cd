"""Tool calls, reasoning, usage, schemas and errors of OpenAI-compatible endpoints, on the wire."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
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
from joinery.llm.openai_compatible import OpenAICompatible
from joinery.llm.presets import PRESETS
from joinery.llm.types import Media, Message, TextChunk, Usage
from joinery.model_errors import (
    PermanentContextTooLong,
    PermanentEmbeddingsUnsupported,
    PermanentMediaUnsupported,
    PermanentModelAuth,
    PermanentModelQuota,
    PermanentModelRejected,
    PermanentModelUnknown,
    TransientModelRateLimited,
    TransientModelStream,
    TransientModelUnavailable,
)

DONE = "data: [DONE]\n\n"


def preset(name: str) -> Any:
    return partial(OpenAICompatible, preset=PRESETS[name])


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": fields, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice]}


def piece(index: int | None, arguments: str = "", **first: Any) -> dict[str, Any]:
    function = {"arguments": arguments}
    if "name" in first:
        function["name"] = first.pop("name")
    where = {} if index is None else {"index": index}
    return {**where, **first, "function": function}


USAGE = {
    "choices": [],
    "usage": {
        "prompt_tokens": 82, "completion_tokens": 40, "total_tokens": 122,
        "prompt_tokens_details": {"cached_tokens": 64},
        "completion_tokens_details": {"reasoning_tokens": 21},
    },
}  # fmt: skip

FINE = says(delta(content="ok"), delta("stop"), USAGE, DONE)

# Two calls whose pieces alternate, as parallel calls are streamed.
CALLS = says(
    delta(role="assistant", content=None),
    delta(tool_calls=[piece(0, id="call_a", type="function", name="weather")]),
    delta(tool_calls=[piece(1, id="call_b", type="function", name="clock")]),
    delta(tool_calls=[piece(0, '{"ci'), piece(1, "{")]),
    delta(tool_calls=[piece(1, "}")]),
    delta(tool_calls=[piece(0, 'ty": "Paris"}')]),
    delta("tool_calls"),
    USAGE,
    DONE,
)


def test_two_calls_interleaved_are_told_apart_by_their_index() -> None:
    heard = answer_of(OpenAICompatible, CALLS, tools=(WEATHER, CLOCK))
    calls = [("call_a", "weather", '{"city": "Paris"}'), ("call_b", "clock", "{}")]
    assert heard.whole() == heard.rebuilt() == calls
    assert [p.index for p in heard.pieces] == [0, 1, 0, 1, 1, 0]
    assert heard.end.reason == "tool_calls"
    assert heard.end.usage == Usage(82, 40, cached_tokens=64, reasoning_tokens=21)


@pytest.mark.parametrize(
    "calls",
    [
        # Without an index, one after the other, whole.
        [[piece(None, '{"city": "Paris"}', id="call_a", name="weather")],
         [piece(None, "{}", id="call_b", name="clock")]],
        # All numbered 0, told apart by their ids.
        [[piece(0, '{"city": "Paris"}', id="call_a", name="weather")],
         [piece(0, "{}", id="call_b", name="clock")]],
        # Id and name repeated with each piece.
        [[piece(0, '{"city": ', id="call_a", name="weather")],
         [piece(0, '"Paris"}', id="call_a", name="weather")],
         [piece(1, "{}", id="call_b", name="clock")]],
    ],
    ids=["no index", "index always 0", "repeated"],
)  # fmt: skip
def test_calls_as_less_careful_servers_send_them(calls: list[Any]) -> None:
    behave = says(*(delta(tool_calls=c) for c in calls), delta("stop"), DONE)
    heard = answer_of(OpenAICompatible, behave, tools=(WEATHER, CLOCK))
    assert heard.whole() == heard.rebuilt()
    assert [c.name for c in heard.end.tool_calls] == ["weather", "clock"]
    assert heard.end.tool_calls[0].arguments == '{"city": "Paris"}'
    assert heard.end.reason == "tool_calls"


def test_a_call_without_an_id_gets_one() -> None:
    behave = says(delta(tool_calls=[piece(0, "{}", name="clock")]), delta("tool_calls"), DONE)
    assert answer_of(OpenAICompatible, behave, tools=(CLOCK,)).end.tool_calls[0].id


def test_reasoning_then_answer_then_usage_in_the_last_chunk() -> None:
    behave = says(
        delta(reasoning_content="Let me "), delta(reasoning_content="think."),
        delta(content="42"), {**delta("stop"), "usage": USAGE["usage"]}, DONE,
    )  # fmt: skip
    heard = answer_of(OpenAICompatible, behave)
    assert (heard.text("reasoning"), heard.text()) == ("Let me think.", "42")
    assert heard.end.usage.reasoning_tokens == 21


def test_reasoning_goes_back_with_its_calls_and_to_nobody_else() -> None:
    thinks = says(
        delta(reasoning_content="why not"),
        delta(tool_calls=[piece(0, "{}", id="c1", name="clock")]),
        delta("tool_calls"),
        DONE,
    )
    made = answer_of(preset("deepseek"), thinks, tools=(CLOCK,)).end.tool_calls
    messages = conversation(made[0].opaque)
    sent = body_of(preset("deepseek"), FINE, messages=messages)["messages"]
    assert sent[1]["reasoning_content"] == "why not"
    sent = body_of(preset("openai"), FINE, messages=messages)["messages"]
    assert "reasoning_content" not in sent[1]


def test_a_conversation_with_calls_goes_back_as_the_api_wants_it() -> None:
    sent = body_of(OpenAICompatible, FINE, messages=conversation(), tools=(WEATHER, CLOCK))
    user, assistant, first, second = sent["messages"]
    assert user == {"role": "user", "content": "weather and time?"}
    assert [c["function"]["arguments"] for c in assistant["tool_calls"]] == [
        '{"city": "Paris"}', "not json",
    ]  # fmt: skip
    assert (first["role"], first["tool_call_id"]) == ("tool", "c1")
    assert second["tool_call_id"] == "c2"
    assert [t["function"]["name"] for t in sent["tools"]] == ["weather", "clock"]
    assert sent["tool_choice"] == "auto"


def test_each_preset_says_things_in_its_own_words() -> None:
    bodies = {
        name: body_of(preset(name), FINE, schema=SCHEMA, max_tokens=9, reasoning="low")
        for name in PRESETS
    }
    assert bodies["openai"]["max_completion_tokens"] == 9
    assert bodies["openai"]["reasoning_effort"] == "low"
    assert bodies["openai"]["response_format"]["json_schema"]["strict"] is True
    assert bodies["deepseek"]["thinking"] == {"type": "enabled"}
    assert bodies["deepseek"]["tool_choice"] == "auto"  # it refuses to be forced while it thinks
    assert bodies["dashscope"]["enable_thinking"] is True
    assert bodies["siliconflow"]["tools"][0]["function"]["parameters"] == SCHEMA
    assert bodies["openrouter"]["provider"] == {"require_parameters": True}
    assert bodies["openrouter"]["reasoning"] == {"effort": "low"}
    for name in ("ollama", "vllm", "llama.cpp"):
        assert bodies[name]["response_format"]["type"] == "json_schema"
        assert bodies[name]["max_tokens"] == 9


@pytest.mark.parametrize("name", ["deepseek", "dashscope", "siliconflow"])
def test_where_there_is_no_schema_a_forced_call_holds_the_answer(name: str) -> None:
    behave = says(
        delta(content="Here you are:"),
        delta(tool_calls=[piece(0, '{"score"', id="c", name="answer")]),
        delta(tool_calls=[piece(0, ": 7}")]),
        delta("tool_calls"),
        DONE,
    )
    heard = answer_of(preset(name), behave, schema=SCHEMA)
    assert heard.text() == '{"score": 7}'
    assert heard.end.tool_calls == ()
    assert heard.end.reason == "stop"
    assert heard.asked.body["tool_choice"] == {"type": "function", "function": {"name": "answer"}}
    plain = says(delta(content='{"score": 8}'), delta("stop"), DONE)
    assert answer_of(preset(name), plain, schema=SCHEMA).text() == '{"score": 8}'


def test_a_tool_that_is_called_answer_does_not_collide() -> None:
    behave = says(
        delta(tool_calls=[piece(0, "{}", id="c", name="answer")]), delta("tool_calls"), DONE
    )
    tool = replace(CLOCK, name="answer")
    heard = answer_of(preset("deepseek"), behave, schema=SCHEMA, tools=(tool,))
    assert [c.name for c in heard.end.tool_calls] == ["answer"]
    names = [t["function"]["name"] for t in heard.asked.body["tools"]]
    assert names == ["answer", "answer_"]


def test_images_and_files_go_as_parts_where_they_are_taken() -> None:
    files = (Media("image/png", PIXEL, "a.png"), Media("application/pdf", b"%PDF-1", "b.pdf"))
    messages = (Message("user", "what is it?", media=files),)
    parts = body_of(preset("openai"), FINE, messages=messages)["messages"][0]["content"]
    assert [p["type"] for p in parts] == ["image_url", "file", "text"]
    assert parts[0]["image_url"]["url"].startswith("data:image/png;base64,iVBORw0KGgo")
    assert parts[1]["file"]["filename"] == "b.pdf"
    for name in ("deepseek", "ollama"):
        with (
            at(preset(name), FINE) as (made, server),
            pytest.raises(PermanentMediaUnsupported, match="m-1"),
        ):
            list(made.stream(asked(messages=messages), call()))
        assert server.requests == []


def error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", **more}}


@pytest.mark.parametrize(
    ("status", "body", "kind", "word"),
    [
        (401, error(f"Incorrect API key provided: {KEY}", code="invalid_api_key"),
         PermanentModelAuth, "refused the key"),
        (403, error("forbidden"), PermanentModelAuth, "refused the key"),
        (429, {"error": {"message": "You exceeded your current quota, please check your plan and "
                         "billing details.", "type": "insufficient_quota",
                         "code": "insufficient_quota"}}, PermanentModelQuota, "no quota"),
        (402, {"error": {"message": "Insufficient Balance", "type": "unknown_error"}},
         PermanentModelQuota, "no money"),
        (400, {"error": {"code": "Arrearage", "message": "Access denied"}},
         PermanentModelQuota, "no money"),
        (404, error("The model `m-1` does not exist", code="model_not_found"),
         PermanentModelUnknown, "m-1"),
        (400, {"code": 20012, "message": "Model m-1 does not exist. Check it.", "data": None},
         PermanentModelUnknown, "m-1"),
        (404, {"error": {"message": "model 'm-1' not found", "type": "api_error"}},
         PermanentModelUnknown, "m-1"),
        (429, error("slow down", code="rate_limit_exceeded"), TransientModelRateLimited, "slow"),
        (503, error("busy"), TransientModelUnavailable, "503"),
        (500, error("image input is not supported - hint: provide the mmproj"),
         PermanentMediaUnsupported, "m-1"),
        (404, error("No endpoints found that support image input"), PermanentMediaUnsupported,
         "m-1"),
        (400, error("max tokens", code="context_length_exceeded"), PermanentContextTooLong, "fit"),
        (422, {"detail": [{"msg": "bad temperature"}]}, PermanentModelRejected, "bad temperature"),
    ],
)  # fmt: skip
def test_errors_are_named(status: int, body: Any, kind: type[NodeError], word: str) -> None:
    with (
        at(OpenAICompatible, refuses(status, body)) as (made, _),
        pytest.raises(kind) as caught,
    ):
        list(made.stream(asked(), call()))
    assert type(caught.value) is kind
    assert word in caught.value.message
    assert KEY not in f"{caught.value.message} {caught.value.details} {caught.value!r}"


@pytest.mark.parametrize(
    "events",
    [
        [delta(content="a"), "data: {not json\n\n"],
        [delta(content="a"), "data: [1, 2]\n\n"],
        [delta(content="a"), {"error": {"message": "boom", "code": 500}}],
        [delta(content="a"), delta("error")],
        [delta(content="a")],
    ],
    ids=["not json", "no object", "error object", "finish error", "cut"],
)
def test_streams_that_go_wrong_keep_what_came_before(events: list[Any]) -> None:
    with at(OpenAICompatible, says(*events)) as (made, _):
        stream = made.stream(asked(), call())
        assert next(stream) == TextChunk("a")
        with pytest.raises(TransientModelStream):
            list(stream)


def test_an_error_before_any_token_counts_as_that_of_a_response() -> None:
    behave = says({"error": {"message": "rate limited", "code": 429}})
    with at(OpenAICompatible, behave) as (made, _), pytest.raises(TransientModelRateLimited):
        list(made.stream(asked(), call()))


def test_embeddings_come_in_order_and_in_batches() -> None:
    def behave(answer: Any) -> None:
        rows = [
            {"index": place, "embedding": [float(len(text))]}
            for place, text in enumerate(answer.body["input"])
        ]
        answer.send(200, {"data": rows[::-1], "usage": {"prompt_tokens": len(rows)}})

    with at(preset("dashscope"), behave) as (made, server):
        found = made.embed("e", [f"{'x' * n}" for n in range(1, 24)])
        assert found.vectors == tuple((float(n),) for n in range(1, 24))
        assert found.usage == Usage(23, 0)
        assert [len(r.body["input"]) for r in server.requests] == [10, 10, 3]


def test_embeddings_whose_use_is_not_told_are_not_free() -> None:
    body = {"data": [{"index": 0, "embedding": [0.5]}]}
    with at(OpenAICompatible, refuses(200, body)) as (made, _):
        used = made.embed("e", ["some words to be counted"]).usage
    assert used.estimated
    assert used.input_tokens > 0


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, error("no"), PermanentModelAuth),
        (404, error("no model"), PermanentModelUnknown),
        (501, error("This server does not support embeddings. Start it with `--embeddings`"),
         PermanentEmbeddingsUnsupported),
        (200, {"data": []}, TransientModelStream),
        (200, {"data": [{"index": 0, "embedding": "AACAPw=="}]}, TransientModelStream),
        (200, {"data": [{"index": 0, "embedding": [0.5, None]}]}, TransientModelStream),
        (200, {"data": [{"index": 0, "embedding": [0.5, float("inf")]}]}, TransientModelStream),
        (200, ["?"], TransientModelStream),
    ],
)  # fmt: skip
def test_embeddings_that_fail(status: int, body: Any, kind: type[NodeError]) -> None:
    with at(OpenAICompatible, refuses(status, body)) as (made, _), pytest.raises(kind):
        made.embed("e", ["text"])


def test_the_key_is_a_bearer_token() -> None:
    heard = answer_of(OpenAICompatible, FINE)
    assert heard.asked.headers["authorization"] == f"Bearer {KEY}"
