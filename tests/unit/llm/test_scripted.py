"""The scripted provider: cassettes, and answers made from the prompt."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from joinery.errors import InvalidRequest
from joinery.llm.scripted import Cassette, Scripted, load_cassette, tokens_of
from joinery.llm.types import CallContext, Finished, Message, ModelRequest, TextChunk
from joinery.model_errors import (
    PermanentModelRejected,
    TransientModelStream,
    TransientModelUnavailable,
)


def ask(
    provider: Scripted, node: str = "n", path: str = "", call: int = 1, **more: Any
) -> tuple[str, Finished | None]:
    context = CallContext(node, path, call, time.monotonic() + 5)
    request = ModelRequest("m", (Message("user", more.pop("prompt", "a b c")),), **more)
    text, finished = "", None
    for chunk in provider.stream(request, context):
        if isinstance(chunk, TextChunk):
            text += chunk.text
        else:
            finished = chunk
    return text, finished


def test_the_entry_that_says_most_wins() -> None:
    provider = Scripted(
        load_cassette(
            """
            - {node: n, text: any}
            - {node: n, path: 2, text: round two}
            - {node: n, path: "2", call: 2, text: round two again}
            - {node: n, call: 3, text: third}
            """
        )
    )
    assert ask(provider)[0] == "any"
    assert ask(provider, path="2")[0] == "round two"
    assert ask(provider, path="2", call=2)[0] == "round two again"
    assert ask(provider, call=3)[0] == "third"


def test_usage_counts_words() -> None:
    text, finished = ask(Scripted(Cassette.from_data([{"node": "n", "text": "one two  three"}])))
    assert text == "one two  three"
    assert finished is not None
    assert (finished.usage.input_tokens, finished.usage.output_tokens) == (3, 3)


def test_errors_come_at_once_or_after_some_tokens() -> None:
    provider = Scripted(
        load_cassette(
            json.dumps(
                [
                    {"node": "a", "error": "TransientModelUnavailable"},
                    {
                        "node": "b",
                        "text": "one two three",
                        "error": {"name": "model_stream_broken", "after_tokens": 2},
                    },
                ]
            )
        )
    )
    with pytest.raises(TransientModelUnavailable):
        ask(provider, "a")
    seen = []
    with pytest.raises(TransientModelStream):
        for chunk in provider.stream(
            ModelRequest("m", (Message("user", "x"),)),
            CallContext("b", "", 1, time.monotonic() + 5),
        ):
            seen.append(chunk)
    assert "".join(c.text for c in seen) == "one two"


def test_pace_is_kept() -> None:
    provider = Scripted(load_cassette("- {node: n, text: a b c d, tokens_per_second: 40}"))
    began = time.monotonic()
    ask(provider)
    assert time.monotonic() - began >= 0.1


def test_a_cancel_is_noticed_between_two_slow_words() -> None:
    cancelled = threading.Event()
    provider = Scripted(load_cassette("- {node: n, text: a b c, tokens_per_second: 0.1}"))
    threading.Timer(0.1, cancelled.set).start()
    began = time.monotonic()
    call = CallContext("n", "", 1, began + 60, cancelled.is_set)
    assert list(provider.stream(ModelRequest("m", ()), call)) == []
    assert time.monotonic() - began < 1


def test_what_is_not_named_is_made_from_the_prompt_alone() -> None:
    first, second = ask(Scripted(), prompt="x"), ask(Scripted(), "other", prompt="x")
    assert first == second
    assert ask(Scripted(), prompt="y")[0] != first[0]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3, "maximum": 5}}},
        {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2},
        {"type": "string", "minLength": 120},
        {"type": "string", "maxLength": 3},
        {"type": ["boolean", "null"]},
        {"type": "number", "exclusiveMinimum": 1, "exclusiveMaximum": 4},
        {"const": {"x": 1}},
        {"type": "integer", "multipleOf": 5, "minimum": 1, "maximum": 100},
        {"type": "number", "minimum": 0.2, "maximum": 0.8},
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        {"type": "number", "multipleOf": 0.5, "minimum": 0.5, "maximum": 3},
        {"type": "integer", "maximum": -5},
        {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        {"allOf": [{"type": "integer"}, {"minimum": 5}]},
        {"type": "array", "maxItems": 0},
        {"type": "array", "items": {"enum": [1, 2, 3]}, "minItems": 3, "uniqueItems": True},
        {"properties": {"a": {"type": "string"}}, "required": ["a", "b"]},
    ],
)
@pytest.mark.parametrize("prompt", ["", "a", "b", "c"])
def test_made_up_answers_match_their_schema(schema: dict[str, Any], prompt: str) -> None:
    text, _ = ask(Scripted(), prompt=prompt, schema=schema)
    Draft202012Validator(schema).validate(json.loads(text))


@pytest.mark.parametrize(
    ("schema", "word"),
    [
        ({"type": "string", "pattern": "^[0-9]+$"}, "pattern"),
        ({"properties": {"a": {"$ref": "#/x"}}}, "/a"),
        ({"type": "integer", "minimum": 2, "maximum": 1}, "range"),
        ({"type": "array", "items": {"const": 1}, "minItems": 2, "uniqueItems": True}, "differ"),
        ({"properties": {"a": False}}, "no value"),
    ],
)
def test_what_cannot_be_made_up_says_why(schema: dict[str, Any], word: str) -> None:
    with pytest.raises(PermanentModelRejected, match=word):
        ask(Scripted(), schema=schema)


@given(st.text())
def test_tokens_join_to_the_text(text: str) -> None:
    assert "".join(tokens_of(text)) == text


@pytest.mark.parametrize(
    ("cassette", "words"),
    [
        ("{}", ["list"]),
        ("[1]", ["entry 1", "mapping"]),
        ("- {node: n}", ["text, tool_calls, error or fault"]),
        ("- {text: x}", ["node"]),
        ("- {node: n, text: x, cal: 1}", ["unknown key 'cal'"]),
        ("- {node: n, call: 0, text: 1}", ["call", "text must be text"]),
        ("- {node: n, error: Nope}", ["TransientModelUnavailable"]),
        ("- {node: n, tool_calls: []}", ["needs text"]),
        ("- {node: n, tool_calls: x}", ["tool_calls must be a list"]),
        ("- {node: n, tool_calls: [{arguments: {}}]}", ["call 1 must be"]),
        ("- {node: n, tool_calls: [{name: t, args: {}}]}", ["unknown key 'args'"]),
        ("- {node: n, tool_calls: [{name: t, arguments: 3}]}", ["arguments must be"]),
        ("- {node: n, text: x, tokens_per_second: 0}", ["above 0"]),
        ("- {node: n, text: x, tokens_per_second: .nan}", ["above 0"]),
        ("- {node: n, path: 2.10, text: x}", ["quotes"]),
        ("- node: n\n  text: x\n- node: m\n", ["entry 2 (line 3)"]),
        ("- node: [", ["YAML"]),
        ("- {node: n}\n- {node: m}", ["entry 1", "entry 2"]),
    ],
)
def test_bad_cassettes_say_everything_that_is_wrong(cassette: str, words: list[str]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        load_cassette(cassette)
    for word in words:
        assert word in refused.value.message


def test_deep_nesting_is_refused_not_followed() -> None:
    with pytest.raises(InvalidRequest):
        load_cassette("[" * 100_000)


def test_a_cassette_survives_being_stored() -> None:
    cassette = load_cassette(
        "- {node: n, path: '1', call: 2, text: x, tokens_per_second: 3}\n"
        "- {node: m, error: {name: TransientModelStream, message: cut, after_tokens: 1}}"
    )
    assert Cassette.from_data(json.loads(json.dumps(cassette.to_dict()))) == cassette


def test_an_empty_cassette_is_one() -> None:
    assert load_cassette("") == load_cassette("[]") == Cassette()
