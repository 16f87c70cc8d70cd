"""Bedrock's Converse API on the wire: boto3 against a server that speaks its event streams."""

from __future__ import annotations

import base64
import json
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from kit.model_server import Answer, ModelServer, model_server
from kit.wires import CLOCK, PIXEL, SCHEMA, WEATHER, Heard, asked, conversation

from joinery.aws.bedrock import Bedrock
from joinery.aws.clients import Clients
from joinery.errors import NodeError
from joinery.llm.timeouts import Timeouts
from joinery.llm.types import CallContext, Media, Message, TextChunk, Usage
from joinery.model_errors import (
    PermanentContextTooLong,
    PermanentMediaUnsupported,
    PermanentModelAuth,
    PermanentModelQuota,
    PermanentModelRejected,
    PermanentModelUnknown,
    TransientModelRateLimited,
    TransientModelStream,
    TransientModelTimeout,
    TransientModelUnavailable,
)

SESSION = boto3.session.Session()  # each one reads the description of the service again
QUICK = Timeouts(connect=1, first_token=0.6, idle=0.4, ending=0.3, question=1)
PATIENT = Timeouts(connect=10, first_token=10, idle=10, ending=0.3, question=10)
"""For what is not about time: a machine with other work may stand still for a second."""
MODEL = "anthropic.claude-sonnet-4-5-20250929-v1:0"


def frame(kind: str, name: str, body: Any) -> bytes:
    """One message of https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html."""
    headers = b""
    about = {":message-type": kind, ":content-type": "application/json"}
    about[":event-type" if kind == "event" else ":exception-type"] = name
    for key, value in about.items():
        headers += bytes([len(key)]) + key.encode() + b"\x07"
        headers += len(value).to_bytes(2, "big") + value.encode()
    payload = json.dumps(body).encode()
    prelude = (len(headers) + len(payload) + 16).to_bytes(4, "big")
    prelude += len(headers).to_bytes(4, "big")
    message = prelude + zlib.crc32(prelude).to_bytes(4, "big") + headers + payload
    return message + zlib.crc32(message).to_bytes(4, "big")


def event(name: str, **body: Any) -> bytes:
    return frame("event", name, body)


def delta(index: int, **what: Any) -> bytes:
    return event("contentBlockDelta", contentBlockIndex=index, delta=what)


def begin(index: int, call_id: str, name: str) -> bytes:
    start = {"toolUse": {"toolUseId": call_id, "name": name}}
    return event("contentBlockStart", contentBlockIndex=index, start=start)


def end(reason: str, **usage: int) -> bytes:
    return event("messageStop", stopReason=reason) + event(
        "metadata", usage=usage, metrics={"latencyMs": 5}
    )


START = event("messageStart", role="assistant")
FINE = START + delta(0, text="ok") + end("end_turn", inputTokens=9, outputTokens=1)

CUT = (delta(0, text="b")[:-3],)

CALLS = (
    START
    + delta(0, reasoningContent={"text": "Two "})
    + delta(0, reasoningContent={"text": "calls."})
    + delta(0, reasoningContent={"signature": "EqQB"})
    + delta(1, reasoningContent={"redactedContent": base64.b64encode(b"\x01\x02").decode()})
    + delta(2, text="Let me see.")
    + begin(3, "tooluse_a", "weather")
    + begin(4, "tooluse_b", "clock")
    + delta(3, toolUse={"input": '{"ci'})
    + delta(4, toolUse={"input": "{}"})
    + delta(3, toolUse={"input": 'ty": "Paris"}'})
    + event("contentBlockStop", contentBlockIndex=3)
    + end("tool_use", inputTokens=20, outputTokens=57, cacheReadInputTokens=70,
          cacheWriteInputTokens=10)
)  # fmt: skip


