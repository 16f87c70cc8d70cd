"""Events, text and cost of a run over HTTP."""

from __future__ import annotations

import time
from typing import Any

import pytest
from kit.installation import Api
from kit.workflows import workflow

from joinery.catalog.ports import Version
from joinery.errors import NodeError
from joinery.events.make import make_event
from joinery.runs.end import close_failed
from joinery.runs.model import NodeKey, NodeRecord
from joinery.runs.ports import TextPiece
from joinery.runs.start import create_run


@pytest.fixture
def run_id(server: Api) -> str:
    """A run with ten events more than its first."""
    from joinery.compiler.compile import compile_workflow

    plan = compile_workflow(workflow(["start -> a", "a -> end"]), opt=1).plan
    deps = server.installation.run_deps()
    version = Version("wf", 1, "me", "test", "", "arn", 1, 0.0, plan.to_dict())
    server.installation.catalog().add_version(version)
    run, _ = create_run(deps, plan, owner="me", workflow_id="wf", version=1, given={})
    append(server, run.run_id, 10)
    return run.run_id


def append(server: Api, run_id: str, count: int, **data: Any) -> None:
    installation = server.installation
    events = [
        make_event("node.started", run_id, data, at=installation.clock(), node_id="a")
        for _ in range(count)
    ]
    installation.store.append(run_id, events)


def seqs(reply: Any) -> list[int]:
    return [event["seq"] for event in reply.body["events"]]


# -- events --------------------------------------------------------------------------------


def test_events_come_in_pages_by_cursor(server: Api, run_id: str) -> None:
    first = server.get(f"/runs/{run_id}/events", limit=4)
    assert seqs(first) == [1, 2, 3, 4]
    assert (first.body["head"], first.body["next_after_seq"]) == (11, 4)
    rest = server.get(f"/runs/{run_id}/events", after_seq=4)
    assert seqs(rest) == [5, 6, 7, 8, 9, 10, 11]
    # Each tells how far the log goes now, not when it was written.
    assert {event["head"] for event in rest.body["events"]} == {11}
    end = server.get(f"/runs/{run_id}/events", after_seq=11)
    assert end.body == {"events": [], "head": 11, "next_after_seq": 11}
    beyond = server.get(f"/runs/{run_id}/events", after_seq=12)
    assert (beyond.status, beyond.error["code"]) == (409, "cursor_ahead")
    assert beyond.error["details"] == {"head": 11}


def test_a_young_hole_ends_the_page(server: Api, run_id: str) -> None:
    lost = server.installation.store.drop_event(run_id, 5)
    page = server.get(f"/runs/{run_id}/events")
    assert seqs(page) == [1, 2, 3, 4]
    assert (page.body["head"], page.body["next_after_seq"]) == (11, 4)
    server.installation.store.put_event(run_id, lost)
    assert seqs(server.get(f"/runs/{run_id}/events", after_seq=4)) == [5, 6, 7, 8, 9, 10, 11]


def test_an_old_hole_becomes_a_void(server: Api, run_id: str) -> None:
    for seq in (5, 6, 8):
        server.installation.store.drop_event(run_id, seq)
    server.installation.now = time.time() + 3
    page = server.get(f"/runs/{run_id}/events")
    assert seqs(page) == list(range(1, 12))
    voids = [e["seq"] for e in page.body["events"] if e["event"] == "void"]
    assert voids == [5, 6, 8]


def test_a_hole_beyond_the_page_is_left_alone(server: Api, run_id: str) -> None:
    server.installation.store.drop_event(run_id, 8)
    server.installation.now = time.time() + 3
    assert seqs(server.get(f"/runs/{run_id}/events", limit=4)) == [1, 2, 3, 4]
    stored = server.installation.store.events(run_id, 0, 100)
    assert 8 not in [event["seq"] for event in stored]


