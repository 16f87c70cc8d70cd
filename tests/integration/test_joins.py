"""Joins that do not wait for all, on the local stack: real functions that are stopped in time."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from kit.probe import wait_for

from joinery_cli.engines.local import LocalEngine, client_of

if TYPE_CHECKING:
    from joinery.events.make import Event
    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack

RACE = """\
version: 1
name: race
nodes:
  one: {type: llm, prompt: hi}
  two: {type: llm, prompt: hi}
  three: {type: llm, prompt: hi, retry: {attempts: 1}}
  first:
    type: template
    join: JOIN
    template: |-
      {{ nodes.one.text ?? '-' }} {{ nodes.two.text ?? '-' }} {{ nodes.three.text ?? '-' }}
edges:
  - start -> one, two, three -> first -> end
outputs: {text: "{{ nodes.first.text }}"}
"""

SLOWLY = {"text": "word " * 400, "tokens_per_second": 10}
"""Forty seconds of text."""

QUICK = {"text": "done"}
PACED = {"text": "done", "tokens_per_second": 1}
FIRST = {"text": "well well well done", "tokens_per_second": 1}
"""Some seconds of text, in which the others have begun."""

BROKEN = {"error": {"name": "PermanentModelRejected", "message": "no", "after_tokens": 0}}


def run(
    stack: LocalStack, source: str, **answers: Any
) -> tuple[dict[str, Any], list[Event], float]:
    """Runs a workflow; returns its result, its events and the seconds it took."""
    tape = [{"node": node, **answer} for node, answer in answers.items()]
    with closing(client_of(stack)) as client:
        engine = LocalEngine.start(client, source, {}, cassette=tape)
        began = time.monotonic()
        events: list[Event] = []
        engine.follow(events.append, lambda: False)
        taken = time.monotonic() - began
        return engine.result(), [e for e in events if "seq" in e], taken


def statuses(result: dict[str, Any]) -> dict[str, str]:
    return {name: node["status"] for name, node in result["nodes"].items()}


def named(events: list[Event], name: str) -> list[Event]:
    return [event for event in events if event["event"] == name]


def test_the_first_answer_stops_the_others(stack: LocalStack) -> None:
    source = RACE.replace("JOIN", "any")
    result, events, taken = run(stack, source, one=SLOWLY, two=FIRST, three=SLOWLY)
    assert result["status"] == "completed"
    assert result["outputs"] == {"text": "- well well well done -"}
    assert statuses(result) == {
        "one": "cancelled", "two": "completed", "three": "cancelled", "first": "completed"
    }  # fmt: skip
    assert taken < 20  # the losers would have taken forty
    told = named(events, "nodes.cancelled")  # by the join, or by a node that was late itself
    assert {event["data"]["join"] for event in told} == {"first"}
    rows = [row["node_id"] for event in told for row in event["data"]["nodes"]]
    assert sorted(rows) == ["one", "three"]

    # The functions are told so, not only their writes refused: they stop calling the model.
    view: dict[str, Any] = {}

    def told_what_they_used() -> bool:
        view.update({n["node_id"]: n for n in client.get(result["run_id"])["nodes"]})
        return all(view[name].get("usage") for name in ("one", "three"))

    with closing(client_of(stack)) as client:
        wait_for(told_what_they_used, timeout_s=20)
    for name in ("one", "three"):
        assert 0 < view[name]["usage"]["model_calls"] <= 1
        assert view[name]["usage"]["output_tokens"] < 100


def test_one_that_fails_is_left_to_the_join(stack: LocalStack) -> None:
    source = RACE.replace("JOIN", "{at_least: 2}")
    result, events, taken = run(stack, source, one=PACED, two=BROKEN, three=PACED)
    assert result["status"] == "completed"
    assert result["outputs"] == {"text": "done - done"}
    assert statuses(result)["two"] == "failed"
    (failed,) = named(events, "node.failed")
    assert failed["data"]["on_error"] == "contained"
    assert taken < 8


def test_out_of_reach_it_fails_at_once(stack: LocalStack) -> None:
    source = RACE.replace("JOIN", "{at_least: 2}")
    result, _, taken = run(stack, source, one=SLOWLY, two=BROKEN, three=BROKEN)
    assert result["status"] == "failed"
    assert result["error"]["code"] == "quorum_not_reached"
    assert "'two' failed" in result["error"]["message"]
    assert statuses(result) == {
        "one": "cancelled", "two": "failed", "three": "failed", "first": "failed"
    }  # fmt: skip
    assert taken < 8


def test_a_race_in_each_round_of_a_loop(stack: LocalStack) -> None:
    source = """\
version: 1
name: rounds
nodes:
  quick: {type: llm, prompt: hi}
  slow: {type: llm, prompt: hi}
  after: {type: llm, prompt: hi}
  first: {type: template, join: any, template: "{{ nodes.quick.text ?? nodes.after.text ?? '' }}"}
  again: {type: loop, max_rounds: 2}
edges:
  - start -> quick, slow
  - slow -> after
  - quick, after -> first -> again
  - again.repeat -> quick, slow
  - again.done -> end
outputs: {text: "{{ nodes.first.text }}"}
"""
    result, events, taken = run(stack, source, quick=QUICK, slow=SLOWLY, after=SLOWLY)
    assert result["status"] == "completed"
    assert result["outputs"] == {"text": "done"}
    rows = [
        (row["node_id"], row["path"])
        for event in named(events, "nodes.cancelled")
        for row in event["data"]["nodes"]
    ]
    assert sorted(rows) == [("after", "1"), ("after", "2"), ("slow", "1"), ("slow", "2")]
    assert taken < 12
