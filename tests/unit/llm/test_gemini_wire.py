"""Google's Gemini API on the wire."""

from __future__ import annotations

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
from joinery.llm.gemini import FOREIGN_SIGNATURE, Gemini
from joinery.llm.types import Media, Message, TextChunk, Usage
from joinery.model_errors import (
    PermanentContextTooLong,
    PermanentModelAuth,
    PermanentModelQuota,
    PermanentModelRejected,
    PermanentModelUnknown,
    TransientModelRateLimited,
    TransientModelStream,
    TransientModelUnavailable,
)


def says_parts(*parts: Any, finish: str | None = None, **more: Any) -> dict[str, Any]:
    content = {"parts": list(parts), "role": "model"}
    candidate: dict[str, Any] = {"content": content, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": "gemini-2.5-flash", **more}


def counted(**counts: int) -> dict[str, Any]:
    return {"usageMetadata": counts}


USED = counted(
    promptTokenCount=30, candidatesTokenCount=12, thoughtsTokenCount=40, totalTokenCount=82,
    cachedContentTokenCount=16,
)  # fmt: skip
FINE = says(says_parts({"text": "ok"}, finish="STOP", **USED))

THINKS_AND_CALLS = says(
    says_parts({"text": "Two calls.", "thought": True}, **counted(promptTokenCount=30)),
    says_parts({"text": "Let me see."}),
    says_parts(
        {"functionCall": {"name": "weather", "args": {"city": "Paris"}}, "thoughtSignature": "c2ln"}
    ),
    says_parts({"functionCall": {"id": "own", "name": "clock"}}, finish="STOP", **USED),
)


def test_calls_thoughts_and_usage() -> None:
    heard = answer_of(Gemini, THINKS_AND_CALLS, tools=(WEATHER, CLOCK))
    assert (heard.text("reasoning"), heard.text()) == ("Two calls.", "Let me see.")
    assert heard.whole() == heard.rebuilt()
    assert [(c.name, c.arguments) for c in heard.end.tool_calls] == [
        ("weather", '{"city": "Paris"}'), ("clock", "{}"),
    ]  # fmt: skip
    assert heard.end.tool_calls[0].id  # the API gives none
    assert heard.end.tool_calls[1].id == "own"
    assert heard.end.reason == "tool_calls"
    assert heard.end.usage == Usage(30, 52, cached_tokens=16, reasoning_tokens=40)


def test_a_conversation_goes_back_with_its_signatures() -> None:
    made = answer_of(Gemini, THINKS_AND_CALLS, tools=(WEATHER, CLOCK)).end.tool_calls
    turns = body_of(Gemini, FINE, messages=conversation(made[0].opaque))["contents"]
    assert [t["role"] for t in turns] == ["user", "model", "user"]
    text, first, second = turns[1]["parts"]
    assert text == {"text": "let me see"}
    assert first["functionCall"] == {"id": "c1", "name": "weather", "args": {"city": "Paris"}}
    assert first["thoughtSignature"] == "c2ln"
    assert second["functionCall"]["args"] == {}
    good, bad = (p["functionResponse"] for p in turns[2]["parts"])
    assert (good["name"], good["response"]) == ("weather", {"result": {"sky": "clear"}})
    assert (bad["name"], bad["response"]) == ("clock", {"error": "no such clock"})


def test_calls_of_another_model_stand_with_the_signature_for_that() -> None:
    turns = body_of(Gemini, FINE, model="gemini-3-pro", messages=conversation())["contents"]
    assert turns[1]["parts"][1]["thoughtSignature"] == FOREIGN_SIGNATURE
    turns = body_of(Gemini, FINE, model="gemini-2.5-pro", messages=conversation())["contents"]
    assert "thoughtSignature" not in turns[1]["parts"][1]


def test_what_is_asked() -> None:
    heard = answer_of(
        Gemini, FINE, model="gemini-2.5-flash", top_p=0.5, max_tokens=9, reasoning="low",
        tools=(WEATHER,), tool_choice="none",
    )  # fmt: skip
    sent = heard.asked.body
    assert heard.asked.path == "/v1/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    assert heard.asked.headers["x-goog-api-key"] == KEY
    assert sent["systemInstruction"] == {"parts": [{"text": "be brief"}]}
    assert sent["generationConfig"] == {
        "topP": 0.5, "maxOutputTokens": 9,
        "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 1024},
    }  # fmt: skip
    declared = sent["tools"][0]["functionDeclarations"][0]
    assert declared["parametersJsonSchema"] == WEATHER.parameters
    assert sent["toolConfig"]["functionCallingConfig"] == {"mode": "NONE"}
    later = body_of(Gemini, FINE, model="gemini-3-pro", reasoning="high")
    assert later["generationConfig"]["thinkingConfig"]["thinkingLevel"] == "high"


def test_a_schema_is_asked_for_natively_and_beside_tools_by_a_call() -> None:
    sent = body_of(Gemini, FINE, schema=SCHEMA)["generationConfig"]
    assert sent == {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}
    answer = {"functionCall": {"name": "answer", "args": {"score": 7}}}
    behave = says(says_parts(answer, finish="STOP"))
    heard = answer_of(Gemini, behave, schema=SCHEMA, tools=(WEATHER,))
    assert (heard.text(), heard.end.tool_calls) == ('{"score": 7}', ())
    assert heard.asked.body["toolConfig"]["functionCallingConfig"] == {"mode": "ANY"}


def test_files_are_inline_data() -> None:
    files = (Media("image/png", PIXEL), Media("application/pdf", b"%PDF-1"))
    messages = (Message("user", "what?", media=files),)
    parts = body_of(Gemini, FINE, messages=messages)["contents"][0]["parts"]
    assert [p["inlineData"]["mimeType"] for p in parts[:2]] == ["image/png", "application/pdf"]
    assert parts[2] == {"text": "what?"}


def problem(code: int, status: str, message: str, *details: Any) -> dict[str, Any]:
    about = {"code": code, "message": message, "status": status, "details": list(details)}
    return {"error": about}


BAD_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
DELAY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, problem(400, "INVALID_ARGUMENT", f"API key not valid: {KEY}", BAD_KEY),
         PermanentModelAuth),
        (403, problem(403, "PERMISSION_DENIED", "no access"), PermanentModelAuth),
        (404, problem(404, "NOT_FOUND", "models/m-1 is not found for API version v1beta"),
         PermanentModelUnknown),
        (503, problem(503, "UNAVAILABLE", "The model is overloaded."), TransientModelUnavailable),
        (400, problem(400, "INVALID_ARGUMENT", "The input token count (1200000) exceeds the "
                      "maximum number of tokens allowed (1048576)."), PermanentContextTooLong),
        (400, problem(400, "INVALID_ARGUMENT", "Unknown name"), PermanentModelRejected),
    ],
)  # fmt: skip
def test_errors_are_named(status: int, body: Any, kind: type[NodeError]) -> None:
    with at(Gemini, refuses(status, body)) as (made, _), pytest.raises(kind) as caught:
        list(made.stream(asked(), call()))
    assert type(caught.value) is kind
    assert KEY not in f"{caught.value.message} {caught.value.details}"