def test_a_hole_at_the_head_waits_for_the_end_of_the_run(server: Api, run_id: str) -> None:
    installation = server.installation
    installation.now = time.time() + 60
    installation.store.drop_event(run_id, 11)
    # A node may have drawn the number this very moment.
    assert server.get(f"/runs/{run_id}/events").body["next_after_seq"] == 10
    run = installation.store.get_run(run_id)
    close_failed(installation.run_deps(), run, NodeError("over"))
    installation.store.drop_event(run_id, 12)
    assert server.get(f"/runs/{run_id}/events").body["next_after_seq"] == 10
    installation.now += 3
    page = server.get(f"/runs/{run_id}/events", after_seq=10)
    assert [e["event"] for e in page.body["events"]] == ["void", "void"]


def test_large_events_make_smaller_pages_not_errors(server: Api, run_id: str) -> None:
    append(server, run_id, 30, padding="x" * 100_000)
    sizes, cursor, seen = [], 0, []
    while cursor < 41:
        page = server.get(f"/runs/{run_id}/events", after_seq=cursor, limit=1_000)
        sizes.append(len(page.raw))
        seen += seqs(page)
        assert page.body["next_after_seq"] > cursor
        cursor = page.body["next_after_seq"]
    assert seen == list(range(1, 42))
    assert max(sizes) < 2_700_000


# -- text ------------------------------------------------------------------------------------


def say(server: Api, run_id: str, order: int, texts: list[str], path: str = "") -> None:
    """Stores pieces of a node's text, one behind the other."""
    store, offset = server.installation.store, 0
    key = NodeKey(order, path)
    store._runs[run_id].nodes[key] = NodeRecord(key, f"node{order}", "running", 1)
    for text in texts:
        store.put_text(run_id, TextPiece(key, 1, "text", offset, text))
        offset += len(text)


def test_stored_text_names_nodes_not_ordinals(server: Api, run_id: str) -> None:
    say(server, run_id, 0, ["one ", "two"])
    say(server, run_id, 1, ["three"], "2")
    page = server.get(f"/runs/{run_id}/texts").body
    assert page["next_cursor"] is None
    assert [(r["node_id"], r["path"], r["offset"], r["text"]) for r in page["texts"]] == [
        ("node0", "", 0, "one "),
        ("node0", "", 4, "two"),
        ("node1", "2", 0, "three"),
    ]
    only = server.get(f"/runs/{run_id}/texts", node_id="node1").body["texts"]
    assert [row["text"] for row in only] == ["three"]


def test_much_text_comes_in_pages(server: Api, run_id: str) -> None:
    say(server, run_id, 0, ['"' * 100_000] * 36)
    rows, query = [], {}
    while True:
        page = server.get(f"/runs/{run_id}/texts", **query).body
        rows += page["texts"]
        if page["next_cursor"] is None:
            break
        query = {"cursor": page["next_cursor"]}
    assert "".join(row["text"] for row in rows) == '"' * 3_600_000


@pytest.mark.parametrize("cursor", ["x", "-1", "²"])
def test_a_cursor_that_is_none_is_refused(server: Api, run_id: str, cursor: str) -> None:
    reply = server.get(f"/runs/{run_id}/texts", cursor=cursor)
    assert (reply.status, reply.error["code"]) == (400, "invalid_request")


def test_a_run_too_large_to_show_names_the_smaller_way(server: Api, run_id: str) -> None:
    key = NodeKey(0, "")
    result = {"text": '"\n' * 1_500_000}
    record = NodeRecord(key, "a", "completed", 1, ended_at=1.0, result=result)
    server.installation.store._runs[run_id].nodes[key] = record
    reply = server.get(f"/runs/{run_id}")
    assert (reply.status, reply.error["code"]) == (413, "too_large")
    assert f"GET /runs/{run_id}?results=false" in reply.error["message"]
    assert server.get(f"/runs/{run_id}", results="false").status == 200


# -- cost --------------------------------------------------------------------------------------


