"""What viewers who cannot follow do to the time of a run; the connections are made up."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

from joinery.aws.sockets import SocketPublisher
from joinery.aws.subscribers import Subscriber
from joinery.compiler.compile import compile_workflow
from joinery.llm.types import CallContext, Chunk, Finished, ModelRequest, TextChunk, Usage
from joinery.runs.deps import Deps
from joinery.runs.memory_store import MemoryStore
from joinery.runs.start import create_run
from joinery.runs.task import run_task
from joinery.workflow.validation import load_workflow

NODES, TOKENS, TOKEN_S = 10, 100, 0.01
NODE_DRAIN_S = 0.25
"""As `run_node` waits after a node of one second."""

POST_S = 0.02
GIVES_UP_S = 4.0
"""A post that nobody takes: two attempts of two seconds."""


class _Gateway:
    """Takes posts as its viewers do."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def post_to_connection(self, ConnectionId: str, Data: bytes) -> None:
        """Takes 20 ms, four seconds, or half a second, by the name of the connection."""
        self.over.wait({"dead": GIVES_UP_S, "slow": 0.45}.get(ConnectionId, POST_S))
        if ConnectionId == "dead":
            raise TimeoutError


class _Watching:
    """One subscriber, in memory."""

    def __init__(self, name: str | None) -> None:
        self.all = [Subscriber(name, "me", 9e9)] if name else []
        self.version = len(self.all)

    def subscribers(self, run_id: str) -> list[Subscriber]:
        """Returns who watches."""
        return self.all

    def subs_seen(self, run_id: str) -> int:
        """Returns the version of the subscribers."""
        return self.version

    def lag(self, run_id: str, connection_id: str) -> None:
        """Marks the subscriber, as the table does."""
        self.all = [Subscriber(connection_id, "me", 9e9, lagging=True)]
        self.version += 1

    def unsubscribe(self, run_id: str, connection_id: str) -> None:
        """Forgets the subscriber."""
        self.all = []

    def delete(self, connection_id: str) -> None:
        """Has nothing to forget."""


class _Steady:
    """A model of a hundred tokens a second."""

    name = "steady"

    def resolve(self, ref: Any) -> tuple[_Steady, str]:
        """Returns itself."""
        return self, "steady"

    def context_window(self, model: str) -> None:
        """Has no limit."""

    def stream(self, request: ModelRequest, call: CallContext) -> Iterator[Chunk]:
        """Yields words at an even pace."""
        for _ in range(TOKENS):
            time.sleep(TOKEN_S)
            yield TextChunk("word ")
        yield Finished(Usage(1, TOKENS))


def slow_viewers() -> None:
    """Prints the time of a run by who watches it, against nobody."""
    print(f"time of a run of {NODES} nodes with a second of text each, by its viewer")
    alone = _time(None)
    print(f"{'nobody':20}{alone:8.2f} s")
    for name, what in {
        "good": "20 ms a post",
        "slow": "450 ms a post",
        "dead": "takes nothing",
    }.items():
        took = _time(name)
        print(f"{what:20}{took:8.2f} s{took / alone:8.3f} times nobody's")


def _time(viewer: str | None) -> float:
    names = [f"n{number}" for number in range(NODES)]
    nodes = "\n".join(f"  {name}: {{type: llm, prompt: hi}}" for name in names)
    edges = f"start -> {' -> '.join(names)} -> end"
    source = f"version: 1\nname: watched\nnodes:\n{nodes}\nedges: [{edges}]\n"
    plan = compile_workflow(load_workflow(source)).plan
    gateway, watching = _Gateway(), _Watching(viewer)
    publisher = SocketPublisher(gateway, watching, watching)
    deps = Deps(MemoryStore(), publisher, _Steady())
    run, _ = create_run(deps, plan, owner="me", workflow_id="wf", version=1, given={})
    begun = time.monotonic()
    for name in [*names, "end"]:
        # As `run_node` does it: a process may be frozen once its handler returns.
        run_task(deps, plan, run, name, "", deadline=time.monotonic() + 60)
        if name != "end":
            publisher.drain(NODE_DRAIN_S)
    took = time.monotonic() - begun
    gateway.over.set()
    publisher.close()
    return took
