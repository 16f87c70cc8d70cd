"""Questions on the local stack: real Tasks that wait, answered over every way there is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kit.node import run_node

from joinery.client import Client, Live
from joinery.errors import JoineryError

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[2]
APPROVE = ROOT / "examples" / "approve.yaml"

ASK = {"type": "question", "prompt": "Send it?", "options": ["yes", "no"]}


@pytest.fixture(scope="module")
def client(stack: LocalStack) -> Iterator[Client]:
    with Client(stack.http_api_url, stack.websocket_url, stack.token) as made:
        yield made


def start(client: Client, nodes: Any, edges: list[str], **more: Any) -> str:
    source = {"version": 1, "name": f"ask-{uuid.uuid4().hex[:8]}", "nodes": nodes,
              "edges": edges, **more}  # fmt: skip
    run_id: str = client.start(client.publish(source)["workflow_id"], {})["run_id"]
    return run_id


def reached(client: Client, run_id: str, status: str, more: Callable[[Any], bool] | None = None,
            timeout_s: float = 40) -> dict[str, Any]:  # fmt: skip
    end = time.monotonic() + timeout_s
    while True:
        run = client.get(run_id)
        if run["status"] == status and (more is None or more(run)):
            return run
        assert run["status"] in ("queued", "running", "waiting", "paused"), run
        assert time.monotonic() < end, run
        time.sleep(0.05)


def tokens_of(stack: LocalStack, run_id: str) -> list[Any]:
    found = stack.client("dynamodb").query(
        TableName=stack.outputs["StateTableName"],
        KeyConditionExpression="pk = :pk AND begins_with(sk, :w)",
        ExpressionAttributeValues={":pk": {"S": f"RUN#{run_id}"}, ":w": {"S": "W#"}},
    )
    return list(found["Items"])


def test_of_many_answers_at_once_one_is_taken(stack: LocalStack, client: Client) -> None:
    workflow_id = client.publish(APPROVE.read_text("utf-8"))["workflow_id"]
    run_id = client.start(workflow_id, {"to": "Bo"})["run_id"]
    run = reached(client, run_id, "waiting")
    [wait] = [node["wait"] for node in run["nodes"] if node["status"] == "waiting"]
    assert wait["prompt"].startswith("Dear Bo")
    assert wait["options"]["send"] == "Yes, send it"
    with pytest.raises(JoineryError) as refused:
        client.input(run_id, "Send", node_id="approve")
    assert refused.value.code == "invalid_input"

    def answer(value: str) -> str:
        try:
            client.input(run_id, value, node_id="approve")
        except JoineryError as error:
            return error.code
        return "taken"

    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(answer, ["send", "drop", "send", "drop"]))
    assert sorted(said) == ["already_answered"] * 3 + ["taken"]
    run = reached(client, run_id, "completed")
    first = "send" if said.index("taken") % 2 == 0 else "drop"
    assert run["outputs"]["approved"] == first
    events = [e["event"] for e in client.events(run_id)]
    assert events.count("input.requested") == events.count("input.received") == 1
    assert tokens_of(stack, run_id) == []


def test_items_wait_side_by_side_and_the_socket_answers(client: Client) -> None:
    nodes = {"each": {"type": "iterate", "items": ["x", "y"]},
             "a": {"type": "question", "prompt": "{{ item }}?"}}  # fmt: skip
    edges = ["start -> each", "each.item -> a", "each.done -> end"]
    with Live(client) as live:
        run_id = start(client, nodes, edges, outputs={"all": "{{ nodes.a[*].text }}"})
        live.watch(run_id)
        asked: set[str] = set()
        ended = False
        for message in live.messages(strict=True):
            if message["event"] == "input.requested":
                asked.add(message["path"])
            if asked == {"0", "1"} and not ended:
                ended = True
                with pytest.raises(JoineryError) as refused:
                    live.command("input", run_id=run_id, node_id="a", value="one")
                assert refused.value.details["paths"] == ["0", "1"]
                for path in ("1", "0"):
                    ack = live.command(
                        "input", run_id=run_id, node_id="a", path=path, value=f"said {path}"
                    )
                    assert ack["data"]["path"] == path
            last = message["event"]
    assert (ended, last) == (True, "run.completed")
    assert client.get(run_id)["outputs"] == {"all": ["said 0", "said 1"]}


def test_a_paused_run_keeps_its_question_and_time_takes_the_default(client: Client) -> None:
    nodes = {"a": ASK, "b": {**ASK, "default": "no", "timeout": "1s"}}
    run_id = start(client, nodes, ["start -> a -> b -> end"],
                   outputs={"a": "{{ nodes.a.text }}", "b": "{{ nodes.b.text }}"})  # fmt: skip
    reached(client, run_id, "waiting")
    client.pause(run_id)
    assert client.input(run_id, "yes")["kind"] == "answer"
    assert client.get(run_id)["status"] == "paused"
    client.resume(run_id)
    run = reached(client, run_id, "completed")
    assert run["outputs"] == {"a": "yes", "b": "no"}
    [late] = [node for node in run["nodes"] if node["node_id"] == "b"]
    assert (late["reason"], late["wait"]["answer"]["by"]) == ("default", "default")


def test_a_run_that_waits_is_cancelled(client: Client) -> None:
    run_id = start(client, {"a": ASK}, ["start -> a -> end"])
    reached(client, run_id, "waiting")
    client.cancel(run_id)
    with pytest.raises(JoineryError) as refused:
        client.input(run_id, "yes", node_id="a")
    assert (refused.value.code, refused.value.details) == ("not_waiting", {"status": "cancelled"})


def test_the_command_and_javascript_answer(
    stack: LocalStack, client: Client, tmp_path: Path
) -> None:
    run_id = start(client, {"a": ASK, "b": ASK}, ["start -> a -> b -> end"],
                   outputs={"x": ["{{ nodes.a.text }}", "{{ nodes.b.text }}"]})  # fmt: skip
    reached(client, run_id, "waiting")
    command = [sys.executable, "-m", "joinery_cli", "answer", run_id, "a", "yes"]
    environment = {**os.environ, "JOINERY_LOCAL_HOME": str(stack.home)}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "a is answered" in done.stderr
    reached(client, run_id, "waiting", lambda run: run["nodes"][-1]["status"] == "waiting")
    script = tmp_path / "answer.mjs"
    here = (ROOT / "console" / "joinery-client.js").as_uri()
    script.write_text(
        f"import {{ JoineryClient }} from {json.dumps(here)};"
        "const { runId, ...given } = JSON.parse(process.argv[2]);"
        "const client = new JoineryClient(given);"
        "console.log(JSON.stringify(await client.input(runId, 'no', { nodeId: 'b' })));",
        encoding="utf-8",
    )
    given = {"baseUrl": stack.http_api_url, "wsUrl": stack.websocket_url, "token": stack.token}
    ran = run_node(str(script), json.dumps({**given, "runId": run_id}))
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["node_id"] == "b"
    assert reached(client, run_id, "completed")["outputs"] == {"x": ["yes", "no"]}