SPENT = "You exceeded your current quota, please check your plan and billing details."


def test_a_quota_that_comes_back_is_a_rate_limit() -> None:
    body = problem(429, "RESOURCE_EXHAUSTED", SPENT, DELAY)
    with (
        at(Gemini, refuses(429, body)) as (made, _),
        pytest.raises(TransientModelRateLimited) as caught,
    ):
        list(made.stream(asked(), call()))
    assert caught.value.details["retry_after_s"] == 34.5
    body = problem(429, "RESOURCE_EXHAUSTED", SPENT)
    with at(Gemini, refuses(429, body)) as (made, _), pytest.raises(PermanentModelQuota):
        list(made.stream(asked(), call()))


@pytest.mark.parametrize(
    ("last", "kind"),
    [
        (says_parts(finish="SAFETY"), PermanentModelRejected),
        ({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}, PermanentModelRejected),
        (says_parts(finish="MALFORMED_FUNCTION_CALL"), TransientModelStream),
        ("data: {bad\n\n", TransientModelStream),
        ({"candidates": [3]}, TransientModelStream),
        (problem(500, "INTERNAL", "boom"), TransientModelStream),
    ],
)
def test_answers_that_are_none(last: Any, kind: type[NodeError]) -> None:
    with at(Gemini, says(says_parts({"text": "a"}), last)) as (made, _):
        stream = made.stream(asked(), call())
        assert next(stream) == TextChunk("a")
        with pytest.raises(kind):
            list(stream)


def test_an_answer_that_was_cut_by_the_limit_says_so() -> None:
    heard = answer_of(Gemini, says(says_parts({"text": "a"}, finish="MAX_TOKENS", **USED)))
    assert heard.end.reason == "length"


def test_embeddings() -> None:
    def behave(answer: Any) -> None:
        rows = [{"values": [0.5, 1]} for _ in answer.body["requests"]]
        answer.send(200, {"embeddings": rows})

    with at(Gemini, behave) as (made, server):
        found = made.embed("gemini-embedding-001", ["a"] * 101)
        assert found.vectors == ((0.5, 1.0),) * 101
        assert found.usage.estimated
        assert [len(r.body["requests"]) for r in server.requests] == [100, 1]
        assert server.requests[0].path.endswith("/models/gemini-embedding-001:batchEmbedContents")
