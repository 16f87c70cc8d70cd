"""What a script can play besides text: calls of tools, reasoning and servers on bad days."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from kit.wires import CLOCK, SCHEMA, WEATHER, Heard

from joinery.errors import InvalidRequest, NodeError
from joinery.llm.faults import Fault
from joinery.llm.scripted import Cassette, Scripted, load_cassette
from joinery.llm.types import CallContext, Chunk, Finished, Message, ModelRequest, ToolSpec
from joinery.model_errors import (
    PermanentModelAuth,
    PermanentModelQuota,
    PermanentModelUnknown,
    TransientModelRateLimited,
    TransientModelStream,
    TransientModelTimeout,
    TransientModelUnavailable,
)


def play(row: dict[str, Any], deadline_s: float = 5, **more: Any) -> list[Chunk]:
    provider = Scripted(Cassette.from_data([{"node": "n", **row}]))
    context = CallContext("n", "", 1, time.monotonic() + deadline_s)
    return list(provider.stream(ModelRequest("m", (Message("user", "a b"),), **more), context))


def until_it_fails(row: dict[str, Any], deadline_s: float = 5) -> tuple[int, NodeError]:
    provider = Scripted(Cassette.from_data([{"node": "n", **row}]))
    context = CallContext("n", "", 1, time.monotonic() + deadline_s)
    count = 0
    with pytest.raises(NodeError) as failed:
        for chunk in provider.stream(ModelRequest("m", (Message("user", "a b"),)), context):
            assert not isinstance(chunk, Finished)
            count += 1
    return count, failed.value


CALLS = [
    {"name": "weather", "arguments": {"city": "Paris"}},
    {"name": "clock", "arguments": "not json", "id": "own"},
]


def test_two_calls_come_in_pieces_that_alternate() -> None:
    heard = Heard(
        play({"reasoning": "let me see", "text": "So", "tool_calls": CALLS}),
        None,  # type: ignore[arg-type]
    )
    calls = [("call_1_0", "weather", '{"city": "Paris"}'), ("own", "clock", "not json")]
    assert heard.whole() == heard.rebuilt() == calls
    assert [p.index for p in heard.pieces] == [0, 1, 0, 1, 0]
    assert (heard.text("reasoning"), heard.text()) == ("let me see", "So")
    assert heard.end.reason == "tool_calls"
    assert heard.end.usage.reasoning_tokens == 3


def test_what_no_script_names_answers_but_calls_where_it_must() -> None:
    provider = Scripted()
    context = CallContext("n", "", 1, time.monotonic() + 5)
    request = ModelRequest("m", (Message("user", "hi"),), tools=(WEATHER, CLOCK))
    last = list(provider.stream(request, context))[-1]
    assert isinstance(last, Finished)
    assert last.tool_calls == ()
    tool = ToolSpec("rate", "", SCHEMA)
    request = ModelRequest("m", request.messages, tools=(tool,), tool_choice="required")
    last = list(provider.stream(request, context))[-1]
    assert isinstance(last, Finished)
    assert last.tool_calls[0].name == "rate"
    assert json.loads(last.tool_calls[0].arguments)["score"] >= 1


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (429, TransientModelRateLimited),
        (503, TransientModelUnavailable),
        ({"status": 401}, PermanentModelAuth),
        ({"status": 404, "message": "no model m"}, PermanentModelUnknown),
        ({"status": 429, "code": "insufficient_quota"}, PermanentModelQuota),
        ("cut", TransientModelStream),
        ("malformed", TransientModelStream),
        ({"kind": "hang", "seconds": 0.05}, TransientModelTimeout),
    ],
)
def test_faults_before_the_first_token(fault: Any, kind: type[NodeError]) -> None:
    count, error = until_it_fails({"text": "one two three", "fault": fault})
    assert (count, type(error)) == (0, kind)


def test_a_status_carries_when_to_come_back() -> None:
    _, error = until_it_fails({"fault": {"status": 429, "retry_after_s": 2.5}})
    assert error.details["retry_after_s"] == 2.5


@pytest.mark.parametrize("kind", ["cut", "malformed", "hang"])
def test_faults_in_the_middle_come_after_some_tokens(kind: str) -> None:
    fault = {"kind": kind, "after_tokens": 2, **({"seconds": 0.05} if kind == "hang" else {})}
    count, error = until_it_fails({"text": "one two three", "fault": fault})
    assert count == 2
    assert error.details.get("phase") == ("idle" if kind == "hang" else None)


def test_the_deadline_of_the_node_ends_a_hang() -> None:
    began = time.monotonic()
    _, error = until_it_fails({"fault": "hang"}, deadline_s=0.2)
    assert error.details["phase"] == "deadline"
    assert time.monotonic() - began < 2


def test_a_hang_is_as_long_as_that_of_a_real_provider() -> None:
    assert (Fault("hang").silence_s, Fault("hang", after_tokens=1).silence_s) == (120, 30)


def test_a_cancel_ends_a_hang() -> None:
    provider = Scripted(load_cassette("- {node: n, fault: hang}"))
    context = CallContext("n", "", 1, time.monotonic() + 5, cancelled=lambda: True)
    assert list(provider.stream(ModelRequest("m", ()), context)) == []


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ("burn", "fault must be"),
        ("{kind: status, status: 200}", "from 400"),
        ("{kind: cut, seconds: 1}", "no 'seconds'"),
        ("{kind: cut, after_tokens: -1}", "after_tokens"),
        ("{status: 429, retry_after_s: soon}", "seconds"),
        ("{status: 429, message: 3}", "text"),
        ("cut, error: TransientModelStream", "not both"),
    ],
)
def test_faults_that_are_none(fault: str, word: str) -> None:
    with pytest.raises(InvalidRequest, match=word):
        load_cassette(f"- {{node: n, fault: {fault}}}")


def test_calls_and_faults_survive_being_stored() -> None:
    rows = [
        {"node": "n", "tool_calls": CALLS, "reasoning": "r"},
        {"node": "n", "fault": {"status": 429, "retry_after_s": 2.5, "message": "slow"}},
        {"node": "n", "text": "a b", "fault": {"kind": "hang", "after_tokens": 1, "seconds": 2}},
    ]
    cassette = Cassette.from_data(rows)
    assert Cassette.from_data(json.loads(json.dumps(cassette.to_dict()))) == cassette


def test_texts_that_share_words_have_vectors_that_are_near() -> None:
    found = Scripted().embed("m", ["the cat sat", "the cat slept", "quarterly revenue"])
    near, far = (
        sum(a * b for a, b in zip(found.vectors[0], other, strict=True))
        for other in found.vectors[1:]
    )
    assert near > 0.5 > far
    assert found.usage.input_tokens == 8
