"""An EventSource that is not ours reads a run over connections that are cut."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from kit.cut_streams import CASSETTE, CUTS, SOURCE, TEXTS, text_once
from kit.node import run_node
from kit.people import Person

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack


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
        assert text_once(messages, node) == text