def says(*parts: bytes | Callable[[Answer], None], ends: bool = True) -> Callable[[Answer], None]:
    """A server that sends these in chunks, as Bedrock does, and then ends or just leaves."""

    def behave(answer: Answer) -> None:
        handler = answer.handler
        handler.protocol_version = "HTTP/1.1"
        handler.close_connection = True
        handler.send_response(200)
        handler.send_header("content-type", "application/vnd.amazon.eventstream")
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        for part in parts:
            if callable(part):
                part(answer)
            elif part:
                answer.raw(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        if ends:
            answer.raw(b"0\r\n\r\n")

    return behave


@contextmanager
def bedrock(
    behave: Callable[[Answer], None], timeouts: Timeouts = QUICK
) -> Iterator[tuple[Bedrock, ModelServer]]:
    with model_server(behave) as server:
        clients = Clients(
            region="us-east-1",
            endpoint_url=server.url.removesuffix("/v1"),
            aws_access_key_id="AKIDSECRET",
            aws_secret_access_key="hush",
        )
        clients._session = SESSION
        assert clients.bedrock.meta  # made now: that takes longer than the quick limits
        yield Bedrock(clients.bedrock, timeouts=timeouts), server


def call(**more: Any) -> CallContext:
    return CallContext("n", "", 1, more.pop("deadline", time.monotonic() + 10), **more)


def answer_of(behave: Callable[[Answer], None], **more: Any) -> Heard:
    with bedrock(behave, PATIENT) as (made, server):
        chunks = list(made.stream(asked(model=more.pop("model", MODEL), **more), call()))
        return Heard(chunks, server.requests[-1])


def body_of(**more: Any) -> Any:
    return answer_of(says(FINE), **more).asked.body


def test_two_calls_interleaved_with_reasoning_and_usage() -> None:
    heard = answer_of(says(CALLS), tools=(WEATHER, CLOCK))
    calls = [("tooluse_a", "weather", '{"city": "Paris"}'), ("tooluse_b", "clock", "{}")]
    assert heard.whole() == heard.rebuilt() == calls
    assert (heard.text("reasoning"), heard.text()) == ("Two calls.", "Let me see.")
    assert heard.end.reason == "tool_calls"
    assert heard.end.usage == Usage(100, 57, cached_tokens=70)
    assert heard.asked.path.endswith("/converse-stream")


def test_a_conversation_goes_back_with_its_reasoning() -> None:
    made = answer_of(says(CALLS), tools=(WEATHER, CLOCK)).end.tool_calls
    sent = body_of(messages=conversation(made[0].opaque))
    assert [m["role"] for m in sent["messages"]] == ["user", "assistant", "user"]
    thought, redacted, text, first, second = sent["messages"][1]["content"]
    assert thought["reasoningContent"]["reasoningText"] == {
        "text": "Two calls.", "signature": "EqQB",
    }  # fmt: skip
    assert base64.b64decode(redacted["reasoningContent"]["redactedContent"]) == b"\x01\x02"
    assert text == {"text": "let me see"}
    assert first["toolUse"] == {"toolUseId": "c1", "name": "weather", "input": {"city": "Paris"}}
    assert second["toolUse"]["input"] == {}
    good, bad = (block["toolResult"] for block in sent["messages"][2]["content"])
    assert (good.get("status"), bad["status"]) == (None, "error")
    # Tools that a conversation has used have to be named, even if none is offered any more.
    assert {t["toolSpec"]["name"] for t in sent["toolConfig"]["tools"]} == {"weather", "clock"}


def test_what_is_asked() -> None:
    sent = body_of(
        temperature=0.5, top_p=0.9, max_tokens=7, stop=("x",), tools=(WEATHER,),
        tool_choice="required",
    )  # fmt: skip
    assert sent["system"] == [{"text": "be brief"}]
    assert sent["inferenceConfig"] == {
        "maxTokens": 7, "temperature": 0.5, "topP": 0.9, "stopSequences": ["x"],
    }  # fmt: skip
    assert sent["toolConfig"]["toolChoice"] == {"any": {}}
    spec = sent["toolConfig"]["tools"][0]["toolSpec"]
    assert spec["inputSchema"]["json"] == WEATHER.parameters
    thinking = body_of(reasoning="low")
    assert thinking["additionalModelRequestFields"]["thinking"]["budget_tokens"] == 1024
    assert thinking["inferenceConfig"]["maxTokens"] > 1024
    assert "inferenceConfig" not in body_of()


def test_a_schema_is_a_forced_call_and_for_a_model_that_thinks_a_format() -> None:
    answer = begin(0, "t", "answer") + delta(0, toolUse={"input": '{"score": 7}'})
    heard = answer_of(says(START + answer + end("tool_use", inputTokens=1)), schema=SCHEMA)
    assert (heard.text(), heard.end.tool_calls, heard.end.reason) == ('{"score": 7}', (), "stop")
    assert heard.asked.body["toolConfig"]["toolChoice"] == {"tool": {"name": "answer"}}
    sent = body_of(schema=SCHEMA, reasoning="low")
    form = sent["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert json.loads(form["schema"])["properties"]["score"] == {"type": "integer"}
    assert "toolConfig" not in sent


def test_images_and_documents_are_blocks() -> None:
    files = (
        Media("image/png", PIXEL), Media("application/pdf", b"%PDF-1", "r&d: 1.pdf"),
        Media("text/csv", b"a,b", "r&d: 1.pdf"),
    )  # fmt: skip
    sent = body_of(messages=(Message("user", "what?", media=files),))
    image, one, two, text = sent["messages"][0]["content"]
    assert image["image"]["format"] == "png"
    assert base64.b64decode(image["image"]["source"]["bytes"]) == PIXEL
    assert (one["document"]["format"], one["document"]["name"]) == ("pdf", "2 r d 1 pdf")
    assert two["document"]["name"] != one["document"]["name"]
    assert text == {"text": "what?"}
    zipped = (Message("user", "?", media=(Media("application/zip", b"PK"),)),)
    with bedrock(says(FINE)) as (made, server), pytest.raises(PermanentMediaUnsupported):
        list(made.stream(asked(messages=zipped), call()))
    assert server.requests == []


def refuses(status: int, kind: str, message: str) -> Callable[[Answer], None]:
    return lambda answer: answer.send(status, {"message": message}, x_amzn_errortype=kind)


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        (403, "AccessDeniedException", "You don't have access to the model", PermanentModelAuth),
        (403, "UnrecognizedClientException", "The security token is invalid", PermanentModelAuth),
        (400, "ServiceQuotaExceededException", "quota", PermanentModelQuota),
        (404, "ResourceNotFoundException", "Could not resolve the foundation model",
         PermanentModelUnknown),
        (400, "ValidationException", "The provided model identifier is invalid.",
         PermanentModelUnknown),
        (400, "ValidationException", "Input is too long for requested model.",
         PermanentContextTooLong),
        (400, "ValidationException", "temperature", PermanentModelRejected),
        (429, "ThrottlingException", "Too many requests", TransientModelRateLimited),
        (408, "ModelTimeoutException", "slow", TransientModelUnavailable),
        (500, "InternalServerException", "oops", TransientModelUnavailable),
        (503, "ServiceUnavailableException", "busy", TransientModelUnavailable),
    ],
)  # fmt: skip
def test_errors_are_named(status: int, code: str, message: str, kind: type[NodeError]) -> None:
    with bedrock(refuses(status, code, message)) as (made, server):
        with pytest.raises(kind) as caught:
            list(made.stream(asked(model=MODEL), call()))
        assert type(caught.value) is kind
        assert len(server.requests) == 1, "the SDK repeated the call"
    shown = f"{caught.value.message} {caught.value.details}"
    assert "AKIDSECRET" not in shown
    assert "hush" not in shown


