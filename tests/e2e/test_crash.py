"""A worker dies in mid-stream: the run still ends right, and no node's effects come twice."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import websockets.sync.client
from kit.api import Api, texts
from kit.processes import workers

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parent.parent.parent
SLOW = "a side speaks for quite a while so that there is time to die"


def test_workers_killed_in_mid_stream(stack: LocalStack) -> None:
    with Api(stack) as api:
        workflow_id = api.publish(ROOT / "examples" / "debate.yaml")
        run_id = api.start(
            workflow_id,
            inputs={"document": "x"},
            cassette=[
                {"node": "pro", "text": SLOW, "tokens_per_second": 8},
                {"node": "con", "text": SLOW, "tokens_per_second": 8},
                {"node": "verdict", "text": json.dumps({"reason": "so", "score": 90})},
            ],
        )
        messages: list[dict[str, Any]] = []
        with websockets.sync.client.connect(
            stack.websocket_url, additional_headers=api.headers
        ) as socket:
            socket.send(json.dumps({"action": "subscribe", "request_id": "1", "run_id": run_id}))
            killed = False
            end = time.monotonic() + 90
            while not messages or not messages[-1]["event"].startswith("run.comp"):
                assert time.monotonic() < end, [m["event"] for m in messages]
                messages.append(json.loads(socket.recv(timeout=60)))
                speaking = {m["node_id"] for m in messages if m["event"] == "text.delta"}
                if not killed and speaking >= {"pro", "con"}:
                    killed = True
                    for pid in workers(stack):
                        os.kill(pid, signal.SIGKILL)

        run = api.get(run_id)
        assert run["status"] == "completed"
        nodes = {(n["node_id"], n["path"]): n for n in run["nodes"]}
        assert {nodes[(side, "1")]["attempts"] for side in ("pro", "con")} == {2}
        assert nodes[("pro", "1")]["result"]["text"] == SLOW
        started = [m for m in messages if m["event"] == "node.started"]
        assert [m["path"] for m in started if m["node_id"] == "verdict"] == ["1"]
        completed = [(m["node_id"], m["path"]) for m in messages if m["event"] == "node.completed"]
        assert len(completed) == len(set(completed)) == 4
        rebuilt = texts(messages)
        assert rebuilt[("pro", "1", 2)] == SLOW
        assert SLOW.startswith(rebuilt[("con", "1", 1)])
