"""Agents on the local stack that use tools outside: an API with a secret, and a workflow."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from kit.people import Person
from kit.tool_server import Asked, Told, tool_server

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack

BILL = """\
version: 1
name: {name}
inputs: {{cents: {{type: array, required: true}}}}
nodes: {{sum: {{type: transform, value: "{{{{ $sum(inputs.cents) }}}}"}}}}
edges: [start -> sum -> end]
outputs: {{total: "{{{{ nodes.sum.output }}}}"}}
"""


def flow(tools: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": 1,
        "name": f"outside-{uuid.uuid4().hex[:6]}",
        "agents": {"clerk": {"persona": "You take notes.", "tools": list(tools)}},
        "tools": tools,
        "nodes": {"ask": {"type": "agent", "agent": "clerk", "prompt": "Go on.", "timeout": "1m"}},
        "edges": ["start -> ask -> end"],
        "outputs": {"answer": "{{ nodes.ask.text }}"},
    }


def script(*steps: Any) -> list[dict[str, Any]]:
    return [
        {"node": "ask", "call": number, **({"text": step} if isinstance(step, str) else
         {"tool_calls": [{"name": step[0], "arguments": step[1]}]})}
        for number, step in enumerate(steps, 1)
    ]  # fmt: skip


def start(person: Person, source: dict[str, Any], cassette: list[dict[str, Any]]) -> str:
    published = person.call("POST", "/workflows", {"source": source})
    assert published.status_code in (200, 201), published.text
    begun = person.call(
        "POST", "/runs", {"workflow_id": published.json()["workflow_id"], "cassette": cassette}
    )
    assert begun.status_code == 202, begun.text
    return str(begun.json()["run_id"])


def test_an_api_gets_the_secret_and_the_owner_and_no_event_has_it(stack: LocalStack) -> None:
    def answer(asked: Asked) -> Told:
        return Told(json.dumps({"id": 7}), status=201)

    ada = Person(stack, f"ada-{uuid.uuid4().hex[:6]}")
    body = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    with tool_server(answer) as server:
        document = {
            "openapi": "3.1.0",
            "servers": [{"url": server.url}],
            "paths": {"/notes": {"post": {"operationId": "add", "summary": "Adds a note.",
                "requestBody": {"required": True,
                                "content": {"application/json": {"schema": body}}}}}},
        }  # fmt: skip
        tools = {"notes": {"kind": "openapi", "document": json.dumps(document),
                           "secret_headers": {"Authorization": "notes"},
                           "send_identity": True}}  # fmt: skip
        run_id = start(ada, flow(tools), script(("notes_add", {"text": "tea"}), "Noted."))
        run = ada.wait(run_id, "completed", "failed")
    assert (run["status"], run["outputs"]) == ("completed", {"answer": "Noted."})
    [asked] = server.requests
    assert asked.headers["authorization"] == "Bearer s3cret-of-notes"
    assert asked.headers["joinery-owner"] == ada.owner
    assert asked.headers["joinery-run"] == run_id
    page = ada.call("GET", f"/runs/{run_id}/events?text=true").text
    [called] = [e for e in json.loads(page)["events"] if e["event"] == "tool.called"]
    assert asked.headers["idempotency-key"] == called["data"]["key"]
    assert "s3cret" not in page + json.dumps(run)


def test_a_published_workflow_is_a_tool_of_its_owner_only(stack: LocalStack) -> None:
    ada, bob = (Person(stack, f"{name}-{uuid.uuid4().hex[:6]}") for name in ("ada", "bob"))
    name = f"bill-{uuid.uuid4().hex[:6]}"
    assert ada.call("POST", "/workflows", {"source": BILL.format(name=name)}).is_success
    tools = {"bill": {"kind": "workflow", "workflow": name, "description": "Adds up."}}
    run_id = start(ada, flow(tools), script(("bill", {"cents": [250, 480]}), "7.30"))
    run = ada.wait(run_id, "completed", "failed")
    assert (run["status"], run["outputs"]) == ("completed", {"answer": "7.30"})
    events = ada.call("GET", f"/runs/{run_id}/events").json()["events"]
    [done] = [e["data"] for e in events if e["event"] == "tool.completed"]
    assert (done["ok"], done["chars"]) == (True, len('{"total": 730}'))
    runs = ada.call("GET", "/runs").json()["runs"]
    assert [r["status"] for r in runs if r["run_id"] != run_id] == ["completed"]
    refused = bob.call("POST", "/workflows", {"source": flow(tools)})
    assert refused.status_code == 422
    assert "no published workflow" in refused.text