def test_cost_adds_up(server: Api, run_id: str) -> None:
    installation = server.installation
    installation.store.mark_started(run_id, "arn:execution", installation.clock())
    key = NodeKey(0, "")
    usage = {"input_tokens": 100, "output_tokens": 20, "model_calls": 1, "estimated": False}
    installation.store._runs[run_id].nodes[key] = NodeRecord(
        key, "a", "completed", 1, started_at=1.0, ended_at=11.0, usage=usage
    )
    installation.calls = {
        "lambda.Invoke": 3,
        "dynamodb.GetItem": 8,
        "dynamodb.PutItem": 10,
        "apigatewaymanagementapi.PostToConnection": 40,
        "s3.PutObject": 2,
    }
    cost = server.get(f"/runs/{run_id}/cost").body
    assert cost["transitions"] == 4
    assert cost["transitions_predicted"] == 2
    assert cost["transitions_counted"] is True
    assert cost["aws_calls"] == installation.calls
    assert cost["model_calls"] == 1
    assert cost["tokens"] == {"input_tokens": 100, "output_tokens": 20, "estimated": False}
    prices = cost["price_by_service"]
    assert prices["states"] == pytest.approx(4 * 25e-6)
    assert prices["lambda"] == pytest.approx(3 * 0.2e-6 + 10.15 * 0.5 * 13.3334e-6, abs=1e-8)
    assert prices["dynamodb"] == pytest.approx(8 * 0.125e-6 + 10 * 0.625e-6, abs=1e-8)
    assert prices["apigateway"] == pytest.approx(40e-6)
    assert prices["s3"] == pytest.approx(10e-6)
    assert cost["price_usd"] == pytest.approx(sum(prices.values()), abs=1e-7)
    # These lines told no units; others do.
    assert cost["dynamodb_units"] == {"read": 8.0, "write": 10.0}
    installation.calls |= {"dynamodb.ReadUnits": 20.5, "dynamodb.WriteUnits": 31.0}
    told = server.get(f"/runs/{run_id}/cost").body
    assert told["aws_calls"] == cost["aws_calls"]
    assert told["dynamodb_units"] == {"read": 20.5, "write": 31.0}
    paid = told["price_by_service"]["dynamodb"]
    assert paid == pytest.approx(20.5 * 0.125e-6 + 31 * 0.625e-6, abs=1e-8)


def test_the_time_that_invocations_logged_is_what_is_paid(server: Api, run_id: str) -> None:
    # Two nodes side by side in one invocation: their times overlap.
    for place in (0, 1):
        key = NodeKey(place, "")
        server.installation.store._runs[run_id].nodes[key] = NodeRecord(
            key, "a", "completed", 1, started_at=1.0, ended_at=11.0
        )
    server.installation.calls = {"lambda.Invoke": 1, "lambda.Milliseconds": 10_300}
    cost = server.get(f"/runs/{run_id}/cost").body
    assert cost["aws_calls"] == {"lambda.Invoke": 1}
    paid = cost["price_by_service"]["lambda"]
    assert paid == pytest.approx(0.2e-6 + 10.3 * 0.5 * 13.3334e-6, abs=1e-8)


def test_of_a_run_with_too_many_items_the_transitions_are_foretold(
    server: Api, run_id: str
) -> None:
    installation = server.installation
    installation.store.mark_started(run_id, "arn:execution", installation.clock())
    key = NodeKey(0, "")
    installation.store._runs[run_id].nodes[key] = NodeRecord(
        key, "a", "completed", 1, started_at=1.0, ended_at=2.0
    )
    installation.runs.counted = None
    cost = server.get(f"/runs/{run_id}/cost").body
    assert cost["transitions_counted"] is False
    assert cost["transitions"] == cost["transitions_predicted"] == 2
    assert cost["price_by_service"]["states"] == pytest.approx(2 * 25e-6)


def test_a_run_that_has_done_nothing_costs_nothing(server: Api, run_id: str) -> None:
    cost = server.get(f"/runs/{run_id}/cost").body
    assert (cost["transitions"], cost["transitions_predicted"], cost["price_usd"]) == (0, 0, 0)
