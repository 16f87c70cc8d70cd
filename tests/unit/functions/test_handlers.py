"""Each handler takes the events that AWS sends it: the samples in `events/`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from kit.functions import Context, load_function, sample
from kit.installation import Installation
from kit.sockets import Connections, Outlet, Watches

from joinery import bootstrap
from joinery.compiler.compile import compile_workflow
from joinery.errors import TooLarge
from joinery.identity.tokens import token_hash
from joinery.runs.model import RunRecord
from joinery.sockets.ports import SocketServices
from joinery.workflow.validation import load_workflow

RUN = "run_01kaj4z5v9c8w1h7x2m3n4p5q6"
TOKEN = "jn_sample-token-0123456789"


REPLACED = (
    "archive", "catalog", "closing_deps", "drain", "executions", "machine_prefix", "machines",
    "passes", "plan", "run_deps", "run_node_arn", "socket_services", "state_machines", "tickets",
    "tokens",
)  # fmt: skip


class Tokens:
    def owner_of_token(self, sha256: str) -> tuple[str, float] | None:
        return ("ada", time.time() + 60) if sha256 == token_hash(TOKEN) else None


class World(Installation):
    """An installation in memory behind `bootstrap`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.outlet, self.connections, self.watches = Outlet(), Connections(), Watches()
        self.drained = 0
        for name in REPLACED:
            monkeypatch.setattr(bootstrap, name, getattr(self, name))

    def tokens(self) -> Tokens:
        return Tokens()

    def state_machines(self) -> Any:
        return self.makes

    def drain(self) -> None:
        self.drained += 1

    def socket_services(self) -> SocketServices:
        return SocketServices(
            deps=self.run_deps(),
            waking=self.closing_deps(),
            subscribers=self.store,
            connections=self.connections,
            watches=self.watches,
            outlet=self.outlet,
            catalog=self.workflows,
            executions=self.runs,
            sleep=lambda _: None,
        )

    def begin(self, owner: str = "ada") -> None:
        run = RunRecord(RUN, owner, "wf", 1, "greet", "running", execution_arn="arn", created_at=1)
        self.store.create_run(run, {}, [], {})


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.fixture
def http() -> Iterator[Any]:
    import asyncio

    yield load_function("http_api").handler
    asyncio.get_event_loop().close()
    asyncio.set_event_loop(None)


def test_a_preflight_is_answered_without_a_look_at_who_asks(world: World, http: Any) -> None:
    event = sample("http_api-unauthorised")
    event["requestContext"]["http"]["method"] = "OPTIONS"
    assert http(event, Context()) == {"statusCode": 204}


def test_http(world: World, http: Any) -> None:
    def call(name: str) -> tuple[int, Any]:
        answer = http(sample(name), Context())
        return answer["statusCode"], json.loads(answer["body"])

    assert call("http_api-health") == (200, {"status": "ok", "version": "0.1.0"})
    assert call("http_api-unauthorised")[0] == 401
    status, published = call("http_api-publish_workflow")
    assert (status, published["name"]) == (201, "greet")
    assert call("http_api-start_run")[0] == 404
    world.begin()
    assert call("http_api-run_events") == (
        200,
        {"events": [], "head": 0, "next_after_seq": 0},
    )
    assert world.drained == 5


def test_an_event_stream(world: World, http: Any) -> None:
    world.begin()
    source = json.loads(sample("http_api-publish_workflow")["body"])["source"]
    world.plans["wf/1"] = compile_workflow(load_workflow(source)).plan
    answer = http(sample("http_api-event_stream"), Context())
    assert (answer["statusCode"], answer["body"]) == (200, "retry: 1000\n\n")
    [cookie] = answer["cookies"]
    assert cookie.startswith("joinery_events=jp_")
    assert cookie.endswith("; Secure")


def test_a_socket_from_its_first_to_its_last_message(world: World) -> None:
    handler = load_function("websocket").handler
    world.begin()
    done = {"statusCode": 200}
    assert handler(sample("websocket-connect"), Context()) == done
    assert list(world.connections.rows.values()) == [("ada", 1826770811.0)]
    assert handler(sample("websocket-ping"), Context()) == done
    assert handler(sample("websocket-subscribe"), Context()) == done
    assert [frame["event"] for frame in world.outlet.frames] == ["pong", "ack"]
    assert world.watches.rows
    assert handler(sample("websocket-start"), Context()) == done
    assert world.outlet.frames[-1]["data"]["code"] == "not_found"
    assert handler(sample("websocket-unsubscribe"), Context()) == done
    assert handler(sample("websocket-cancel"), Context()) == done
    assert [frame["event"] for frame in world.outlet.frames[-2:]] == ["ack", "ack"]
    assert handler(sample("websocket-disconnect"), Context()) == done
    assert not world.connections.rows
    assert not world.watches.rows
    assert world.drained == 7


def test_a_handshake_without_an_owner_is_refused(world: World) -> None:
    event = sample("websocket-connect")
    del event["requestContext"]["authorizer"]
    assert load_function("websocket").handler(event, Context()) == {"statusCode": 401}
    assert not world.connections.rows


def test_the_authorizer(world: World) -> None:
    handler = load_function("authorizer").handler
    answer = handler(sample("authorizer-http"), Context())
    assert answer["isAuthorized"] is True
    assert answer["context"]["owner"] == "ada"
    policy = handler(sample("authorizer-websocket"), Context())["policyDocument"]
    assert policy["Statement"][0]["Effect"] == "Allow"
    assert policy["Statement"][0]["Resource"].endswith(":def456/dev/*")


def test_a_ticket_from_its_issue_to_its_use(world: World, http: Any) -> None:
    answer = http(sample("http_api-ticket"), Context())
    ticket = json.loads(answer["body"])["ticket"]
    handler = load_function("authorizer").handler
    for name, again in (("authorizer-view", False), ("authorizer-websocket-ticket", True)):
        event = sample(name)
        assert "owner" not in str(handler(event, Context()))
        event["queryStringParameters"]["ticket"] = ticket
        assert ("owner" in str(handler(event, Context()))) is not again


def test_the_publisher(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = load_function("publisher").handler
    event = sample("publisher-machine")
    arn = handler(event, Context())["machine_arn"]
    assert arn.endswith(event["name"])
    assert world.makes.made == {event["name"]: event["definition"]}
    assert handler({"name": "x"}, Context())["error"]["code"] == "invalid_request"

    def refuses(*_: Any) -> str:
        raise TooLarge("the state machine has 2 bytes", limit=1, actual=2)

    monkeypatch.setattr(world.makes, "ensure", refuses)
    assert handler(event, Context())["error"]["details"] == {"limit": 1, "actual": 2}


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("lifecycle-failed", "failed"),
        ("lifecycle-timed_out", "timed_out"),
        ("lifecycle-aborted", "failed"),
    ],
)
def test_the_lifecycle(world: World, name: str, status: str) -> None:
    handler = load_function("lifecycle").handler
    assert handler(sample(name), Context()) == {"outcome": "unknown"}
    world.begin()
    assert handler(sample(name), Context()) == {"outcome": "closed"}
    assert world.store.get_run(RUN).status == status
    assert handler(sample(name), Context()) == {"outcome": "was_closed"}


def test_the_samples_name_nodes_that_compile() -> None:
    source = json.loads(sample("http_api-publish_workflow")["body"])["source"]
    plan = compile_workflow(load_workflow(source)).plan
    assert {"hello", "end"} <= set(plan.by_id)
