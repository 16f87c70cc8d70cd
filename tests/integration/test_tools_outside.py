"""Agents that use tools outside by `joinery run`: a real MCP server and a real API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kit.mcp_server import mcp_server
from kit.tool_server import Asked, Told, tool_server


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    with mcp_server(tmp_path_factory.mktemp("shop")) as (url, log, _):
        yield url, log


def run(folder: Path, tools: dict[str, Any], cassette: list[dict[str, Any]], **environ: str) -> Any:
    """Runs an agent with these tools as a user would; returns what `--json` prints."""
    flow = {
        "version": 1,
        "name": "outside",
        "agents": {"clerk": {"persona": "You look.", "tools": list(tools),
                             "max_rounds": 3}},
        "tools": tools,
        "nodes": {"ask": {"type": "agent", "agent": "clerk", "prompt": "What is the price of tea?",
                          "model": {"temperature": 0, "max_tokens": 60}}},
        "edges": ["start -> ask -> end"],
        "outputs": {"answer": "{{ nodes.ask.text }}"},
    }  # fmt: skip
    (folder / "flow.yaml").write_text(json.dumps(flow))
    command = [sys.executable, "-c", "from joinery_cli.main import run; run()", "run",
               str(folder / "flow.yaml"), "--engine", "inline", "--json"]  # fmt: skip
    rows = [{"node": "ask", "call": n + 1, **row} for n, row in enumerate(cassette)]
    (folder / "cassette.json").write_text(json.dumps(rows))
    command += ["--scripted", str(folder / "cassette.json")]
    plain = {name: v for name, v in os.environ.items() if not name.startswith("JOINERY_")}
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
        env={**plain, **environ},
    )
    assert done.returncode in {0, 1}, done.stderr
    return json.loads(done.stdout)


def calls(*named: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return {"tool_calls": [{"name": name, "arguments": given} for name, given in named]}


def test_an_agent_orders_at_an_mcp_server(shop: tuple[str, Path], tmp_path: Path) -> None:
    url, log = shop
    tools = {"shop": {"kind": "mcp", "url": url, "tools": ["price", "order"],
                      "send_identity": True}}  # fmt: skip
    done = run(tmp_path, tools, [
        calls(("shop_price", {"item": "tea", "count": 2}), ("shop_price", {"item": "gold"})),
        calls(("shop_order", {"item": "tea"})),
        {"text": "Ordered."},
    ])  # fmt: skip
    assert done["status"] == "completed", done
    assert done["outputs"] == {"answer": "Ordered."}
    [line] = [row for row in log.read_text().splitlines() if row.startswith("order")]
    # The key is the run's own place, and the owner whoever runs it here.
    item, key, owner = line.split()[1:]
    assert (item, owner) == ("tea", "me")
    assert key.startswith(done["run_id"])


def test_an_agent_notes_something_by_an_api(tmp_path: Path) -> None:
    def answer(asked: Asked) -> Told:
        if asked.headers.get("authorization") != "Bearer s3cret-of-notes":
            return Told('{"error": "who?"}', status=401)
        return Told(json.dumps({"id": 7, **json.loads(asked.body)}), status=201)

    body = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    with tool_server(answer) as server:
        document = {
            "openapi": "3.1.0",
            "servers": [{"url": server.url}],
            "paths": {"/notes": {"post": {"operationId": "add", "summary": "Adds a note.",
                "requestBody": {"required": True,
                                "content": {"application/json": {"schema": body}}}}}},
        }  # fmt: skip
        (tmp_path / "notes.json").write_text(json.dumps(document))
        tools = {"notes": {"kind": "openapi", "document": {"file": "notes.json"},
                           "secret_headers": {"Authorization": "notes"}}}  # fmt: skip
        script = [calls(("notes_add", {"text": "buy tea"})), {"text": "Noted."}]
        done = run(tmp_path, tools, script, JOINERY_SECRET_NOTES="Bearer s3cret-of-notes")
        without = run(tmp_path, tools, script)
    assert done["outputs"] == {"answer": "Noted."}
    assert [json.loads(asked.body) for asked in server.requests] == [{"text": "buy tea"}]
    # Without its secret the tool fails, which the model is told, and it goes on.
    assert without["status"] == "completed"
    assert "s3cret" not in json.dumps([done, without])


def test_a_server_that_is_gone_ends_the_agent_with_its_name(tmp_path: Path) -> None:
    tools = {"shop": {"kind": "mcp", "url": "http://127.0.0.1:9/mcp"}}
    done = run(tmp_path, tools, [{"text": "never"}])
    assert done["status"] == "failed"
    assert done["error"]["code"] == "attempts_exhausted"
    told = json.dumps(done["error"])
    assert "tool.unreachable" in told
    assert "'shop'" in told


SUM = """\
version: 1
name: bill
inputs:
  cents: {type: array, required: true, description: What to add up.}
  currency: {default: EUR}
nodes:
  sum: {type: transform, value: "{{ $sum(inputs.cents) }}"}
  said: {type: template, template: "{{ nodes.sum.output }} {{ inputs.currency }}"}
edges: [start -> sum -> said -> end]
outputs: {total: "{{ nodes.said.text }}"}
"""


def test_a_workflow_is_a_tool(tmp_path: Path) -> None:
    (tmp_path / "bill.yaml").write_text(SUM)
    tools = {"bill": {"kind": "workflow", "workflow": "./bill.yaml",
                      "description": "Adds up a bill."}}  # fmt: skip
    done = run(tmp_path, tools, [
        calls(("bill", {"cents": [250, 480]})),
        calls(("bill", {"currency": "EUR"})),
        {"text": "7.30"},
    ])  # fmt: skip
    assert done["status"] == "completed", done
    assert done["outputs"] == {"answer": "7.30"}
