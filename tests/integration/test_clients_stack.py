"""docs/clients.md on the local stack: every example that it shows runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kit.node import run_node

from joinery.client import Client

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "clients.md").read_text("utf-8")
PYTHON = re.findall(r"<!-- run -->\n```python\n(.*?)```", PAGE, flags=re.DOTALL)
JAVASCRIPT = re.findall(r"<!-- run -->\n```js\n(.*?)```", PAGE, flags=re.DOTALL)

SOURCE = """\
version: 1
name: clients-page
inputs:
  document: {type: string, required: true}
defaults:
  model: {provider: scripted, name: any}
nodes:
  pro: {type: llm, prompt: "Defend 🌿 {{ inputs.document }}"}
edges: [start -> pro -> end]
outputs: {text: "{{ nodes.pro.text }}"}
"""


@pytest.fixture(scope="module")
def workflow_id(stack: LocalStack) -> str:
    with Client(stack.http_api_url, stack.websocket_url, stack.token) as client:
        found: str = client.publish(SOURCE)["workflow_id"]
    return found


def text_of_newest_run(stack: LocalStack) -> str:
    with Client(stack.http_api_url, stack.websocket_url, stack.token) as client:
        [run] = client.runs(limit=1)["runs"]
        text: str = client.get(run["run_id"])["outputs"]["text"]
    assert text
    return text


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python(
    stack: LocalStack, workflow_id: str, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {
        "base_url": stack.http_api_url,
        "ws_url": stack.websocket_url,
        "token": stack.token,
        "workflow_id": workflow_id,
    }
    exec(compile(PYTHON[number], "docs/clients.md", "exec"), names)
    said = capsys.readouterr().out
    assert text_of_newest_run(stack) in said or "run.completed" in said


def test_javascript(stack: LocalStack, workflow_id: str, tmp_path: Path) -> None:
    [code] = JAVASCRIPT
    here = (ROOT / "console" / "joinery-client.js").as_uri()
    script = tmp_path / "page.mjs"
    script.write_text(
        code.replace("./joinery-client.js", here)
        .replace("{ baseUrl, wsUrl, token }", "{ ...given }")
        .replace("workflowId", "given.workflowId")
        .replace("const client", "const given = JSON.parse(process.argv[2]);\nconst client"),
        encoding="utf-8",
    )
    given = {
        "baseUrl": stack.http_api_url,
        "wsUrl": stack.websocket_url,
        "token": stack.token,
        "workflowId": workflow_id,
    }
    ran = run_node(str(script), json.dumps(given))
    assert ran.returncode == 0, ran.stderr
    assert text_of_newest_run(stack) in ran.stdout


def test_http_alone_brings_what_a_socket_brings(stack: LocalStack, workflow_id: str) -> None:
    with (
        Client(stack.http_api_url, stack.websocket_url, stack.token) as client,
        Client(stack.http_api_url, "", stack.token) as by_http,
    ):
        run_id = client.start(workflow_id, {"document": "Four days."})["run_id"]
        slow = list(by_http.follow(run_id))
        again = list(client.follow(run_id))
        nothing = list(client.follow(run_id, after_seq=slow[-1]["seq"]))
        nothing += list(by_http.follow(run_id, after_seq=slow[-1]["seq"]))
    said = [[{**m, "head": 0} for m in ms if "seq" in m] for ms in (slow, again)]
    assert said[0] == said[1]
    assert slow[-1]["event"] == "run.completed"
    spoken = ["".join(m["data"].get("text", "") for m in ms if "seq" not in m)
              for ms in (slow, again)]  # fmt: skip
    assert spoken[0] == spoken[1] != ""
    assert not [message for message in nothing if "seq" in message]
