"""Once a client has a run's last event, its status, outputs and nodes are in the table."""

from __future__ import annotations

import json
import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from kit.people import Person, until

from joinery.aws.items import META, NODES

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack

TIMES = max(2, int(os.environ.get("JOINERY_EXAMPLES", "60")) // 12)
"""How often each ending is watched, twice at once."""

SOURCE = """\
version: 1
name: ends
nodes:
  first: {type: llm, prompt: hi}
  left: {type: llm, prompt: hi}
  right: {type: llm, prompt: hi}
  last: {type: template, template: "{{ nodes.left.text }} {{ nodes.right.text }}"}
edges:
  - start -> first -> left, right
  - left, right -> last -> end
outputs: {text: "{{ nodes.last.text }}"}
"""
LONG = "word " * 2_000
"""Makes an output that is stored outside of the table."""

ENDINGS: dict[str, tuple[list[dict[str, Any]], dict[str, set[str]]]] = {
    "completed": (
        [{"node": "left", "text": LONG, "tokens_per_second": 20_000}],
        {name: {"completed"} for name in ("first", "left", "right", "last")},
    ),
    "failed": (
        [{"node": "right", "error": {"name": "PermanentModelAuth"}}],
        {"first": {"completed"}, "right": {"failed"}, "left": {"completed", "failed", "cancelled"}},
    ),
    "cancelled": (
        [{"node": "right", "text": "word " * 100, "tokens_per_second": 40}],
        {"first": {"completed"}, "right": {"cancelled"}, "left": {"completed", "cancelled"}},
    ),
}


@pytest.fixture(scope="module")
def ada(stack: LocalStack) -> Person:
    return Person(stack, f"ada-{uuid.uuid4().hex[:6]}")


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_the_last_event_says_is_stored_when_a_client_has_it(ada: Person, ending: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(lambda _: follow_to_the_end(ada, ending), range(2 * TIMES)):
            pass


def follow_to_the_end(ada: Person, ending: str) -> None:
    cassette, nodes = ENDINGS[ending]
    run_id = ada.start(SOURCE, cassette=cassette)
    with ada.socket() as socket:
        socket.connection.send(
            json.dumps({"action": "subscribe", "request_id": "s", "run_id": run_id})
        )
        if ending == "cancelled":
            socket.next(lambda m: m["event"] == "text.delta" and m["node_id"] == "right")
            socket.connection.send(
                json.dumps({"action": "cancel", "request_id": "c", "run_id": run_id})
            )
        last = socket.next(lambda m: m["event"].startswith("run.") and m["event"] != "run.started")
        stored = items(ada, run_id)
    assert last["event"] == f"run.{ending}"
    run = ada.call("GET", f"/runs/{run_id}").json()
    # What was read at once is what stays, and it is all of it.
    meta = stored[META]
    assert (meta["status"]["S"], run["status"]) == (ending, ending)
    assert {"usage", "ended_at"} <= set(meta)
    # Whoever was about to say more when the run ended leaves nothing but empty places.
    after = until(lambda: settled(ada, run_id, last["seq"]))
    assert after["events"] == [e for e in after["events"] if e["event"] == "void"]
    assert after["head"] == last["seq"] + len(after["events"])
    shown = {row["node_id"]: row["status"] for row in run["nodes"]}
    # What had not begun when a run was stopped has no row.
    assert nodes.keys() - shown.keys() <= (set() if ending == "completed" else {"left"})
    for node, status in shown.items():
        assert status in nodes[node], (node, status)
    ends = {sk: item["status"]["S"] for sk, item in stored.items() if sk.startswith(NODES)}
    if ending == "completed":
        assert set(ends.values()) == {"completed"}
        assert run["outputs"]["text"].startswith(LONG)
        assert run["usage"] == last["data"]["usage"]
    elif ending == "failed":
        assert "failed" in ends.values()
        assert run["error"]["node_id"] == "right"


def settled(ada: Person, run_id: str, after_seq: int) -> dict[str, Any] | None:
    """Returns the page of events behind a place once it reaches up to the head."""
    page: dict[str, Any] = ada.call("GET", f"/runs/{run_id}/events?after_seq={after_seq}").json()
    return page if page["next_after_seq"] == page["head"] else None


def items(ada: Person, run_id: str) -> dict[str, dict[str, Any]]:
    """Reads a run's items by sort key, as they are in this moment."""
    table, found = ada.stack.client("dynamodb"), {}
    for prefix in (META, NODES):
        page = table.query(
            TableName=ada.stack.outputs["StateTableName"],
            KeyConditionExpression="pk = :run AND begins_with(sk, :sk)",
            ExpressionAttributeValues={":run": {"S": f"RUN#{run_id}"}, ":sk": {"S": prefix}},
            ConsistentRead=True,
        )
        found |= {item["sk"]["S"]: item for item in page["Items"]}
    return found