def test_no_credentials_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    made = Bedrock(Clients(region="us-east-1").bedrock, timeouts=Timeouts())
    with pytest.raises(PermanentModelAuth, match="NoCredentialsError"):
        list(made.stream(asked(model=MODEL), call()))


@pytest.mark.parametrize(
    ("last", "kind"),
    [
        (frame("exception", "throttlingException", {"message": "slow"}), TransientModelStream),
        (frame("exception", "modelStreamErrorException", {"message": "x"}), TransientModelStream),
        (frame("exception", "validationException", {"message": "prompt is too long"}),
         PermanentContextTooLong),
        (b"", TransientModelStream),
        (CUT[0], TransientModelStream),
        (delta(0, text="b")[:-1] + b"\x00", TransientModelStream),
        (event("messageStop", stopReason="guardrail_intervened"), PermanentModelRejected),
        (event("messageStop", stopReason="malformed_tool_use"), TransientModelStream),
    ],
    ids=["throttled", "model", "too long", "ends", "cut", "checksum", "guardrail", "malformed"],
)  # fmt: skip
def test_streams_that_go_wrong_keep_what_came_before(last: bytes, kind: type[NodeError]) -> None:
    whole = last not in CUT
    with bedrock(says(START, delta(0, text="a"), last, ends=whole)) as (made, _):
        stream = made.stream(asked(model=MODEL), call())
        assert next(stream) == TextChunk("a")
        with pytest.raises(kind) as caught:
            list(stream)
        assert type(caught.value) is kind


