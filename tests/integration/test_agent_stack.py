"""Agents with tools on the local stack: real invocations, journals, kills and pauses."""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kit.api import Api
from kit.processes import workers

from joinery.client import Client

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack
ROOT = Path(__file__).parents[2]

TOOLS = {
    "slowly": {
        "description": "Waits and says what it was given.",
        "parameters": {"what": {"type": "string"}, "seconds": {"type": "number", "default": 0}},
        "read_only": False,
        "code": "import time\ndef slowly(what, seconds):\n"
        "    time.sleep(seconds)\n    return 'got ' + what",
    },
    "long": {
        "description": "Says very much.",
        "code": "def long():\n    return ''.join(f'line {i:06d}\\n' for i in range(200_000))",
    },
    "rows": {
        "description": "Has many rows.",
        "code": "def rows():\n    return {'rows': [{'id': i} for i in range(200)], 'next': 'p2'}",
    },
}


def agent(api: Api, **node: Any) -> str:
    source = {
        "version": 1,
        "name": f"agent-{uuid.uuid4().hex[:8]}",
        "agents": {"one": {"persona": "You look.", "tools": list(TOOLS)}},
        "tools": TOOLS,
        "nodes": {"a": {"type": "agent", "agent": "one", "prompt": "Go.", "timeout": "2m", **node}},
        "edges": ["start -> a -> end"],
        "outputs": {"text": "{{ nodes.a.text }}"},
    }
    answer = api.http.post("/workflows", json={"source": source})
    assert answer.status_code in (200, 201), answer.text
    return str(answer.json()["workflow_id"])


@pytest.fixture(scope="module")
def api(stack: LocalStack) -> Iterator[Api]:
    with Api(stack) as found:
        yield found


def events(api: Api, run_id: str, name: str) -> list[dict[str, Any]]:
    answer = api.http.get(f"/runs/{run_id}/events", params={"after_seq": 0})
    return [e["data"] for e in answer.json()["events"] if e["event"] == name]


def until(found: Callable[[], Any], timeout_s: float = 90) -> Any:
    end = time.monotonic() + timeout_s
    while not (value := found()):
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.05)
    return value


def ended(api: Api, run_id: str) -> Any:
    run = api.get(run_id)
    return run if run["status"] in ("completed", "failed", "cancelled") else None


def test_the_example_runs(stack: LocalStack) -> None:
    with Client(stack.http_api_url, stack.websocket_url, stack.token) as client:
        published = client.publish((ROOT / "examples/research.yaml").read_text())
        cassette = json.loads((ROOT / "examples/cassettes/research.json").read_text())
        run_id = client.start(published["workflow_id"], {}, cassette=cassette)["run_id"]
        seen = [message["event"] for message in client.follow(run_id)]
        view = client.get(run_id)
    assert view["status"] == "completed"
    assert view["outputs"]["answer"].startswith("Of the teas in the library, green tea")
    assert seen.count("agent.round") == 3
    assert seen.count("tool.called") == seen.count("tool.completed") == 5


def test_a_kill_between_what_a_tool_did_and_its_note(api: Api) -> None:
    quick = {"name": "slowly", "arguments": {"what": "one"}}
    slow = {"name": "slowly", "arguments": {"what": "two", "seconds": 3}}
    run_id = api.start(
        agent(api),
        cassette=[
            {"node": "a", "call": 1, "text": "First I look.", "tool_calls": [quick, slow]},
            {"node": "a", "call": 2, "text": "Found both."},
        ],
    )
    until(lambda: len(events(api, run_id, "tool.called")) == 2)
    time.sleep(0.5)  # the tool itself is at work by now, in a process of its own
    for pid in workers(api.stack):
        os.kill(pid, signal.SIGKILL)
    run = until(lambda: ended(api, run_id))
    assert run["status"] == "completed", run
    assert run["outputs"] == {"text": "Found both."}
    called = [(e["index"], e["key"]) for e in events(api, run_id, "tool.called")]
    # The first call was noted and is not repeated; the second is, under its key.
    assert called == [
        (0, f"{run_id}-0-_-1.0"), (1, f"{run_id}-0-_-1.1"), (1, f"{run_id}-0-_-1.1"),
    ]  # fmt: skip
    done = events(api, run_id, "tool.completed")
    assert [(e["index"], e["ok"]) for e in done] == [(0, True), (1, True)]
    assert [e["round"] for e in events(api, run_id, "agent.round")] == [1, 2]
    first, second = events(api, run_id, "node.started")
    assert (first["attempt"], second["attempt"]) == (1, 2)
    assert second["kept"]["text"] == len("First I look.")
    [completed] = events(api, run_id, "node.completed")
    assert completed["streams"]["text"]["length"] == len("First I look.\n\nFound both.")
    # Both answers are paid for once, though the attempt died that had asked for the first.
    assert run["usage"]["model_calls"] == 2


