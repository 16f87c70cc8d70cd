"""Several nodes in one real invocation: fused, and inline; killed, and cancelled in the middle."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import websockets.sync.client
from kit.api import Api
from kit.processes import workers

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack

SLOW = "this one speaks for quite a while so that there is time to act in between"
CHAIN = {
    "version": 1,
    "nodes": {name: {"type": "llm", "prompt": f"{name} speaks"} for name in "abc"},
    "edges": ["start -> a -> b -> c -> end"],
    "outputs": {"said": "{{ nodes.a.text }} {{ nodes.c.text }}"},
}
FORK = {**CHAIN, "run_on": "inline", "edges": ["start -> a, b -> c -> end"]}


@pytest.fixture(scope="module")
def api(stack: LocalStack) -> Iterator[Api]:
    with Api(stack) as made:
        yield made


def publish(api: Api, name: str, graph: dict[str, Any], opt: int = 2) -> str:
    source = json.dumps({**graph, "name": name})
    answer = api.http.post("/workflows", json={"source": source, "opt": opt})
    assert answer.status_code in (200, 201), answer.text
    return str(answer.json()["workflow_id"])


def cassette(slow: str) -> list[dict[str, Any]]:
    fast = [{"node": n, "text": f"{n} is done"} for n in "abc" if n != slow]
    return [*fast, {"node": slow, "text": SLOW, "tokens_per_second": 8}] if slow else fast


def follow(api: Api, run_id: str, act: Callable[[dict[str, Any]], None]) -> list[dict[str, Any]]:
    """Watches a run to its end; `act` sees every message."""
    messages: list[dict[str, Any]] = []
    end = time.monotonic() + 90
    with websockets.sync.client.connect(
        api.stack.websocket_url, additional_headers=api.headers
    ) as socket:
        socket.send(json.dumps({"action": "subscribe", "request_id": "1", "run_id": run_id}))
        while True:
            assert time.monotonic() < end, [m["event"] for m in messages]
            messages.append(json.loads(socket.recv(timeout=60)))
            act(messages[-1])
            if messages[-1]["event"] in {"run.completed", "run.failed", "run.cancelled"}:
                return messages


def nobody(_: dict[str, Any]) -> None:
    return


def transitions(api: Api, run_id: str) -> int:
    return int(api.http.get(f"/runs/{run_id}/cost").json()["transitions"])


class Killer:
    """Kills the workers once a node speaks."""

    def __init__(self, stack: LocalStack, node: str) -> None:
        self.stack, self.node, self.killed = stack, node, False

    def __call__(self, message: dict[str, Any]) -> None:
        if message["event"] == "text.delta" and message["node_id"] == self.node:
            if not self.killed:
                for pid in workers(self.stack):
                    os.kill(pid, signal.SIGKILL)
            self.killed = True


@pytest.mark.parametrize("graph", [CHAIN, FORK], ids=["fused", "inline"])
def test_a_walk_is_one_transition_and_gives_what_nodes_of_their_own_give(
    api: Api, graph: dict[str, Any]
) -> None:
    run_id = api.start(publish(api, "walk", graph), cassette=cassette(""))
    messages = follow(api, run_id, nobody)
    run = api.get(run_id)
    assert run["status"] == "completed"
    assert run["outputs"] == {"said": "a is done c is done"}
    assert [m["node_id"] for m in messages if m["event"] == "node.completed"][-1] == "c"
    assert transitions(api, run_id) == 1


@pytest.mark.faults
@pytest.mark.parametrize("graph", [CHAIN, FORK], ids=["fused", "inline"])
def test_a_worker_killed_in_a_walk_repeats_only_the_node_that_ran(
    stack: LocalStack, api: Api, graph: dict[str, Any]
) -> None:
    run_id = api.start(publish(api, "killed", graph), cassette=cassette("b"))
    killer = Killer(stack, "b")
    messages = follow(api, run_id, killer)
    assert killer.killed
    run = api.get(run_id)
    assert run["status"] == "completed"
    attempts = {n["node_id"]: n["attempts"] for n in run["nodes"]}
    assert attempts == {"a": 1, "b": 2, "c": 1}
    started = [m["node_id"] for m in messages if m["event"] == "node.started"]
    assert sorted(started) == ["a", "b", "b", "c"]


@pytest.mark.parametrize("graph", [CHAIN, FORK], ids=["fused", "inline"])
def test_no_node_starts_after_a_cancel_in_the_middle_of_a_walk(
    api: Api, graph: dict[str, Any]
) -> None:
    run_id = api.start(publish(api, "cancelled", graph), cassette=cassette("b"))
    asked: list[int] = []

    def cancels(message: dict[str, Any]) -> None:
        if message["event"] == "text.delta" and message["node_id"] == "b" and not asked:
            asked.append(api.http.post(f"/runs/{run_id}/cancel").status_code)

    messages = follow(api, run_id, cancels)
    assert asked in ([200], [202])
    assert messages[-1]["event"] == "run.cancelled"
    time.sleep(3)
    stored = api.http.get(f"/runs/{run_id}/events", params={"limit": 100}).json()["events"]
    assert "c" not in {m.get("node_id") for m in stored}
    assert api.get(run_id)["status"] == "cancelled"
