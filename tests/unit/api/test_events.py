"""Events over HTTP as a stream: what an EventSource is sent, and when it is told to stop."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from kit.installation import Api, Reply
from kit.workflows import workflow

from joinery.compiler.compile import compile_workflow
from joinery.errors import NodeError
from joinery.events.make import make_event
from joinery.identity.passes import COOKIE
from joinery.runs.end import close_failed
from joinery.runs.model import NodeKey
from joinery.runs.ports import TextPiece
from joinery.runs.start import create_run

STREAM = {"Accept": "text/event-stream"}
TEXT = "héllo 👩🏽‍🚀"


class Streamed:
    """A run whose node `a` is writing."""

    def __init__(self, server: Api) -> None:
        self.server, self.installation = server, server.installation
        nodes = {"a": {"type": "llm", "prompt": "hi"}}
        self.plan = compile_workflow(workflow(["start -> a", "a -> end"], nodes)).plan
        self.installation.plans["wf/1"] = self.plan
        deps = self.installation.run_deps()
        run, _ = create_run(deps, self.plan, owner="me", workflow_id="wf", version=1, given={})
        self.id = run.run_id
        self.path = f"/runs/{self.id}/events"
        self.event("node.started", {"attempt": 1, "type": "llm"})
        self.write(0, TEXT)

    def event(self, name: str, data: dict[str, Any]) -> None:
        now = self.installation.clock()
        made = make_event(name, self.id, data, at=now, node_id="a", path="")
        self.installation.store.append(self.id, [made])

    def write(self, offset: int, text: str) -> None:
        key = NodeKey(self.plan.by_id["a"].ord, "")
        piece = TextPiece(key, 1, "text", offset, text)
        self.installation.store.put_text(self.id, piece)

    def end(self) -> None:
        deps = self.installation.run_deps()
        close_failed(deps, deps.store.get_run(self.id), NodeError("over"))

    def get(self, last: str | None = None, **more: Any) -> Reply:
        headers = STREAM if last is None else {**STREAM, "Last-Event-ID": last}
        return self.server.get(self.path, headers=headers, **more)


@pytest.fixture
def run(server: Api) -> Streamed:
    return Streamed(server)


def parse(reply: Reply) -> list[tuple[str, dict[str, Any]]]:
    """Returns `(id, message)` as the EventSource standard reads a stream."""
    first, *blocks = reply.raw.removesuffix("\n\n").split("\n\n")
    assert first == "retry: 1000"
    found = []
    for block in blocks:
        match = re.fullmatch(r"id: (.*)\ndata: (.*)", block)
        assert match, block
        found.append((match[1], json.loads(match[2])))
    return found


def told(message: dict[str, Any]) -> dict[str, Any]:
    """A delta is made anew each time."""
    return {name: value for name, value in message.items() if name != "timestamp"}


def test_an_event_source_is_sent_what_is_stored_and_comes_back(run: Streamed) -> None:
    reply = run.get()
    assert (reply.status, reply.headers["cache-control"]) == (200, "no-store")
    assert reply.headers["content-type"].startswith("text/event-stream")
    first = parse(reply)
    assert [m["event"] for _, m in first] == ["run.started", "node.started", "text.delta"]
    assert first[-1][1]["data"]["text"] == TEXT
    # From anywhere on it gets the rest, and nothing twice.
    for place, (last, _) in enumerate(first):
        rest = parse(run.get(last))
        assert [told(m) for _, m in rest] == [told(m) for _, m in first[place + 1 :]]
    run.write(len(TEXT), " more")
    [(last, delta)] = parse(run.get(first[-1][0]))
    assert (delta["data"]["offset"], delta["data"]["text"]) == (len(TEXT), " more")
    assert parse(run.get(last)) == []


def test_it_is_told_to_stop_once_the_run_has_ended(run: Streamed) -> None:
    run.end()
    messages = parse(run.get())
    assert [m["event"] for _, m in messages][-2:] == ["text.delta", "run.failed"]
    end = run.get(messages[-1][0])
    assert (end.status, end.raw) == (204, "")


def test_json_brings_the_same_events_and_ids(run: Streamed) -> None:
    streamed = parse(run.get())
    plain = run.server.get(run.path).body
    assert plain["events"] == [m for _, m in streamed if "seq" in m]
    assert set(plain) == {"events", "head", "next_after_seq"}
    both = run.server.get(run.path, text="true").body
    assert both["last_event_id"] == streamed[-1][0]
    assert [d["data"] for d in both["deltas"]] == [m["data"] for _, m in streamed if "seq" not in m]
    again = run.server.get(run.path, text="true", last_event_id=both["last_event_id"]).body
    assert (again["events"], again["deltas"]) == ([], [])


def test_the_header_counts_more_than_the_address(run: Streamed) -> None:
    last = parse(run.get())[-1][0]
    assert parse(run.get(last, after_seq=0)) == []
    assert [m["seq"] for _, m in parse(run.get(after_seq=1)) if "seq" in m] == [2]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"last_event_id": "x"}, "invalid_request"),
        ({"last_event_id": "1;" + "3//1," * 900}, "invalid_request"),
        ({"wait": 11}, "invalid_request"),
        ({"wait": -1}, "invalid_request"),
        ({"after_seq": 3}, "cursor_ahead"),
        ({"last_event_id": "3;"}, "cursor_ahead"),
    ],
)
def test_bad_places_are_refused(run: Streamed, query: dict[str, Any], code: str) -> None:
    for headers in ({}, STREAM):
        reply = run.server.get(run.path, headers=headers, **query)
        assert reply.error["code"] == code
        assert reply.status == (409 if code == "cursor_ahead" else 400)


def test_a_page_that_is_full_goes_on(run: Streamed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joinery.api.events.PAGE_BYTES", 500)
    seen, last = [], None
    while messages := parse(run.get(last)):
        seen += [m["event"] for _, m in messages]
        last = messages[-1][0]
    assert seen == ["run.started", "node.started", "text.delta"]


def test_waiting_ends_with_news(run: Streamed, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            run.event("input.cut", {"kept_chars": 1, "total_chars": 2})

    monkeypatch.setattr("joinery.api.events.time.sleep", sleep)
    reply = run.server.get(run.path, after_seq=2, wait=10)
    assert [e["event"] for e in reply.body["events"]] == ["input.cut"]
    assert len(slept) == 2
    run.end()
    ended = run.server.get(run.path, after_seq=4, wait=10)
    assert (ended.body["events"], len(slept)) == ([], 2)


# -- who may -----------------------------------------------------------------------------

HOST = {"Host": "abc123.execute-api.us-east-1.amazonaws.com"}


def test_what_a_ticket_opened_is_opened_again_by_a_cookie(run: Streamed) -> None:
    reply = run.server.get(run.path, headers={**STREAM, **HOST}, found={"via": "ticket"})
    [cookie] = reply.cookies
    assert cookie.startswith(f"{COOKIE}=jp_")
    assert cookie.endswith("; HttpOnly; SameSite=Strict; Secure")
    [held] = run.installation.passed.rows.values()
    assert (held.caller.owner, held.run_id) == ("me", run.id)
    again = run.get(found={"via": "pass", "run_id": run.id})
    assert (again.status, again.cookies) == (200, [])


def test_nobody_else_is_given_one(run: Streamed) -> None:
    assert run.get().cookies == []
    assert run.server.get(run.path, found={"via": "ticket"}).cookies == []
    theirs = run.get(owner="you", found={"via": "ticket"})
    assert (theirs.status, theirs.cookies) == (404, [])
    assert not run.installation.passed.rows


def test_a_pass_is_for_one_run_and_for_reading_alone(run: Streamed) -> None:
    found = {"via": "pass", "run_id": "run_" + "0" * 26}
    assert run.get(found=found).status == 401
    mine = {"via": "pass", "run_id": run.id}
    assert run.server.get(f"/runs/{run.id}", found=mine).status == 401
    assert run.server.post(f"/runs/{run.id}/cancel", found=mine).status == 401
    assert run.server.post("/tickets", found=mine).status == 401
    assert run.get(owner=None).status == 401
