from __future__ import annotations

import json
import time
from typing import Any

import pytest
from kit.installation import Installation
from kit.sockets import Connections, Outlet, Watches
from kit.workflows import workflow

from joinery.compiler.compile import compile_workflow
from joinery.events.make import Event, make_event
from joinery.identity.tokens import Caller
from joinery.runs.start import create_run
from joinery.sockets import handler
from joinery.sockets.ports import SocketServices

CONNECTION = "conn="


class Socket:
    """One connection of an installation in memory."""

    def __init__(self) -> None:
        self.installation = Installation()
        self.outlet, self.connections, self.watches = Outlet(), Connections(), Watches()
        self.slept: list[float] = []
        self.caller: Caller | None = Caller("me", time.time() + 3600)
        self.services = SocketServices(
            deps=self.installation.run_deps(),
            waking=self.installation.closing_deps(),
            subscribers=self.installation.store,
            connections=self.connections,
            watches=self.watches,
            outlet=self.outlet,
            catalog=self.installation.workflows,
            executions=self.installation.runs,
            sleep=self.slept.append,
        )

    @property
    def store(self) -> Any:
        return self.installation.store

    def run(self, owner: str = "me", events: int = 0) -> str:
        plan = compile_workflow(workflow(["start -> a", "a -> end"])).plan
        deps = self.installation.run_deps()
        run, _ = create_run(deps, plan, owner=owner, workflow_id="wf", version=1, given={})
        self.store.mark_started(run.run_id, "arn:execution", deps.clock())
        self.append(run.run_id, events)
        return run.run_id

    def append(self, run_id: str, count: int) -> None:
        made = [
            make_event("node.started", run_id, {"attempt": 1, "type": "llm"}, at=1, node_id="a")
            for _ in range(count)
        ]
        self.store.append(run_id, made)

    def send(self, action: str, **fields: Any) -> list[Event]:
        return self.raw(json.dumps({"action": action, "request_id": "r1", **fields}))

    def raw(self, body: str) -> list[Event]:
        """Sends a message; returns the frames that came back."""
        before = len(self.outlet.frames)
        handler.message(self.services, CONNECTION, self.caller, body)
        return self.outlet.frames[before:]


@pytest.fixture
def socket() -> Socket:
    return Socket()