def test_the_rest_of_a_long_result_is_there_for_a_later_attempt(api: Api) -> None:
    run_id = api.start(
        agent(api),
        cassette=[
            {"node": "a", "call": 1, "tool_calls": [{"name": "long"}]},
            {"node": "a", "call": 2, "error": {"name": "TransientModelUnavailable"}},
            {
                "node": "a",
                "call": 3,
                "tool_calls": [
                    {"name": "read_result", "arguments": {"result": "1.0", "start": 1_800_000}}
                ],
            },
            {"node": "a", "call": 4, "text": "Read."},
        ],
    )
    run = until(lambda: ended(api, run_id))
    assert run["status"] == "completed", run
    assert len(events(api, run_id, "node.retrying")) == 1
    whole, part = events(api, run_id, "tool.completed")
    assert (whole["chars"], whole["cut"]) == (12 * 200_000, True)
    assert part["ok"]
    assert part["chars"] == 10_000 + len("\n[characters 1800000 to 1810000 of 2400000]")


def test_a_check_that_stays_untrue_ends_with_all_that_was_wrong(api: Api) -> None:
    check = {"that": "{{ $contains(text, 'row 150') }}", "say": "Name row 150."}
    page = {"result": "1.0", "list": "rows", "item": 150, "items": 1}
    calls = [
        {"tool_calls": [{"name": "rows"}, {"name": "long"}]},
        {"tool_calls": [{"name": "read_result", "arguments": page}]},
        *({"text": f"It is row {number}."} for number in range(6)),
    ]
    run_id = api.start(
        agent(api, check=check, tools=["rows"], retry={"attempts": 2, "backoff": "100ms"}),
        cassette=[{"node": "a", "call": n, **said} for n, said in enumerate(calls, 1)],
    )
    run = until(lambda: ended(api, run_id))
    assert run["status"] == "failed", run
    failed = {"check": 1, "that": "$contains(text, 'row 150')", "say": "Name row 150."}
    rejected = events(api, run_id, "output.rejected")
    assert [(e["attempt"], e["round"], e["checks"]) for e in rejected] == [
        (attempt, 3, [failed]) for attempt in (1, 1, 1, 2, 2, 2)
    ]
    [last] = events(api, run_id, "node.failed")
    for error in (last["error"], run["error"]):
        cause = error["details"]["cause"]
        assert cause["code"] == "output_invalid"
        assert cause["details"]["checks"] == [failed]
        assert cause["details"]["problems"] == ["Name row 150."]
    long, rows, part = events(api, run_id, "tool.completed")
    assert rows["result"] == {"rows": [{"id": i} for i in range(200)], "next": "p2"}
    assert (rows["cut"], "result_cut" in rows) == (True, False)
    # The node leaves its agent one of its tools.
    assert (long["ok"], long["code"]) == (False, "agent.unknown_tool")
    assert part["result"] == '[{"id": 150}]\n[items 150 to 150 of 200]'


def test_a_pause_stops_an_agent_between_two_rounds(api: Api) -> None:
    slow = {"name": "slowly", "arguments": {"what": "it", "seconds": 2}}
    run_id = api.start(
        agent(api),
        cassette=[
            {"node": "a", "call": 1, "tool_calls": [slow]},
            {"node": "a", "call": 2, "text": "Went on."},
        ],
    )
    until(lambda: events(api, run_id, "tool.called"))
    assert api.http.post(f"/runs/{run_id}/pause").status_code in (200, 202)
    until(lambda: events(api, run_id, "tool.completed"))
    time.sleep(1.5)
    assert api.get(run_id)["status"] == "paused"
    assert len(events(api, run_id, "agent.round")) == 1
    assert api.http.post(f"/runs/{run_id}/resume").status_code in (200, 202)
    run = until(lambda: ended(api, run_id))
    assert run["outputs"] == {"text": "Went on."}
    assert len(events(api, run_id, "tool.called")) == 1
