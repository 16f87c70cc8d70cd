"""An installation in memory: the API's services over stores that forget."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from jsonschema import Draft202012Validator
from mangum import Mangum

from joinery.api.app import create_app
from joinery.catalog.child_runs import PublishedChildRuns
from joinery.catalog.ports import Version
from joinery.compiler.plan import Plan
from joinery.errors import Conflict, JoineryError, NotFound
from joinery.events.make import Event, make_event
from joinery.packages.model import object_key
from joinery.packages.ports import Download, Upload
from joinery.runs.deps import Deps
from joinery.runs.memory_store import MemoryStore
from joinery.runs.model import Control, RunRecord

from .engines import Listener, NoModels
from .tickets import Passes, Tickets


@dataclass
class RunPage:
    runs: list[RunRecord]
    cursor: str | None


class Archive(MemoryStore):
    """The store in memory with what only the API needs: lists, subscribers, and holes."""

    def __init__(self) -> None:
        super().__init__()
        self.subscribed: dict[tuple[str, str], float] = {}
        self.room = 20

    def list_runs(self, owner: str, limit: int, cursor: str | None) -> RunPage:
        found = [held.record for held in self._runs.values() if held.record.owner == owner]
        found.sort(key=lambda run: run.created_at, reverse=True)
        start = int(cursor or 0)
        following = str(start + limit) if start + limit < len(found) else None
        return RunPage(found[start : start + limit], following)

    def put_void(self, run_id: str, seq: int) -> bool:
        events = self._run(run_id).events
        if any(event["seq"] == seq for event in events):
            return False
        events.append({**make_event("void", run_id, {}, at=0), "seq": seq, "head": seq})
        events.sort(key=lambda event: event["seq"])
        return True

    def events(self, run_id: str, after_seq: int, limit: int) -> list[Event]:
        return [e for e in self._run(run_id).events if e["seq"] > after_seq][:limit]

    def drop_event(self, run_id: str, seq: int) -> Event:
        """Makes a hole, as a writer leaves it that has drawn a number and died."""
        events = self._run(run_id).events
        lost = next(event for event in events if event["seq"] == seq)
        events.remove(lost)
        return lost

    def put_event(self, run_id: str, event: Event) -> None:
        events = self._run(run_id).events
        events.append(event)
        events.sort(key=lambda event: event["seq"])

    def subscribe(self, run_id: str, connection_id: str, owner: str, expires_at: float) -> bool:
        held = self._run(run_id)
        held.control = replace(held.control, subs=held.control.subs + 1)
        self.subscribed[run_id, connection_id] = expires_at
        return len(self.subscribed) <= self.room

    def unsubscribe(self, run_id: str, connection_id: str) -> None:
        held = self._run(run_id)
        if self.subscribed.pop((run_id, connection_id), None) is not None:
            control: Control = held.control
            held.control = replace(control, subs=control.subs + 1)


class Catalog:
    def __init__(self) -> None:
        self.versions: dict[tuple[str, int], Version] = {}

    def latest(self, workflow_id: str) -> Version | None:
        found = [v for (name, _), v in self.versions.items() if name == workflow_id]
        return max(found, key=lambda v: v.version, default=None)

    def version(self, workflow_id: str, version: int) -> Version:
        try:
            return self.versions[workflow_id, version]
        except KeyError:
            raise NotFound(f"no workflow '{workflow_id}' version {version}") from None

    def add_version(self, version: Version) -> None:
        key = (version.workflow_id, version.version)
        newest = self.latest(version.workflow_id)
        if key in self.versions or version.version != (newest.version + 1 if newest else 1):
            raise Conflict("not the next version")
        self.versions[key] = version

    def list_workflows(self, owner: str, limit: int) -> list[Version]:
        ids = {name for name, _ in self.versions}
        newest = [v for v in map(self.latest, ids) if v and v.owner == owner]
        newest.sort(key=lambda v: v.created_at, reverse=True)
        return [replace(v, plan={}, source="") for v in newest[:limit]]


@dataclass
class Machines:
    made: dict[str, str] = field(default_factory=dict)

    def ensure(self, name: str, definition: str) -> str:
        self.made[name] = definition
        return f"arn:aws:states:us-east-1:000000000000:stateMachine:{name}"


@dataclass
class Executions:
    started: list[tuple[str, str, Mapping[str, Any]]] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    fails: JoineryError | None = None
    counted: int | None = 4

    def start(self, machine_arn: str, name: str, payload: Mapping[str, Any]) -> str:
        if self.fails:
            raise self.fails
        self.started.append((machine_arn, name, payload))
        return machine_arn.replace("stateMachine", "execution") + ":" + name

    def stop(self, execution_arn: str, cause: str) -> None:
        if self.fails:
            raise self.fails
        self.stopped.append(execution_arn)

    def transitions(self, execution_arn: str) -> int | None:
        return self.counted


@dataclass
class Woken:
    """Implements `TaskTokens`: what was sent to the Tasks that waited."""

    sent: list[tuple[str, str, str]] = field(default_factory=list)

    def succeed(self, token: str, output: str) -> None:
        self.sent.append((token, "succeed", output))

    def fail(self, token: str, error: str, cause: str) -> None:
        self.sent.append((token, error, cause))


@dataclass
class Packages:
    """Implements `PackageStore` for who publishes."""

    stored: dict[str, int] = field(default_factory=dict)

    def size(self, owner: str, sha256: str) -> int | None:
        return self.stored.get(object_key(owner, sha256))

    def upload(self, owner: str, sha256: str, size: int) -> Upload:
        url = f"https://bucket.test/{object_key(owner, sha256)}"
        return Upload(url, {"content-length": str(size)}, time.time() + 300)

    def download(self, owner: str, sha256: str) -> Download:
        return Download(f"https://bucket.test/{object_key(owner, sha256)}")


class Installation:
    """Implements `joinery.api.services.Services`."""

    def __init__(self) -> None:
        self.store, self.listener = Archive(), Listener()
        self.workflows, self.makes, self.runs = Catalog(), Machines(), Executions()
        self.issued = Tickets(self.clock)
        self.passed = Passes(self.clock)
        self.kept = Packages()
        self.plans: dict[str, Plan] = {}
        self.woken = Woken()
        self.calls: dict[str, float] = {}
        self.now: float | None = None

    def clock(self) -> float:
        return time.time() if self.now is None else self.now

    def run_deps(self) -> Deps:
        return Deps(self.store, self.listener, NoModels(), clock=self.clock, background=False)

    def closing_deps(self) -> Deps:
        waking = PublishedChildRuns(self.workflows, self.runs, self.woken)
        return replace(self.run_deps(), children=waking)

    def archive(self) -> Archive:
        return self.store

    def catalog(self) -> Catalog:
        return self.workflows

    def packages(self) -> Packages:
        return self.kept

    def machines(self) -> Machines:
        return self.makes

    def executions(self) -> Executions:
        return self.runs

    def tickets(self) -> Tickets:
        return self.issued

    def passes(self) -> Passes:
        return self.passed

    def plan(self, ref: str) -> Plan:
        if ref in self.plans:
            return self.plans[ref]
        workflow_id, _, version = ref.rpartition("/")
        return Plan.from_dict(self.workflows.version(workflow_id, int(version)).plan)

    def calls_of_run(self, run_id: str, since: float) -> Mapping[str, float]:
        return self.calls

    def run_node_arn(self) -> str:
        return "arn:aws:lambda:us-east-1:000000000000:function:joinery-test-run-node:live"

    def machine_prefix(self) -> str:
        return "joinery-test-"


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: Any
    raw: str
    cookies: list[str] = field(default_factory=list)

    @property
    def error(self) -> dict[str, Any]:
        shown: dict[str, Any] = self.body["error"]
        return shown


class Api:
    """Sends requests the way API Gateway does, as events of payload format 2.0."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        app = create_app(installation)
        self.openapi = app.openapi()
        self.handler = Mangum(app, lifespan="off")

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        owner: str | None = "me",
        headers: Mapping[str, str] | None = None,
        raw: str | None = None,
        found: Mapping[str, Any] | None = None,
        **query: Any,
    ) -> Reply:
        content = raw if raw is not None else None if body is None else json.dumps(body)
        event = http_event(method, path, content, owner, headers or {}, query, found)
        answer = self.handler(event, None)
        text, kind = answer["body"], answer["headers"].get("content-type", "")
        body = json.loads(text) if text and kind.startswith("application/json") else None
        cookies = answer.get("cookies", [])
        reply = Reply(answer["statusCode"], answer["headers"], body, text, cookies)
        self._hold_to_its_model(method, path, reply)
        return reply

    def _hold_to_its_model(self, method: str, path: str, reply: Reply) -> None:
        """What is answered is what OpenAPI says."""
        if reply.body is None:
            return
        name = "ErrorAnswer" if reply.status >= 400 else None
        for template, methods in self.openapi["paths"].items():
            pattern = re.sub(r"\{\w+\}", "[^/]+", template)
            if name is None and re.fullmatch(pattern, path) and method.lower() in methods:
                documented = methods[method.lower()]["responses"][str(reply.status)]
                if "content" not in documented:
                    assert reply.raw == ""
                    return
                reference = documented["content"]["application/json"]["schema"]["$ref"]
                name = reference.rsplit("/", 1)[1]
        if name is not None:
            schema = {"$ref": f"#/components/schemas/{name}", **self.openapi}
            Draft202012Validator(schema).validate(reply.body)

    def get(self, path: str, **more: Any) -> Reply:
        return self.call("GET", path, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> Reply:
        return self.call("POST", path, body, **more)

    def delete(self, path: str, **more: Any) -> Reply:
        return self.call("DELETE", path, **more)


def http_event(
    method: str,
    path: str,
    body: str | None,
    owner: str | None,
    headers: Mapping[str, str],
    query: Mapping[str, Any],
    found: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns a request; `found` is what the authorizer says besides."""
    context: dict[str, Any] = {
        "http": {"method": method, "path": path, "sourceIp": "127.0.0.1", "protocol": "HTTP/1.1"},
        "requestId": "request-1",
        "stage": "$default",
    }
    if owner is not None:
        shown = {"owner": owner, "expires_at": int(time.time()) + 3600, **(found or {})}
        context["authorizer"] = {"lambda": shown}
    given = {"content-type": "application/json"} if body is not None else {}
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": urlencode(query),
        "headers": {**given, **headers},
        "requestContext": context,
        "isBase64Encoded": False,
        **({} if body is None else {"body": body}),
    }


@contextmanager
def api() -> Iterator[Api]:
    """An installation with its API, in an event loop of its own."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        yield Api(Installation())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
