"""Two people on one installation: nobody hears of a run that is not theirs, or touches it."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from kit.event_source import EventSource
from kit.people import Person

from joinery.events.types import ACTIONS

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack

ABSENT = "run_" + "0" * 26

TALKS = """\
version: 1
name: talks
nodes:
  talk: {type: llm, prompt: hi}
edges: [start -> talk -> end]
outputs: {text: "{{ nodes.talk.text }}"}
"""


def cassette(word: str, tokens_per_second: int = 60) -> list[dict[str, Any]]:
    text = f"{word} 🌿 " * 100
    return [{"node": "talk", "text": text, "tokens_per_second": tokens_per_second}]


@pytest.fixture(scope="module")
def people(stack: LocalStack) -> list[Person]:
    return [Person(stack, f"{name}-{uuid.uuid4().hex[:6]}") for name in ("ada", "bob")]


@pytest.fixture(scope="module")
def theirs(people: list[Person]) -> str:
    """A run of the first person that goes on while the second one tries everything on it."""
    run_id = people[0].start(TALKS, cassette=cassette("secret", 20))
    return run_id


# -- following two runs at once --------------------------------------------------------------

Heard = list[dict[str, Any]]


def by_socket(person: Person, mine: str, other: str) -> Heard:
    heard: Heard = []
    with person.socket() as socket:
        assert socket.send("subscribe", run_id=mine)["event"] == "ack"
        assert socket.send("subscribe", run_id=other)["data"]["code"] == "not_found"
        socket.next(lambda m: heard.append(m) or m["event"] == "run.completed")
        # What came of the other run would come before the answer to this.
        socket.connection.send(json.dumps({"action": "ping", "request_id": "last"}))
        socket.next(lambda m: heard.append(m) or m["event"] == "pong")
    return [message for message in heard if message["event"] != "pong"]


def by_event_source(person: Person, mine: str, other: str) -> Heard:
    address = f"{person.stack.http_api_url}/runs/{{}}/events?ticket={{}}"
    foreign = EventSource(address.format(other, person.ticket()))
    source = EventSource(address.format(mine, person.ticket()))
    while source.ask():
        assert not foreign.ask()
    assert set(foreign.statuses) <= {404, 401}
    assert foreign.statuses[0] == 404
    return foreign.messages + source.messages


def by_long_poll(person: Person, mine: str, other: str) -> Heard:
    heard: Heard = []
    after = 0
    while not heard or heard[-1]["event"] != "run.completed":
        path = f"/events?after_seq={after}&wait=5&text=true"
        assert person.call("GET", f"/runs/{other}{path}").status_code == 404
        page = person.call("GET", f"/runs/{mine}{path}").json()
        heard += [*page["deltas"], *page["events"]]
        after = page["next_after_seq"]
    return heard


def test_two_people_follow_two_runs_by_every_way_and_hear_nothing_of_each_other(
    people: list[Person],
) -> None:
    words = ("apple", "pear")
    runs = [p.start(TALKS, cassette=cassette(w)) for p, w in zip(people, words, strict=True)]
    heard: dict[tuple[str, str], Heard] = {}
    failures: list[BaseException] = []

    def follow(way: Callable[[Person, str, str], Heard], number: int) -> None:
        try:
            heard[way.__name__, words[number]] = way(people[number], runs[number], runs[1 - number])
        except BaseException as failure:
            failures.append(failure)

    ways = (by_socket, by_event_source, by_long_poll)
    threads = [
        threading.Thread(target=follow, args=(way, number)) for way in ways for number in (0, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(heard) == len(ways) * 2
    for (way, word), messages in heard.items():
        own, foreign = runs[words.index(word)], words[1 - words.index(word)]
        assert {m["run_id"] for m in messages} == {own}, way
        assert foreign not in json.dumps(messages), way
        seqs = sorted({m["seq"] for m in messages if "seq" in m})
        assert seqs == list(range(1, seqs[-1] + 1)), way
        texts = [m["data"]["text"] for m in messages if m["event"] == "text.delta"]
        assert word in "".join(texts), way


# -- every command and every route -------------------------------------------------------------

ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "", None),
    ("GET", "?results=false", None),
    ("GET", "/events", None),
    ("GET", "/events?wait=10", None),
    ("GET", "/events?text=true", None),
    ("GET", "/texts", None),
    ("GET", "/texts?node_id=talk", None),
    ("GET", "/cost", None),
    ("POST", "/cancel", None),
    ("POST", "/pause", None),
    ("POST", "/resume", None),
    ("POST", "/resume", {"budget": {"tokens": 1_000}}),
    ("POST", "/unlock", {"because": "I want to"}),
    ("POST", "/unlock", {}),
    ("POST", "/fork", {}),
    ("POST", "/fork", {"node_id": "talk"}),
    ("POST", "/input", {"value": "x"}),
    ("DELETE", "", None),
    ("DELETE", "?cancel=true", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_every_route_on_somebody_elses_run_is_404(
    people: list[Person], theirs: str, method: str, path: str, body: Any
) -> None:
    answers = [people[1].call(method, f"/runs/{r}{path}", body) for r in (theirs, ABSENT)]
    assert [answer.status_code for answer in answers] == [404, 404]
    shown = [answer.json()["error"] for answer in answers]
    assert shown[0]["code"] == "not_found"
    assert same(shown[0], theirs) == same(shown[1], ABSENT)


def same(shown: Any, run_id: str) -> str:
    """What an answer says, without the run that was asked for and the request's own number."""
    kept = {name: value for name, value in shown.items() if name != "request_id"}
    return json.dumps(kept).replace(run_id, "RUN")


