"""An EventSource that is not ours reads a run over connections that are cut."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from kit.node import run_node
from kit.people import Person

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack

SOURCE = """\
version: 1
name: cut_streams
nodes:
  talk: {type: llm, prompt: hi}
  back: {type: llm, prompt: hi}
edges:
  - start -> talk, back -> end
"""
TEXTS = {"talk": "Grüße 🌿 " * 120, "back": "wörter 👩‍👩‍👧 " * 100}
CASSETTE = [{"node": node, "text": text, "tokens_per_second": 40} for node, text in TEXTS.items()]

CUTS = [0.55, 0.97, 0.0, 0.4, None, 0.8]
"""How much of each answer comes before the connection is reset; None is all of it."""


def test_it_resumes_by_itself_with_nothing_missing_and_nothing_double(stack: LocalStack) -> None:
    ada = Person(stack, "ada")
    run_id = ada.start(SOURCE, cassette=CASSETTE)
    url = f"{stack.http_api_url}/runs/{run_id}/events?ticket={ada.ticket()}"
    ran = run_node("tests/js/event_source.mjs", json.dumps({"url": url, "cuts": CUTS}))
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout)
    messages, connections = seen["messages"], seen["connections"]
    # Every cut took place, and the address was asked again behind what had arrived.
    assert [c["status"] for c in connections[: len(CUTS)]] == [200] * len(CUTS)
    assert connections[-1]["status"] == 204
    # An answer that is cut within its first event leaves nothing to resume behind.
    resumed = [bool(connection["last"]) for connection in connections]
    assert resumed == sorted(resumed)
    assert any(resumed)
    stored = ada.call("GET", f"/runs/{run_id}/events").json()["events"]
    assert [m["seq"] for m in messages if "seq" in m] == [event["seq"] for event in stored]
    assert messages[-1]["event"] == "run.completed"
    for node, text in TEXTS.items():
        assert whole(messages, node) == text


def whole(messages: list[dict[str, Any]], node: str) -> str:
    text = ""
    for message in messages:
        if message["event"] == "text.delta" and message["node_id"] == node:
            assert message["data"]["offset"] == len(text), "a hole or a repeat"
            text += message["data"]["text"]
    return text