def test_an_exception_before_any_token_counts_as_that_of_a_response() -> None:
    bad = frame("exception", "throttlingException", {"message": "slow"})
    with bedrock(says(START, bad)) as (made, _), pytest.raises(TransientModelRateLimited):
        list(made.stream(asked(model=MODEL), call()))


@pytest.mark.parametrize(
    ("parts", "deadline_s", "phase"),
    [
        ((START, Answer.hang), 10, "first_token"),
        ((START, delta(0, text="a"), Answer.hang), 10, "idle"),
        ((START, Answer.hang), 0.2, "deadline"),
    ],
)
def test_models_that_hang(parts: Any, deadline_s: float, phase: str) -> None:
    with bedrock(says(*parts)) as (made, server):
        began = time.monotonic()
        with pytest.raises(TransientModelTimeout) as caught:
            list(made.stream(asked(model=MODEL), call(deadline=began + deadline_s)))
        assert caught.value.details["phase"] == phase
        assert time.monotonic() - began < 3
        assert server.closed.wait(2), "the server still works for nobody"


def test_cancel_closes_the_connection_while_nothing_arrives() -> None:
    cancelled = threading.Event()
    behave = says(START, delta(0, text="a"), Answer.hang)
    with bedrock(behave, PATIENT) as (made, server):
        stream = made.stream(asked(model=MODEL), call(cancelled=cancelled.is_set))
        assert next(stream) == TextChunk("a")
        cancelled.set()
        assert list(stream) == []
        assert server.closed.wait(2)


def test_the_usage_that_never_comes_is_estimated() -> None:
    parts = (START, delta(0, text="a b"), event("messageStop", stopReason="end_turn"))
    heard = answer_of(says(*parts, Answer.hang))
    assert heard.end.usage.estimated
    assert heard.text() == "a b"


def test_embeddings_of_titan_and_cohere() -> None:
    def behave(answer: Answer) -> None:
        if "inputText" in answer.body:
            answer.send(200, {"embedding": [1, 0.5], "inputTextTokenCount": 3})
        else:
            answer.send(200, {"embeddings": [[0.5]] * len(answer.body["texts"])})

    with bedrock(behave) as (made, server):
        titan = made.embed("amazon.titan-embed-text-v2:0", ["a", "b"])
        assert (titan.vectors, titan.usage) == (((1.0, 0.5),) * 2, Usage(6, 0))
        cohere = made.embed("cohere.embed-multilingual-v3", ["a"] * 97)
        assert cohere.vectors == ((0.5,),) * 97
        assert cohere.usage.estimated
        assert len(server.requests) == 4
    with (
        bedrock(refuses(404, "ResourceNotFoundException", "?")) as (made, _),
        pytest.raises(PermanentModelUnknown),
    ):
        made.embed("amazon.titan-embed-text-v9:0", ["a"])