def test_every_route_of_a_run_is_in_that_list(people: list[Person]) -> None:
    described = people[1].call("GET", "/openapi.json").json()["paths"]
    listed = {(m, p.partition("?")[0]) for m, p, _ in ROUTES}
    assert listed == {
        (method.upper(), path.removeprefix("/runs/{run_id}"))
        for path, methods in described.items()
        for method in methods
        if path.startswith("/runs/{run_id}")
    }


MORE_FIELDS: dict[str, dict[str, Any]] = {
    "subscribe": {"after_seq": 10**6},
    "unlock": {"because": "I want to"},
    "input": {"value": "x", "request_id": "0123456789abcdef"},
}
"""What a command needs besides the run, or what must not be looked at before its owner."""


@pytest.mark.parametrize("action", sorted(set(ACTIONS) - {"start"}))
def test_every_command_on_somebody_elses_run_is_not_found(
    people: list[Person], theirs: str, action: str
) -> None:
    with people[1].socket() as socket:
        fields = MORE_FIELDS.get(action, {})
        answers = [socket.send(action, run_id=r, **fields) for r in (theirs, ABSENT)]
        for answer in answers:
            assert (answer["event"], answer["data"]["code"]) == ("error", "not_found")
            assert "head" not in answer
        assert same(answers[0]["data"], theirs) == same(answers[1]["data"], ABSENT)
        # Nothing comes of that run afterwards either.
        assert socket.raw(json.dumps({"action": "ping", "request_id": "p"}))["event"] == "pong"
        assert not socket.earlier


def test_a_stream_of_somebody_elses_run_is_404(people: list[Person], theirs: str) -> None:
    ada, bob = people
    path = f"/runs/{theirs}/events"
    streamed = bob.call("GET", path, headers={"Accept": "text/event-stream"})
    assert (streamed.status_code, streamed.headers.get("set-cookie")) == (404, None)
    assert bob.call("GET", f"{path}?ticket={bob.ticket()}", bare=True).status_code == 404
    assert ada.call("GET", f"{path}?ticket={ada.ticket()}", bare=True).status_code == 200


def test_somebody_elses_workflow_cannot_be_started(people: list[Person], theirs: str) -> None:
    ada, bob = people
    workflow_id = ada.call("GET", f"/runs/{theirs}").json()["workflow"]["workflow_id"]
    assert bob.call("GET", f"/workflows/{workflow_id}").status_code == 404
    assert bob.call("POST", "/runs", {"workflow_id": workflow_id}).status_code == 404
    with bob.socket() as socket:
        begin = {"action": "start", "request_id": uuid.uuid4().hex, "workflow_id": workflow_id}
        assert socket.raw(json.dumps(begin))["data"]["code"] == "not_found"


def test_lists_hold_only_ones_own(people: list[Person], theirs: str) -> None:
    ada, bob = people
    listed = [
        {run["run_id"] for run in person.call("GET", "/runs?limit=200").json()["runs"]}
        for person in (ada, bob)
    ]
    assert theirs in listed[0]
    assert not listed[0] & listed[1]


def test_nothing_of_all_that_has_touched_the_run(people: list[Person], theirs: str) -> None:
    run = people[0].wait(theirs, "completed", "failed", "cancelled", "paused")
    assert (run["status"], run["incarnation"]) == ("completed", 1)
    assert run["outputs"]["text"] == cassette("secret")[0]["text"]
    events = people[0].call("GET", f"/runs/{theirs}/events").json()["events"]
    assert [e["event"] for e in events] == [
        "run.started",
        "node.started",
        "usage.recorded",
        "node.completed",
        "run.completed",
    ]
